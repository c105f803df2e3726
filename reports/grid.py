"""A table that is computed and not yet drawn: cells with their numbers, headers in levels, notes.

Renderers are in `reports.exporters`; they read this and decide nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from reports.rounding import DASH


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: as a reader sees it, without marks.
        value: behind the text; None for words and where there is none.
        low: lower end of its 95 % interval.
        high: upper end.
        notes: what a reader has to know, each a footnote of the grid.
    """

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        levels: its header from the top; neighbours that share their first levels are spanned.
        key: its name where a program reads it, with the unit as a suffix.
        words: holds text, set to the left.
        ends: has intervals.
    """

    levels: tuple[str, ...]
    key: str
    words: bool = False
    ends: bool = False

    @property
    def header(self) -> str:
        """The whole header in one line."""
        return ", ".join(filter(None, self.levels))


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        caption: what was measured, where and how.
        columns: from the left.
        rows: a cell a column.
        remarks: what holds for all of it.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    remarks: tuple[str, ...] = ()

    @cached_property
    def footnotes(self) -> dict[str, int]:
        """What single cells have to say with its number, in the order that a reader meets it."""
        said = dict.fromkeys(note for row in self.rows for cell in row for note in cell.notes)
        return {note: number for number, note in enumerate(said, 1)}

    def marks(self, cell: Cell) -> list[int]:
        """Give the numbers of a cell's footnotes."""
        return [self.footnotes[note] for note in cell.notes]


def spans(columns: Sequence[Column], level: int) -> list[tuple[str, int]]:
    """Give the headers of one level, each with how many columns it stands over.

    Neighbours share a header where all levels above are shared too; the last level spans nothing.
    """
    depth = max(len(column.levels) for column in columns)
    found: list[tuple[tuple[str, ...], int]] = []
    for column in columns:
        padded = ("",) * (depth - len(column.levels)) + column.levels
        above = padded[: level + 1]
        joins = found and level < depth - 1 and found[-1][0] == above and above[-1]
        if joins:
            found[-1] = (above, found[-1][1] + 1)
        else:
            found.append((above, 1))
    return [(above[-1], width) for above, width in found]


def words(text: object, notes: Iterable[str] = ()) -> Cell:
    """Give a cell that holds text."""
    return Cell(str(text) or DASH, notes=tuple(notes))
