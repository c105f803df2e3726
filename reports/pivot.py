"""Any table that a user asks for: rows, columns and values by name, from the summary of the rows.

What of a case a cell shows is decided here: the one farthest along the line where several fit, the
newest session where there are several, nothing where the output was wrong. Each decision is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import pandas as pd

from deploy.errors import RowsError, UsageError
from reports.compare import add_speed_ups, speed_ups
from reports.footnotes import Case, Footnotes, footnotes
from reports.frame import Frames
from reports.grid import Cell, Column, Grid, words
from reports.rounding import DASH
from reports.summary import kind_place
from reports.tables import caption
from reports.values import DIMENSIONS, VALUES, Value, cell_of, checked, provider_said

# What rows of one table share unless it tells them apart: the column, and how it is asked for.
_ALIKE = {
    "device_id": "device",
    "provider": "provider",
    "threads": "threads",
    "runtime": "runtime",
    "runtime_version": "version",
    "cores_asked": "cores",
}
_AT = "_"  # begins the columns that this module adds to the summary


@dataclass(frozen=True)
class Slot:
    """A group of columns that shows values of one case a row.

    Attributes:
        levels: header above the values.
        where: dimension -> what it has to be, for a case to be shown here.
        values: names of `VALUES`.
    """

    levels: tuple[str, ...]
    where: Mapping[str, str]
    values: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """What a table looks like.

    Attributes:
        rows: dimensions that tell rows apart.
        slots: groups of columns, from the left.
        labels: value of the first row dimension -> what to call it; named rows come first, in
            this order.
        ticks: headers of words between labels and values, and what stands there by the first row
            dimension.
        printed: header -> value of the first row dimension -> what a paper prints there.
        remarks: what to say below.
    """

    rows: tuple[str, ...]
    slots: tuple[Slot, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    ticks: tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]] = ((), {})
    printed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def pivot(
    frames: Frames,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[str],
    *,
    where: Mapping[str, str] | None = None,
    baseline_kind: str = "plain",
    force: bool = False,
) -> Grid:
    """Lay values out by what the cases differ in.

    Args:
        frames: the rows.
        rows: names of `DIMENSIONS`.
        columns: names of `DIMENSIONS`; none for one group of columns.
        values: names of `VALUES`.
        where: dimension -> the value that a case has to have to be in the table.
        baseline_kind: the kind that speed-ups are against.
        force: let unlike rows stand in one table, and say so.

    Raises:
        UsageError: a name fits nothing.
        RowsError: the rows are unlike in what is neither in rows nor in columns, or none is left.
    """
    rows = checked(rows, DIMENSIONS, "dimension")
    columns = checked(columns, DIMENSIONS, "dimension")
    values = checked(values, VALUES, "value")
    if not rows or not values:
        raise UsageError("a table needs rows and values", "pass --rows and --value")
    if both := [name for name in columns if name in rows]:
        raise UsageError(f"{both[0]} is in rows and in columns", "take it out of one of them")
    cases = cases_of(frames, where or {}, baseline_kind)
    there = cases[[f"{_AT}{name}" for name in columns]].drop_duplicates() if columns else None
    slots = [Slot((), {}, tuple(values))] if there is None else []
    if there is not None:
        for combination in _sorted(there, cases).itertuples(index=False, name=None):
            named = dict(zip(columns, combination, strict=True))
            slots.append(Slot(tuple(one or DASH for one in combination), named, tuple(values)))
    layout = Layout(tuple(rows), tuple(slots))
    return laid_out(frames, cases, layout, baseline_kind=baseline_kind, force=force)


def cases_of(frames: Frames, where: Mapping[str, str], baseline_kind: str) -> pd.DataFrame:
    """Give the summary with speed-ups and a column for each dimension, of the cases asked for.

    Raises:
        UsageError: a dimension that is not there.
        RowsError: no case is left.
    """
    checked(list(where), DIMENSIONS, "dimension")
    ratios = speed_ups(frames, baseline_kind, force=True)
    cases = add_speed_ups(frames.summary, ratios)
    dimensions = {f"{_AT}{name}": read(cases).fillna("") for name, read in DIMENSIONS.items()}
    cases = cases.assign(**dimensions)
    for name, wanted in where.items():
        there = cases[f"{_AT}{name}"]
        kept = there.str.casefold() == wanted.casefold()
        if not kept.any():
            known = ", ".join(sorted({one or DASH for one in there}))
            raise RowsError(f"no case has the {name} {wanted!r}", f"there are {known}")
        cases = cases[kept]
    return cases


def laid_out(
    frames: Frames,
    cases: pd.DataFrame,
    layout: Layout,
    *,
    baseline_kind: str = "plain",
    force: bool = False,
) -> Grid:
    """Fill a layout with cases that `cases_of` gave.

    Raises:
        RowsError: the cases are unlike in what the layout does not tell apart.
    """
    axes = {*layout.rows, *(name for slot in layout.slots for name in slot.where)}
    _refuse_sizes(cases, axes)
    forced = _unlike(cases, frames, axes, force=force)
    chosen = _Chosen(_preferred(cases), footnotes(frames), baseline_kind, layout)
    rows = list(chosen.rows())
    columns = tuple(_columns(layout))
    starts = accumulate((len(slot.values) for slot in layout.slots[:-1]), initial=chosen.labels)
    rows, shared = _without_shared(rows, list(starts))
    shown = dict.fromkeys(name for slot in layout.slots for name in slot.values)
    remarks = [VALUES[name].remark for name in shown]
    if "speed_up" in shown:
        remarks += [f"Speed-up is against {baseline_kind}, block by block; above 1 is faster."]
    every = (*forced, *(f"All: {text}." for text in shared), *filter(None, remarks))
    return Grid(caption(cases, frames), columns, tuple(rows), (*every, *layout.remarks))


def _unlike(cases: pd.DataFrame, frames: Frames, axes: set[str], *, force: bool) -> tuple[str, ...]:
    """Refuse cases that differ in what no axis tells; or, by force, say in what they do."""
    said = []
    for name, dimension in _ALIKE.items():
        values = cases[name].dropna().unique()
        if len(values) < 2 or dimension in axes:
            continue
        names = frames.devices.set_index("device_id")["name"].to_dict()
        one, other = (f"{names[v]} ({v})" if name == "device_id" else str(v) for v in values[:2])
        if not force:
            raise RowsError(
                f"cannot put rows into one table whose {name} differs: {one} and {other}",
                f"add {dimension} to --rows or --columns, choose one by --where, or pass --force",
            )
        said.append(f"Unlike rows by --force: {name} is {one} and {other}.")
    return tuple(said)


def _refuse_sizes(cases: pd.DataFrame, axes: set[str]) -> None:
    """Refuse one network at two input shapes, which are two tasks."""
    if "shape" in axes:
        return
    shapes = cases.groupby("model")["input_shape"].unique().map(lambda one: one.dropna())
    for model, several in shapes.items():
        if len(several) > 1:
            raise RowsError(
                f"cannot put rows of {model} into one table whose input_shape differs: "
                f"{several[0]} and {several[1]}",
                "add shape to --rows or --columns, or choose one by --where",
            )


def _preferred(cases: pd.DataFrame) -> pd.DataFrame:
    """Order cases so that the last of several is the one to show."""
    flags = cases["flags"].str.split(",")
    ordered = cases.assign(
        _right=~flags.map(lambda names: "wrong_output" in names),
        _home=~flags.map(lambda names: "foreign_target" in names),
        _timed=cases["latency_median_ms"].notna(),
        _place=cases["kind"].map(kind_place),
    )
    by = ["_right", "_home", "_timed", "_place", "kind", "started_at_utc", "session_id"]
    return ordered.sort_values(by, kind="stable")


class _Chosen:
    """Picks the case of each cell and writes its row."""

    def __init__(
        self, cases: pd.DataFrame, told: Footnotes, baseline_kind: str, layout: Layout
    ) -> None:
        self.told, self.baseline_kind, self.layout = told, baseline_kind, layout
        self.keys = [f"{_AT}{name}" for name in layout.rows]
        self.names = _row_names(cases, layout, self.keys)
        self.labels = len(layout.rows) + len(layout.ticks[0])
        records: list[Case] = cases.to_dict("records")
        self.groups = [_by_row(_of_slot(records, slot), self.keys) for slot in layout.slots]

    def rows(self) -> Iterator[tuple[Cell, ...]]:
        """Give each row with its label, ticks, values, and what a paper prints."""
        layout = self.layout
        headers, ticks = layout.ticks
        for key in self.names:
            found = [group.get(key, []) for group in self.groups]
            cells = [words(layout.labels.get(key[0], key[0])), *self._rest(key, found)]
            cells += [Cell(tick) for tick in ticks.get(key[0], ("",) * len(headers))]
            for slot, several in zip(layout.slots, found, strict=True):
                cells += self._cells(slot, several)
            cells += [Cell(by_row.get(key[0], DASH)) for by_row in layout.printed.values()]
            yield tuple(cells)

    def _rest(self, key: tuple[str, ...], found: list[list[Case]]) -> list[Cell]:
        """Give the labels behind the first, a provider as what really computed."""
        first = next((several[-1] for several in found if several), None)
        return [
            words(provider_said(first) if name == "provider" and first else one)
            for name, one in zip(self.layout.rows[1:], key[1:], strict=True)
        ]

    def _cells(self, slot: Slot, several: list[Case]) -> list[Cell]:
        if not several:
            return [Cell(DASH) for _ in slot.values]
        case = several[-1]
        notes = self.told.of(case, self.baseline_kind, ratios="speed_up" in slot.values)
        notes += _choice(several)
        cells = [cell_of(case, VALUES[name], self.baseline_kind) for name in slot.values]
        return [replace(cells[0], notes=(*notes, *cells[0].notes)), *cells[1:]]


def _choice(several: list[Case]) -> list[str]:
    """Say which of several cases is shown."""
    case = several[-1]
    said = []
    kinds = sorted({str(one["kind"]) for one in several}, key=lambda one: (kind_place(one), one))
    if len(kinds) > 1:
        said.append(f"shown is {case['kind']} of {', '.join(kinds)}; kind as an axis shows all")
    sessions = {one["session_id"] for one in several if one["kind"] == case["kind"]}
    if len(sessions) > 1:
        said.append(f"the newest of {len(sessions)} sessions")
    return said


def _of_slot(cases: list[Case], slot: Slot) -> list[Case]:
    wanted = {f"{_AT}{name}": value.casefold() for name, value in slot.where.items()}
    return [
        case for case in cases if all(case[k].casefold() == value for k, value in wanted.items())
    ]


def _by_row(cases: list[Case], keys: list[str]) -> dict[tuple[str, ...], list[Case]]:
    found: dict[tuple[str, ...], list[Case]] = {}
    for case in cases:
        found.setdefault(tuple(str(case[key]) for key in keys), []).append(case)
    return found


def _row_names(cases: pd.DataFrame, layout: Layout, keys: list[str]) -> list[tuple[str, ...]]:
    """Give the rows in their order: those that the layout names first, then as a line is."""
    named = list(layout.labels)
    found = _sorted(cases[keys].drop_duplicates(), cases)
    there = [tuple(map(str, key)) for key in found.itertuples(index=False, name=None)]
    first = [key for name in named for key in there if key[0] == name]
    return [*first, *(key for key in there if key[0] not in layout.labels)]


def _sorted(combinations: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Order combinations of dimensions: kinds along the line, CPU first, the rest by name."""

    def place(column: pd.Series) -> pd.Series:
        if column.name == f"{_AT}kind":
            return column.map(lambda kind: f"{kind_place(kind):02} {kind}")
        if column.name == f"{_AT}provider":
            return column.map(lambda name: "" if name == "CPU" else name)
        if column.name == f"{_AT}precision":
            return column.map({"fp32": "0", "fp16": "1", "int8": "2"}).fillna("3")
        if column.name == f"{_AT}threads":
            return column.str.zfill(6)
        return column

    return combinations.sort_values(list(combinations.columns), key=place)


def _columns(layout: Layout) -> Iterator[Column]:
    for name in layout.rows:
        yield Column((name,), name, words=True)
    for header in layout.ticks[0]:
        yield Column((header,), header.replace(" ", "_"), words=True)
    for slot in layout.slots:
        for name in slot.values:
            value: Value = VALUES[name]
            key = "_".join([*slot.where.values(), value.key]).replace(" ", "_")
            yield Column((*slot.levels, value.header), key, ends=len(value.columns) == 3)
    for header in layout.printed:
        yield Column(
            ("printed in the paper", header), f"paper_{header}".replace(" ", "_"), words=True
        )


def _without_shared(
    rows: list[tuple[Cell, ...]], starts: Sequence[int]
) -> tuple[list[tuple[Cell, ...]], list[str]]:
    """Take out what every row says of all its cases, or of one value, to be said once.

    Args:
        starts: the first column of each slot, whose cells carry what is said of a case.
    """
    if len(rows) < 2:
        return rows, []
    said = dict.fromkeys(note for cell in rows[0] for note in cell.notes)
    shared = [note for note in said if _is_everywhere(note, rows, starts)]
    kept = [
        tuple(
            replace(cell, notes=tuple(note for note in cell.notes if note not in shared))
            for cell in row
        )
        for row in rows
    ]
    return kept, shared


def _is_everywhere(note: str, rows: list[tuple[Cell, ...]], starts: Sequence[int]) -> bool:
    columns = {place for row in rows for place, cell in enumerate(row) if note in cell.notes}
    of_cases = columns & set(starts)
    return (not of_cases or of_cases == set(starts)) and all(
        note in row[place].notes for row in rows for place in columns
    )
