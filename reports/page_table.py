"""A table of the page: text to read, values to sort by, and bars where a share is shown."""

import math
import re
from dataclasses import dataclass

_ASIDE = re.compile(r" (?=[\[(][^a-z]*$)")


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what it shows.
        key: what it is sorted by, a number or a text; empty sorts last.
        share_pct: length of the bar beside the text; None for no bar.
        series: its colour in the plots; None for no mark.
    """

    text: str
    key: str = ""
    share_pct: float | None = None
    series: int | None = None

    @property
    def main(self) -> str:
        """What stands before the brackets: the value."""
        return re.split(_ASIDE, self.text)[0]

    @property
    def aside(self) -> str:
        """What stands in brackets: its interval, or what is added to it."""
        return self.text.removeprefix(self.main).lstrip()


@dataclass(frozen=True)
class PageTable:
    """A table with a heading for each column; the first cell of a row is its heading.

    Attributes:
        caption: what it shows, for those who hear the page.
        columns: headings.
        rows: a cell a column.
        texts: columns that hold words and are set to the left.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    texts: tuple[str, ...] = ()


def words(text: str) -> Cell:
    """Give a cell that is sorted by what it shows."""
    return Cell(text, text)


def number(text: str, value: float, share_pct: float | None = None) -> Cell:
    """Give a cell that is sorted by a value; a missing one sorts last."""
    return Cell(text, "" if math.isnan(value) else repr(float(value)), share_pct)
