"""A whole table of the papers: this project's counts beside the print, and the paper's results."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from deploy.commands.model_counts import count, paper_results
from deploy.commands.show import DASH, console, print_json
from deploy.zoo.papers import Count, PaperTable, find_table, prints_as
from deploy.zoo.registry import find_model

DOUBT = "✗"
COUNTS: tuple[Count, ...] = ("parameters", "macs")
HEADERS: dict[Count, str] = {"parameters": "parameters", "macs": "MACs (G)"}


def count_table(name: str) -> dict[str, Any]:
    """Give a table of the papers with both counts of every network in it.

    Returns:
        Rows with `parameters`, `macs` (true and `_as_paper`, ours; `_in_paper`, printed), the
        `paper` results, and `doubts`: count -> why the print does not reproduce.

    Raises:
        UsageError: no such table.
    """
    from deploy.zoo.skeleton import skeleton

    table = find_table(name)
    rows = []
    for row in table.rows:
        spec = find_model(row.model)
        counts = count(skeleton(spec), spec)
        printed = {"parameters": row.parameters, "macs": row.macs}
        rows.append(
            {
                "row": row.label,
                "model": row.model,
                **counts,
                **{f"{which}_in_paper": figure for which, figure in printed.items()},
                "paper": paper_results(name, row),
                "doubts": {
                    which: row.doubts.get(which, "")
                    for which in COUNTS
                    if (figure := printed[which]) is not None
                    and not prints_as(counts[f"{which}_as_paper"], figure)
                },
            }
        )
    return {
        "table": name,
        "title": table.title,
        "conditions": table.conditions,
        "rows": rows,
        "remarks": list(table.remarks),
    }


def show_table(counted: Mapping[str, Any], as_json: bool) -> None:
    """Print our counts beside the paper's, what does not reproduce and why, then its results."""
    if as_json:
        print_json(counted)
        return
    as_printed = find_table(counted["table"])
    say = console()
    say.print(f"{as_printed.title}\n", highlight=False, soft_wrap=True)
    say.print(_counts_table(counted["rows"]))
    reasons = {
        f"{DOUBT} {row[f'{which}_in_paper']} does not reproduce: {reason}": None
        for row in counted["rows"]
        for which, reason in row["doubts"].items()
    }
    heading = f"\nWhat the paper prints, not measured here. {as_printed.conditions}.\n"
    for line in (*reasons, heading):
        say.print(line, highlight=False, soft_wrap=True)
    say.print(_results_table(as_printed))
    for line in as_printed.remarks:
        say.print(f"- {line}", highlight=False, soft_wrap=True)


def _counts_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("row", box=None)
    table.add_column("model", overflow="fold")  # a name is no use without its end
    printed = {which: any(row[f"{which}_in_paper"] for row in rows) for which in COUNTS}
    for which in COUNTS:
        for form in ("true", "as paper", *(["printed"] if printed[which] else [])):
            table.add_column(f"{HEADERS[which]}\n{form}", justify="right")
    for row in rows:
        parameters = [f"{row[key]:,}" for key in ("parameters", "parameters_as_paper")]
        macs = [f"{row[key] / 1e9:.4f}" for key in ("macs", "macs_as_paper")]
        parameters += [_printed(row, "parameters")] if printed["parameters"] else []
        macs += [_printed(row, "macs")] if printed["macs"] else []
        table.add_row(row["row"], row["model"], *parameters, *macs)
    return table


def _results_table(as_printed: PaperTable) -> Table:
    table = Table("row", box=None)
    for column in as_printed.columns:
        table.add_column(_words(column), justify="right")
    for row in as_printed.rows:
        table.add_row(row.label, *(result or DASH for result in row.results))
    return table


def _printed(row: Mapping[str, Any], which: Count) -> str:
    figure = row[f"{which}_in_paper"] or DASH
    return f"{DOUBT} {figure}" if which in row["doubts"] else figure


def _words(column: str) -> str:
    """Give a column's name as a header, its unit last: sidd_psnr_db -> SIDD PSNR dB."""
    words = {"psnr": "PSNR", "db": "dB", "ssim": "SSIM", "gpu": "GPU", "cpu": "CPU", "mb": "MB"}
    words |= {"sidd": "SIDD", "gopro": "GoPro", "reds": "REDS"}
    return " ".join(words.get(part, part) for part in column.split("_"))
