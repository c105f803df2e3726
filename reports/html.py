"""One HTML page that needs no network: headline, tables, plots, pictures, provenance."""

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from deploy.errors import DataError
from reports.execution import failed_launches, failure_logs, provider_coverage, top_operators
from reports.exporters import superscript
from reports.frame import Frames
from reports.grid import Grid
from reports.headline import card_groups, with_unit
from reports.page_table import Cell, PageTable, number
from reports.plots import Plot, draw_all
from reports.plots.style import DARK, LIGHT
from reports.provenance import describe
from reports.tables import COLUMNS, ComparisonTable

_TEMPLATES = Path(__file__).parent / "templates"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BEFORE_MARK = re.compile(r" (?=[⁰¹²³⁴-⁹])")  # a mark stays with the name that it belongs to
_TOPICS = {
    "instructions": "Instructions",
    "latency": "Latency",
    "cost": "Memory, quality and size",
}
# what stands above the tables of operators: a title and how to read them
_TIMED = (
    "Where the time goes",
    "The operators of each graph, all nodes of a kind together, in ms an inference. From launches "
    "that were profiled, which slows them: read the shares, not the sums. A partition is many "
    "nodes that the provider compiled into one.",
)
_COUNTED = (
    "Where the instructions go",
    "The operators of each graph, all nodes of a kind together, in millions of instructions an "
    "inference, of a launch that was profiled.",
)


@dataclass(frozen=True)
class Picture:
    """One version of one held-out image.

    Attributes:
        image_name: which image it shows; versions of one image stand side by side.
        label: which version: degraded, sharp, or the kind of the graph that made it.
        png: the picture as PNG bytes.
        psnr_db: against the sharp image; None for the sharp image itself.
    """

    image_name: str
    label: str
    png: bytes
    psnr_db: float | None = None


def render_html(
    summary: pd.DataFrame,
    frames: Frames,
    table: ComparisonTable | Grid,
    pictures: Sequence[Picture] = (),
    baseline_kind: str = "plain",
) -> str:
    """Give the whole page; names are escaped wherever they stand.

    Args:
        summary: what `summarize` and then `add_speed_ups` gave.
        frames: the rows behind it.
        table: what `comparison_table` made of them, or `instruction_table` of counted ones.
        pictures: in the order to show them.
        baseline_kind: the kind that the speed-ups are against.

    Raises:
        DataError: a picture is not a PNG.
    """
    parts: dict[str, Any] = {
        "images": _images(pictures),
        "comparison": _comparison(summary, table, baseline_kind),
        "is_counted": isinstance(table, Grid),
        "plots": _by_topic(draw_all(frames, summary)),
        "coverage": provider_coverage(frames, summary),
        "operators": top_operators(frames, summary),
        "failures": failed_launches(frames, summary),
    }
    script = (_TEMPLATES / "sort.js").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            parts,
            models=", ".join(summary["model"].unique()),
            caption=table.caption,
            notes=_notes(table),
            operators_said=_COUNTED if isinstance(table, Grid) else _TIMED,
            groups=card_groups(summary, baseline_kind),
            topics=_topics(parts),
            sections=_sections(parts),
            logs=failure_logs(frames),
            facts=describe(frames, summary),
            light=LIGHT,
            dark=DARK,
            script=Markup(script),
            script_hash=Markup(_csp_hash(script)),
        )
    )


def _topics(parts: Mapping[str, Any]) -> dict[str, str]:
    """Give the title of each topic of plots; an emulated core tells of no memory."""
    return _TOPICS | ({"cost": "Quality and size"} if parts["is_counted"] else {})


def _sections(parts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Give the id and the title of each section that the page has."""
    there = {
        "comparison": "Comparison",
        **{topic: title for topic, title in _topics(parts).items() if parts["plots"][topic]},
        "execution": "Who computed it" if _has_execution(parts) else "",
        "failures": "Failed launches" if parts["failures"] else "",
        "pictures": "Before and after" if parts["images"] else "",
        "provenance": "Provenance",
    }
    return [(name, title) for name, title in there.items() if title]


def _has_execution(parts: Mapping[str, Any]) -> bool:
    """Tell whether there is a section on it; operators that were counted have another."""
    return bool(parts["coverage"] or (parts["operators"] and not parts["is_counted"]))


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _csp_hash(script: str) -> str:
    """Give the source expression that allows this script and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _comparison(
    summary: pd.DataFrame, table: ComparisonTable | Grid, baseline_kind: str
) -> PageTable:
    """Give each cell as its text and the value to sort by; a missing value sorts last."""
    if isinstance(table, Grid):
        return _of_grid(table)
    is_baseline = (summary["kind"] == baseline_kind).fillna(False)
    sortable = summary.assign(speed_up=summary["speed_up"].mask(is_baseline, 1.0))
    rows = []
    for place, (_, case) in enumerate(sortable.iterrows()):
        values = [place if column is None else case[column] for column in COLUMNS.values()]
        keys = ["" if math.isnan(value) else repr(float(value)) for value in values]
        cells = [Cell(*both) for both in zip(table.cells.iloc[place], keys, strict=True)]
        label = _BEFORE_MARK.sub("\u00a0", cells[0].text)
        rows.append((replace(cells[0], text=label, series=place % len(LIGHT)), *cells[1:]))
    return PageTable("Comparison of the graphs", tuple(COLUMNS), tuple(rows))


def _of_grid(grid: Grid) -> PageTable:
    rows = []
    for place, (label, *cells) in enumerate(grid.rows):
        marks = "".join(superscript(mark) for mark in grid.marks(label))
        text = f"{label.text}\u00a0{marks}" if marks else label.text
        head = Cell(text, repr(float(place)), series=place % len(LIGHT))
        values = (math.nan if one.value is None else one.value for one in cells)
        rows.append((head, *map(number, (one.text for one in cells), values)))
    columns = tuple(column.header for column in grid.columns)
    return PageTable("Comparison of the graphs", columns, tuple(rows))


def _notes(table: ComparisonTable | Grid) -> tuple[str, ...]:
    if not isinstance(table, Grid):
        return table.notes
    marked = (f"{superscript(mark)} {note}" for note, mark in table.footnotes.items())
    return (*marked, *table.remarks)


def _by_topic(plots: list[Plot]) -> dict[str, list[tuple[str, str, Markup]]]:
    """Give the plots of each topic that has some, in the order of the page."""
    return {
        topic: [(one.title, one.note, Markup(one.svg)) for one in plots if one.topic == topic]
        for topic in _TOPICS
    }


def _images(pictures: Sequence[Picture]) -> dict[str, list[tuple[str, str, str]]]:
    """Give the versions of each image: label, what to say of it, and the picture as a data URI."""
    images: dict[str, list[tuple[str, str, str]]] = {}
    for picture in pictures:
        if not picture.png.startswith(_PNG_SIGNATURE):
            raise DataError(
                f"picture {picture.label!r} of {picture.image_name!r} is not a PNG",
                "encode it as PNG",
            )
        said = "" if picture.psnr_db is None else with_unit(picture.psnr_db, 2, "dB")
        uri = f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
        images.setdefault(picture.image_name, []).append((picture.label, said, uri))
    return images
