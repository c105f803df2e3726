"""The comparison table: first as display strings with its footnotes, then as markdown or rich."""

import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from reports.exporters import superscript
from reports.footnotes import counted, footnotes
from reports.frame import Frames
from reports.instructions import shape_text
from reports.rounding import DASH, decimals, fixed, rounded, with_interval
from reports.stats import CONFIDENCE
from reports.summary import case_labels

__all__ = [
    "COLUMNS",
    "DASH",
    "ComparisonTable",
    "caption",
    "comparison_table",
    "counted",
    "decimals",
    "fixed",
    "render_markdown",
    "render_rich",
    "rounded",
    "superscript",
    "with_interval",
]

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


COUNTED = " Instructions, counted under emulation: no time, and not a phone."


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
    told = footnotes(frames)
    texts_of = [told.of(row, baseline_kind) for row in summary.to_dict("records")]
    shared = _shared(texts_of)
    marked = [[text for text in texts if text not in shared] for texts in texts_of]
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


def _shared(texts_of: list[list[str]]) -> list[str]:
    """Give the texts that every row has; a mark on all rows tells nothing."""
    if len(texts_of) < 2:
        return []
    return [text for text in texts_of[0] if all(text in texts for texts in texts_of)]


def _unique(texts: list[list[str]]) -> list[str]:
    return list(dict.fromkeys(text for row in texts for text in row))


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


def _speed_up(row: pd.Series, baseline_kind: str) -> str:
    if row["kind"] == baseline_kind:
        return DASH if math.isnan(row["latency_median_ms"]) else "1×"
    return with_interval(row["speed_up"], row["speed_up_ci_low"], row["speed_up_ci_high"], "×")


def _memory(peak_mib: float, over_baseline_mib: float) -> str:
    if math.isnan(peak_mib) or math.isnan(over_baseline_mib):
        return fixed(peak_mib, 0)
    return f"{peak_mib:.0f} ({over_baseline_mib:+.0f})"


def caption(summary: pd.DataFrame, frames: Frames) -> str:
    """Say what was measured, on which device, how, and whether that device is a phone."""
    devices = frames.devices[frames.devices["device_id"].isin(summary["device_id"].dropna())]
    machines = "; ".join(_machine(one) for one in devices.to_dict("records"))
    threads = ", ".join(counted(n, "thread") for n in summary["threads"].dropna().unique())
    providers = _listed(summary["provider"])
    launches = _launches(summary[~summary["is_counted"]]["n_launches"])
    parts = [
        f"{_listed(summary['model'])} on {machines or 'a device that is not told'}",
        threads,
        f"{providers} provider" if providers else "",
        *_runtimes(summary),
        launches,
    ]
    if summary["is_counted"].all():
        shapes = dict.fromkeys(map(shape_text, summary["input_shape"].dropna()))
        parts += [f"input {', '.join(shapes)}"] if shapes else []
        return f"{', '.join(filter(None, parts))}.{COUNTED}"
    here = devices["is_phone"].notna().any() and not devices["is_phone"].fillna(True).all()
    where = " Measured on this machine, not on a phone." if here else ""
    return f"{', '.join(filter(None, parts))}.{where}"


def _launches(counts: "pd.Series[int]") -> str:
    if counts.empty:
        return ""
    least, most = counts.min(), counts.max()
    several = counted(most, "launch") if least == most else f"{least} to {most} launches"
    return f"{several} of each graph"


def _machine(device: dict[Hashable, Any]) -> str:
    """Give a device's name with what is known of it."""
    cores = device["cpu_cores"]
    known = [device["cpu"], pd.NA if pd.isna(cores) else counted(cores, "core"), device["abi"]]
    told = ", ".join(str(one) for one in known if not pd.isna(one))
    name = device_said(device)
    return f"{name} ({told})" if told else name


def device_said(device: Mapping[Hashable, Any]) -> str:
    """Give a device's name, and that it is emulated where it counts instructions."""
    return (
        f"{device['name']}, emulated"
        if isinstance(device["emulated_cpu"], str)
        else str(device["name"])
    )


def _listed(values: "pd.Series[str]") -> str:
    return ", ".join(values.dropna().unique())


def _runtimes(summary: pd.DataFrame) -> list[str]:
    versions = summary[["runtime", "runtime_version"]].dropna(subset=["runtime"]).fillna("")
    pairs = versions.drop_duplicates().itertuples(index=False)
    return [f"{runtime} {version}".rstrip() for runtime, version in pairs]


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
        lines = [_before_marks(label), *map(_before_brackets, cells)]
        rich.add_row(*(Text("\n".join(one)) for one in lines))
    return rich


def _words(header: str) -> list[str]:
    whole = header.replace(" %", "\u00a0%")  # keeps the sign with its number
    return wrap(whole, 6, break_long_words=False, break_on_hyphens=False)


def _before_marks(label: str) -> list[str]:
    return re.split(r" (?=[⁰¹²³⁴⁵⁶⁷⁸⁹])", label, maxsplit=1)


def _before_brackets(cell: str) -> list[str]:
    return re.split(r" (?=[\[(])", cell)
