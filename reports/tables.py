"""The comparison table: first as display strings with its footnotes, then as markdown or rich."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import wrap

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from reports.compare import abi_family, case_labels
from reports.frame import Frames
from reports.stats import CONFIDENCE, ENOUGH_LAUNCHES, MIN_LAUNCHES

DASH = "–"
MAX_DECIMALS = 3

# header -> the summary column that sorts it; the graph's own order is that of the line
COLUMNS = {
    "graph": None,
    f"median latency ms [{CONFIDENCE * 100:.0f} % interval]": "latency_median_ms",
    "speed-up": "speed_up",
    "peak memory MiB (added)": "peak_rss_mib",
    "PSNR dB": "psnr_db",
    "SSIM": "ssim",
    "file MiB": "model_mib",
}


@dataclass(frozen=True)
class ComparisonTable:
    """A table ready to be printed.

    Attributes:
        caption: what was measured, where and how.
        cells: display strings, one row a case; columns are the keys of `COLUMNS`.
        notes: what a reader has to know; those with a mark belong to the rows that carry it.
    """

    caption: str
    cells: pd.DataFrame
    notes: tuple[str, ...]


def comparison_table(
    summary: pd.DataFrame, frames: Frames, baseline_kind: str = "plain"
) -> ComparisonTable:
    """Lay the summary out as strings, with a caption and the footnotes it needs.

    Args:
        summary: what `summarize` and then `add_speed_ups` gave.
        frames: the rows behind it.
        baseline_kind: the kind that the speed-ups are against.
    """
    footnotes = [_footnotes(row, frames, baseline_kind) for _, row in summary.iterrows()]
    shared = _shared(footnotes)
    marked = [[text for text in texts if text not in shared] for texts in footnotes]
    numbers = {text: n for n, text in enumerate(_unique(marked), start=1)}
    labels = [
        " ".join([label, *(superscript(numbers[text]) for text in texts)])
        for label, texts in zip(case_labels(summary), marked, strict=True)
    ]
    cells = [_cells(row, baseline_kind) for _, row in summary.iterrows()]
    table = pd.DataFrame(
        [[label, *row] for label, row in zip(labels, cells, strict=True)],
        columns=list(COLUMNS),
        dtype="string",
    )
    notes = [f"{superscript(number)} {text}" for text, number in numbers.items()]
    notes += [f"All graphs: {text}" for text in shared]
    notes += _reading_notes(summary, baseline_kind)
    return ComparisonTable(caption(summary, frames), table, tuple(notes))


def _shared(footnotes: list[list[str]]) -> list[str]:
    """Give the texts that every row has; a mark on all rows tells nothing."""
    if len(footnotes) < 2:
        return []
    return [text for text in footnotes[0] if all(text in texts for texts in footnotes)]


def _unique(texts: list[list[str]]) -> list[str]:
    return list(dict.fromkeys(text for row in texts for text in row))


def superscript(number: int) -> str:
    """Give a number in superscript digits."""
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _cells(row: pd.Series, baseline_kind: str) -> list[str]:
    latency_ms = (row[f"latency_{end}_ms"] for end in ("median", "ci_low", "ci_high"))
    return [
        with_interval(*latency_ms),
        _speed_up(row, baseline_kind),
        _memory(row["peak_rss_mib"], row["peak_over_baseline_mib"]),
        fixed(row["psnr_db"], 2),
        fixed(row["ssim"], 4),
        fixed(row["model_mib"], 2),
    ]


def decimals(half_width: float) -> int:
    """Give how many decimals a value deserves: up to the first digit that its interval moves."""
    if not half_width > 0:  # also NaN
        return MAX_DECIMALS
    return min(max(-math.floor(math.log10(half_width)), 0), MAX_DECIMALS)


def rounded(value: float, low: float, high: float, unit: str = "") -> tuple[str, str]:
    """Give a value and its interval, rounded as the interval allows; without one, three digits.

    Returns:
        `value` and `[low, high]`; the latter is empty where an end is missing.
    """
    if math.isnan(value):
        return DASH, ""
    if math.isnan(low) or math.isnan(high):
        return f"{value:.{decimals(abs(value) / 100)}f}{unit}", ""
    places = decimals((high - low) / 2)
    return f"{value:.{places}f}{unit}", f"[{low:.{places}f}, {high:.{places}f}]"


def with_interval(value: float, low: float, high: float, unit: str = "") -> str:
    """Give `value [low, high]` as `rounded` rounds them."""
    return " ".join(rounded(value, low, high, unit)).rstrip()


def fixed(value: float, places: int) -> str:
    """Give a number with a fixed count of decimals, a dash where it is missing."""
    if math.isnan(value):
        return DASH
    return "∞" if math.isinf(value) else f"{value:.{places}f}"


def _speed_up(row: pd.Series, baseline_kind: str) -> str:
    if row["kind"] == baseline_kind:
        return DASH if math.isnan(row["latency_median_ms"]) else "1×"
    return with_interval(row["speed_up"], row["speed_up_ci_low"], row["speed_up_ci_high"], "×")


def _memory(peak_mib: float, over_baseline_mib: float) -> str:
    if math.isnan(peak_mib) or math.isnan(over_baseline_mib):
        return fixed(peak_mib, 0)
    return f"{peak_mib:.0f} ({over_baseline_mib:+.0f})"


def _footnotes(row: pd.Series, frames: Frames, baseline_kind: str) -> list[str]:
    """Give what a reader has to know about one case, as its flags ask for."""
    texts: dict[str, Callable[[], str]] = {
        "failed_launches": lambda: _failures(row, frames.runs),
        "few_launches": lambda: _few(row["n_launches"]),
        "foreign_target": lambda: _foreign(row["target"], abi_family(row["abi"])),
        "output_changes": lambda: "its output changes from launch to launch on the same input",
        "peak_not_reset": lambda: "the peak includes the start of the process",
        "slower": lambda: f"slower than {baseline_kind} on this machine",
        "undecided": lambda: f"not shown to differ from {baseline_kind}: the interval holds 1",
    }
    return [texts[flag]() for flag in row["flags"].split(",") if flag]


def _failures(row: pd.Series, runs: pd.DataFrame) -> str:
    of_case = runs.loc[
        (runs["session_id"] == row["session_id"]) & (runs["case_id"] == row["case_id"])
    ]
    statuses = of_case.loc[of_case["status"] != "ok", "status"].value_counts().sort_index()
    how = ", ".join(f"{status}: {count}" for status, count in statuses.items())
    return f"{row['n_failed']} of {counted(len(of_case), 'launch')} failed ({how})"


def _few(n_launches: int) -> str:
    if n_launches == 0:
        return "nothing was measured"
    if n_launches < MIN_LAUNCHES:
        return f"{counted(n_launches, 'launch')} only: no interval below {MIN_LAUNCHES}"
    return (
        f"{counted(n_launches, 'launch')} only: below {ENOUGH_LAUNCHES} the interval is too narrow"
    )


def _foreign(target: str, family: str) -> str:
    about = "a phone" if target.startswith("arm") else target
    return f"made for {target}; its time on {family} says nothing about {about}"


def counted(count: int, noun: str) -> str:
    """Give a count with its noun, in the plural where there is not one."""
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def caption(summary: pd.DataFrame, frames: Frames) -> str:
    """Say what was measured, on which device, how, and whether that device is a phone."""
    devices = frames.devices[frames.devices["device_id"].isin(summary["device_id"])]
    machines = "; ".join(
        f"{one['name']} ({one['cpu']}, {counted(one['cpu_cores'], 'core')}, {one['abi']})"
        for _, one in devices.iterrows()
    )
    threads = ", ".join(counted(n, "thread") for n in summary["threads"].unique())
    least, most = summary["n_launches"].min(), summary["n_launches"].max()
    launches = counted(most, "launch") if least == most else f"{least} to {most} launches"
    parts = [
        f"{_listed(summary['model'])} on {machines}",
        threads,
        f"{_listed(summary['provider'])} provider",
        *_runtimes(summary),
        f"{launches} of each graph",
    ]
    where = "" if devices["is_phone"].all() else " Measured on this machine, not on a phone."
    return f"{', '.join(parts)}.{where}"


def _listed(values: "pd.Series[str]") -> str:
    return ", ".join(values.dropna().unique())


def _runtimes(summary: pd.DataFrame) -> list[str]:
    versions = summary[["runtime", "runtime_version"]].dropna().drop_duplicates()
    return [f"{runtime} {version}" for runtime, version in versions.itertuples(index=False)]


def _reading_notes(summary: pd.DataFrame, baseline_kind: str) -> list[str]:
    notes = ["Latency is the median over launches of each launch's median."]
    if (summary["kind"] == baseline_kind).any():
        notes += [f"Speed-up is against {baseline_kind}, paired block by block; above 1 is faster."]
    else:
        notes += [f"No {baseline_kind} graph was measured, so there is no speed-up."]
    if summary["peak_over_baseline_mib"].notna().any():
        notes += ["Memory in brackets: what the peak adds to the process before the model loads."]
    notes += [
        f"{label}: {fusion}."
        for label, fusion in zip(case_labels(summary), summary["fusion"], strict=True)
        if isinstance(fusion, str)
    ]
    quality = summary.dropna(subset=["psnr_db"])
    degraded = quality.dropna(subset=["degraded_psnr_db"]).drop_duplicates("degraded_psnr_db")
    if not quality.empty:
        notes += ["PSNR and SSIM are of held-out images, measured when each file was made."]
    notes += [
        f"Degraded input: PSNR {one['degraded_psnr_db']:.2f} dB, "
        f"SSIM {fixed(one['degraded_ssim'], 4)}."
        for _, one in degraded.iterrows()
    ]
    return notes


def render_markdown(table: ComparisonTable) -> str:
    """Give the table as GitHub markdown, with its caption above and its notes below."""
    rows = [list(COLUMNS), *table.cells.to_numpy().tolist()]
    escaped = [[_escape_markdown(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in escaped) for column in range(len(COLUMNS))]
    lines = [_markdown_row(row, widths) for row in escaped]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, _markdown_row(rule, widths))
    notes = [f"- {_escape_markdown(note)}" for note in table.notes]
    return "\n".join([_escape_markdown(table.caption), "", *lines, "", *notes]) + "\n"


def _markdown_row(row: list[str], widths: list[int]) -> str:
    first = row[0].ljust(widths[0])
    rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
    return f"| {' | '.join([first, *rest])} |"


def _escape_markdown(text: str) -> str:
    """Keep names from opening a cell, a tag or a line of their own."""
    one_line = " ".join(text.split())
    return one_line.replace("|", r"\|").replace("<", "&lt;")


def render_rich(table: ComparisonTable) -> Table:
    """Give the table for a terminal, 80 columns wide where names are short."""
    rich = Table(
        title=Text(table.caption),
        title_justify="left",
        caption=Text("\n".join(table.notes)),
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in COLUMNS:
        justify: JustifyMethod = "left" if column == "graph" else "right"
        rich.add_column(Text("\n".join(_words(column))), justify=justify, no_wrap=True)
    for label, *cells in table.cells.to_numpy().tolist():
        rich.add_row(Text(label), *(Text("\n".join(_before_brackets(cell))) for cell in cells))
    return rich


def _words(header: str) -> list[str]:
    whole = header.replace(" %", "\u00a0%")  # keeps the sign with its number
    return wrap(whole, 6, break_long_words=False, break_on_hyphens=False)


def _before_brackets(cell: str) -> list[str]:
    return re.split(r" (?=[\[(])", cell)
