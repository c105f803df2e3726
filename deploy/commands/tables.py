"""Tables that a user asks for: which rows, in which shape, printed in which format."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.commands.show import console, print_json
from deploy.errors import UsageError
from deploy.zoo.papers import find_table
from reports.compare import refuse_unlike
from reports.exporters import FORMATS, to_rich
from reports.frame import Frames
from reports.grid import Grid
from reports.instruction_table import instruction_table
from reports.pivot import pivot
from reports.presets import Preset, Printed, find_preset, preset_table

TERMINAL = "terminal"
_VALUES = ("latency", "speed_up", "memory", "added", "psnr", "ssim", "size")
_COUNTED_VALUES = ("instructions", "session_instructions", "psnr", "ssim", "size")


@dataclass(frozen=True)
class TableRequest:
    """A table as a user asks for it; None is what was not asked for.

    Attributes:
        form: one of `reports.exporters.FORMATS`, or terminal.
        rows: names of `reports.values.DIMENSIONS`, by commas.
        columns: the same.
        values: names of `reports.values.VALUES`, by commas.
        where: each NAME=VALUE.
        preset: one of `reports.presets.PRESETS`.
        with_paper: whether what the paper prints stands beside.
        force: whether unlike rows may stand in one table.
    """

    form: str | None = None
    rows: str | None = None
    columns: str | None = None
    values: str | None = None
    where: Sequence[str] = ()
    preset: str | None = None
    with_paper: bool = False
    force: bool = False

    @property
    def is_asked_for(self) -> bool:
        """Whether a table is wanted instead of the whole report, which never holds unlike rows."""
        named = (self.form, self.rows, self.columns, self.values, self.preset)
        flags = (bool(self.where), self.with_paper, self.force)
        return any(one is not None for one in named) or any(flags)

    @property
    def tells_sessions(self) -> bool:
        """Whether each row is of one session, or all are of one that was chosen."""
        axes = [*_names(self.rows), *_names(self.columns)]
        chosen = any(_pair(one)[0] == "session" for one in self.where)
        return chosen or "session" in axes or not (self.rows or self.preset)


def table_of(frames: Frames, request: TableRequest, baseline_kind: str) -> Grid:
    """Compute the table that is asked for.

    Raises:
        UsageError: a name fits nothing, or options that exclude each other.
        RowsError: rows that do not belong into one table.
    """
    check_format(request.form)
    where = dict(_pair(one) for one in request.where)
    shape = (request.rows, request.columns, request.values)
    if request.preset is not None:
        if any(one is not None for one in shape):
            raise UsageError("--preset has its own rows, columns and values", "leave them out")
        preset = find_preset(request.preset)
        return preset_table(
            frames,
            preset,
            printed=printed_by(preset) if request.with_paper else None,
            where=where,
            baseline_kind=baseline_kind,
            force=request.force,
        )
    if request.with_paper:
        raise UsageError("--with-paper goes with a table of the papers", "name one by --preset")
    counted = bool(frames.summary["is_counted"].all())
    if counted and not (where or any(one is not None for one in shape)):
        if not request.force:
            refuse_unlike(frames)
        return instruction_table(frames.summary, frames, baseline_kind)
    return pivot(
        frames,
        _names(request.rows) or _told_apart(frames),
        _names(request.columns),
        _names(request.values) or list(_COUNTED_VALUES if counted else _VALUES),
        where=where,
        baseline_kind=baseline_kind,
        force=request.force,
    )


def check_format(form: str | None) -> None:
    """Refuse a format that is not there, before any work. Raises UsageError."""
    known = (TERMINAL, *FORMATS)
    if form is not None and form not in known:
        raise UsageError(f"unknown format {form!r}", f"use one of {', '.join(known)}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--where takes NAME=VALUE, not {text!r}", "as in --where kind=plain")
    return name.strip(), value.strip()


def _names(text: str | None) -> list[str]:
    return [] if text is None else [one.strip() for one in text.split(",") if one.strip()]


def _told_apart(frames: Frames) -> list[str]:
    """Give the dimensions that tell all cases apart: the shape of a report's own table."""
    summary = frames.summary
    several = {"provider": "provider", "session_id": "session"}
    more = [name for column, name in several.items() if summary[column].nunique() > 1]
    return ["model", "kind", *more]


def printed_by(preset: Preset) -> Printed:
    """Give what the paper prints of a preset's networks."""
    table = find_table(preset.paper)
    figures: dict[str, dict[str, str]] = {"macs": {}, "parameters": {}}
    for row in table.rows:
        counts = {"macs": row.macs, "parameters": row.parameters}
        results = dict(zip(table.columns, row.results, strict=True))
        for column, figure in (counts | results).items():
            if figure is not None:
                figures.setdefault(column, {})[row.model] = figure
    return Printed(f"{table.title} ({table.conditions})", figures)


def show_grid(grid: Grid, form: str | None, as_json: bool) -> None:
    """Print a table as it was asked for."""
    if as_json:
        print_json(grid_record(grid))
    elif form in FORMATS:
        sys.stdout.write(FORMATS[form](grid))
    else:
        screen = console()
        screen.print(to_rich(grid, screen.width), highlight=False)


def grid_record(grid: Grid) -> Mapping[str, Any]:
    """Give a table as plain values: numbers unrounded, None where there is none."""
    rows = []
    for row in grid.rows:
        record: dict[str, Any] = {}
        for column, cell in zip(grid.columns, row, strict=True):
            record[column.key] = cell.text if column.words else cell.value
            if column.ends:
                record |= {f"{column.key}_low": cell.low, f"{column.key}_high": cell.high}
        record["notes"] = [note for cell in row for note in cell.notes]
        rows.append({key: _plain(value) for key, value in record.items()})
    return {"caption": grid.caption, "rows": rows, "remarks": list(grid.remarks)}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
