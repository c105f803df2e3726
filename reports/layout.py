"""Which case each cell of a table shows, and what is said of it, row by row.

Where several cases fit one cell, the last is taken: whoever lays out orders them by preference.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

import pandas as pd

from reports.footnotes import Case, Footnotes
from reports.grid import Cell, Column, words
from reports.rounding import DASH
from reports.summary import kind_place
from reports.values import VALUES, Value, cell_of, provider_said

AT = "_"  # begins the columns of the summary that hold a dimension as it is shown


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


def filled(
    layout: Layout, cases: pd.DataFrame, told: Footnotes, baseline_kind: str
) -> tuple[tuple[tuple[Cell, ...], ...], list[str]]:
    """Give the rows of a layout, and what all of them say, which is taken out of them.

    Args:
        cases: the summary with a column for each dimension; of several, the last is shown.
        baseline_kind: the kind that speed-ups are against.
    """
    chosen = _Chosen(cases, told, baseline_kind, layout)
    starts = accumulate((len(slot.values) for slot in layout.slots[:-1]), initial=chosen.labels)
    rows, shared = _without_shared(list(chosen.rows()), list(starts))
    return tuple(rows), shared


class _Chosen:
    """Picks the case of each cell and writes its row."""

    def __init__(
        self, cases: pd.DataFrame, told: Footnotes, baseline_kind: str, layout: Layout
    ) -> None:
        self.told, self.baseline_kind, self.layout = told, baseline_kind, layout
        self.keys = [f"{AT}{name}" for name in layout.rows]
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
    wanted = {f"{AT}{name}": value.casefold() for name, value in slot.where.items()}
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
    found = in_order(cases[keys].drop_duplicates(), cases)
    there = [tuple(map(str, key)) for key in found.itertuples(index=False, name=None)]
    first = [key for name in named for key in there if key[0] == name]
    return [*first, *(key for key in there if key[0] not in layout.labels)]


def in_order(combinations: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Order combinations of dimensions: kinds along the line, CPU first, the rest by name."""

    def place(column: pd.Series) -> pd.Series:
        if column.name == f"{AT}kind":
            return column.map(lambda kind: f"{kind_place(kind):02} {kind}")
        if column.name == f"{AT}provider":
            return column.map(lambda name: "" if name == "CPU" else name)
        if column.name == f"{AT}precision":
            return column.map({"fp32": "0", "fp16": "1", "int8": "2"}).fillna("3")
        if column.name == f"{AT}threads":
            return column.str.zfill(6)
        return column

    return combinations.sort_values(list(combinations.columns), key=place)


def columns_of(layout: Layout) -> Iterator[Column]:
    """Give the columns of a layout from the left."""
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
