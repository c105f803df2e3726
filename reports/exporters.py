"""Tables and pages to text and files; a file has a temporary name first, so none is half there."""

import csv
import io
import math
import re
from collections.abc import Callable
from html import escape
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from deploy.files import unfinished
from reports.grid import Cell, Column, Grid, spans

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "²": r"\textsuperscript{2}",
    "✓": r"$\surd$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def superscript(number: int) -> str:
    """Give a number in superscript digits."""
    return str(number).translate(_SUPERSCRIPTS)


def _marked(grid: Grid, cell: Cell) -> str:
    return " ".join([cell.text, *(superscript(number) for number in grid.marks(cell))])


def _numbered(grid: Grid) -> list[str]:
    return [f"{superscript(n)} {note}" for note, n in grid.footnotes.items()]


def to_markdown(grid: Grid) -> str:
    """Give GitHub markdown: caption, table, footnotes, remarks."""
    header = [_one_line(column.header) for column in grid.columns]
    rows = [[_one_line(_marked(grid, cell)) for cell in row] for row in grid.rows]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    rule = [
        "-" * width if column.words else "-" * (width - 1) + ":"
        for column, width in zip(grid.columns, widths, strict=True)
    ]
    lines = [_markdown_row(row, grid.columns, widths) for row in (header, rule, *rows)]
    notes = [f"- {_one_line(note)}" for note in (*_numbered(grid), *grid.remarks)]
    below = ["", *notes] if notes else []
    return "\n".join([_one_line(grid.caption), "", *lines, *below]) + "\n"


def _markdown_row(cells: list[str], columns: tuple[Column, ...], widths: list[int]) -> str:
    padded = [
        cell.ljust(width) if column.words else cell.rjust(width)
        for cell, column, width in zip(cells, columns, widths, strict=True)
    ]
    return f"| {' | '.join(padded)} |"


def _one_line(text: str) -> str:
    """Keep names from opening a cell, a tag or a line of their own."""
    return _flat(text).replace("|", r"\|").replace("<", "&lt;")


def _flat(text: str) -> str:
    return " ".join(text.split())


def to_latex(grid: Grid) -> str:
    """Give a LaTeX table that needs the package booktabs and nothing else."""
    depth = max(len(column.levels) for column in grid.columns)
    alignment = "".join("l" if column.words else "r" for column in grid.columns)
    head: list[str] = []
    for level in range(depth):
        cells, rules, start = [], [], 1
        for text, width in spans(grid.columns, level):
            shown = latex_text(text)
            cells.append(rf"\multicolumn{{{width}}}{{c}}{{{shown}}}" if width > 1 else shown)
            rules += [rf"\cmidrule(lr){{{start}-{start + width - 1}}}"] if width > 1 else []
            start += width
        head += [f"{' & '.join(cells)} \\\\", *rules]
    rows = [f"{' & '.join(_latex_cell(grid, cell) for cell in row)} \\\\" for row in grid.rows]
    notes = [
        *(rf"\textsuperscript{{{n}}} {latex_text(note)}" for note, n in grid.footnotes.items()),
        *map(latex_text, grid.remarks),
    ]
    return "\n".join(
        [
            r"\begin{table}",
            rf"\caption{{{latex_text(grid.caption)}}}",
            r"\centering",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            *head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            *([r"\par\smallskip\footnotesize\raggedright"] if notes else []),
            *(rf"{note}\par" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def _latex_cell(grid: Grid, cell: Cell) -> str:
    marks = ",".join(map(str, grid.marks(cell)))
    text = latex_text(cell.text)
    # a bracket at the start of a row would be taken for an option of the row end before it
    text = f"{{{text}}}" if text.startswith("[") else text
    return rf"{text}\textsuperscript{{{marks}}}" if marks else text


def latex_text(text: str) -> str:
    """Give text with what LaTeX would read as commands made harmless."""
    escaped = ("".join(_LATEX.get(sign, sign) for sign in part) for part in _flat(text).split("--"))
    return "-{}-".join(escaped)  # two of them would be set as one dash, as in the name of an option


def to_csv(grid: Grid) -> str:
    """Give CSV for programs: numbers unrounded, ends and notes in columns of their own."""
    header: list[str] = []
    for column in grid.columns:
        header += [column.key, f"{column.key}_low", f"{column.key}_high"][: 3 if column.ends else 1]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*header, "notes"])
    for row in grid.rows:
        fields: list[object] = []
        for column, cell in zip(grid.columns, row, strict=True):
            fields.append(_flat(cell.text) if column.words else _number(cell.value))
            fields += [_number(cell.low), _number(cell.high)] if column.ends else []
        writer.writerow([*fields, _flat("; ".join(note for cell in row for note in cell.notes))])
    return out.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(float(value))


def to_html(grid: Grid) -> str:
    """Give a `<figure>` for any page: no style, no script, every name escaped."""
    depth = max(len(column.levels) for column in grid.columns)
    head = [
        "".join(_heading(text, width) for text, width in spans(grid.columns, level))
        for level in range(depth)
    ]
    rows = [
        "".join(
            _html_cell(grid, column, cell) for column, cell in zip(grid.columns, row, strict=True)
        )
        for row in grid.rows
    ]
    notes = [
        *(f"<sup>{n}</sup> {escape(note)}" for note, n in grid.footnotes.items()),
        *map(escape, grid.remarks),
    ]
    return "\n".join(
        [
            "<figure>",
            f"<figcaption>{escape(grid.caption)}</figcaption>",
            "<table>",
            *("<thead>", *(f"<tr>{row}</tr>" for row in head), "</thead>"),
            *("<tbody>", *(f"<tr>{row}</tr>" for row in rows), "</tbody>"),
            "</table>",
            *(["<ul>", *(f"<li>{note}</li>" for note in notes), "</ul>"] if notes else []),
            "</figure>",
            "",
        ]
    )


def _heading(text: str, width: int) -> str:
    span = f' colspan="{width}"' if width > 1 else ""
    return f'<th scope="col"{span}>{escape(text)}</th>'


def _html_cell(grid: Grid, column: Column, cell: Cell) -> str:
    marks = ",".join(map(str, grid.marks(cell)))
    mark = f"<sup>{marks}</sup>" if marks else ""
    tag = "th" if column is grid.columns[0] else "td"
    scope = ' scope="row"' if tag == "th" else ""
    align = "" if column.words else ' style="text-align:right"'
    return f"<{tag}{scope}{align}>{escape(cell.text)}{mark}</{tag}>"


def to_rich(grid: Grid, width: int = 80) -> Group:
    """Give the table for a terminal: intervals on a line of their own, numbers never cut.

    Args:
        width: columns of the terminal; a table that is wider goes on below, its labels repeated.
    """
    labels = next((n for n, one in enumerate(grid.columns) if not one.words), len(grid.columns))
    tables = [_rich_part(grid, [*range(labels), *part]) for part in _parts(grid, labels, width)]
    notes = "\n".join([*_numbered(grid), *grid.remarks])
    spaced = [one for table in tables for one in (Text(""), table)]
    return Group(Text(grid.caption), *spaced, *([Text(notes)] if notes else []))


def _parts(grid: Grid, labels: int, width: int) -> list[list[int]]:
    """Share the columns out, so that each part is as wide as the terminal at most."""
    widths = [
        2 + max(len(line) for line in [*column.levels, *(line for cell in cells for line in cell)])
        for column, cells in zip(
            grid.columns,
            zip(*([_lines(_marked(grid, one)) for one in row] for row in grid.rows), strict=True),
            strict=True,
        )
    ]
    parts: list[list[int]] = [[]]
    room = width - sum(widths[:labels])
    for column in range(labels, len(widths)):
        if parts[-1] and sum(widths[one] for one in parts[-1]) + widths[column] > room:
            parts.append([])
        parts[-1].append(column)
    return parts


def _rich_part(grid: Grid, columns: list[int]) -> Table:
    rich = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for place in columns:
        column = grid.columns[place]
        header = Text("\n".join(filter(None, column.levels)))
        rich.add_column(header, justify="left" if column.words else "right", no_wrap=True)
    for row in grid.rows:
        cells = ("\n".join(_lines(_marked(grid, row[place]))) for place in columns)
        rich.add_row(*map(Text, cells))
    return rich


def _lines(cell: str) -> list[str]:
    return re.split(r" (?=\[)", cell)


# what `--format` takes, but for the terminal
FORMATS: dict[str, Callable[[Grid], str]] = {
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "html": to_html,
}


def write_frame(frame: pd.DataFrame, folder: Path, name: str) -> tuple[Path, Path]:
    """Write a frame as NAME.csv and NAME.parquet; give both paths.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    csv_path, parquet = folder / f"{name}.csv", folder / f"{name}.parquet"
    with unfinished(csv_path) as temporary:
        frame.to_csv(temporary, index=False)
    with unfinished(parquet) as temporary:
        frame.to_parquet(temporary, index=False)
    return csv_path, parquet


def write_text(text: str, path: Path) -> Path:
    """Write a text file in UTF-8; give its path.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    with unfinished(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
