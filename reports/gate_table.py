"""The verdict of a gate as a table: cells first, then for a terminal or as markdown."""

import math
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from reports.budgets import METRICS
from reports.gate import Verdict
from reports.gate_findings import WHOLE_CASE, Finding
from reports.rule import IMPROVEMENT, INCONCLUSIVE, INVALID, PASS, REGRESSION
from reports.stats import Estimate

COLUMNS = ("case", "metric", "baseline", "current", "change", "verdict", "why")
DASH = "–"

STYLES = {
    PASS: "green",
    IMPROVEMENT: "bold green",
    REGRESSION: "bold red",
    INCONCLUSIVE: "yellow",
    INVALID: "magenta",
}


@dataclass(frozen=True)
class GateTable:
    """A verdict ready to be printed.

    Attributes:
        title: the verdict in one line.
        rows: cells in the order of `COLUMNS`, one row a finding.
        verdicts: of each row.
        notes: what a reader has to know.
    """

    title: str
    rows: tuple[tuple[str, ...], ...]
    verdicts: tuple[str, ...]
    notes: tuple[str, ...]


def gate_table(verdict: Verdict) -> GateTable:
    """Lay a verdict out as strings."""
    rows = tuple(_cells(one) for one in verdict.findings)
    return GateTable(
        headline(verdict), rows, tuple(one.verdict for one in verdict.findings), verdict.notes
    )


def headline(verdict: Verdict) -> str:
    """Say the verdict and how many findings are of each kind."""
    verdicts = [one.verdict for one in verdict.findings]
    counts = [f"{verdicts.count(one)} {one}" for one in STYLES if one in verdicts]
    return f"gate: {verdict.verdict} ({', '.join(counts)})"


def _cells(one: Finding) -> tuple[str, ...]:
    metric = "" if one.metric == WHOLE_CASE else one.metric
    sides = (_value(one.baseline, one.metric), _value(one.current, one.metric))
    return (one.case, metric, *sides, _change(one), one.verdict, one.reason)


def _value(value: Estimate | None, metric: str) -> str:
    return DASH if value is None else f"{value.value:.4g} {METRICS[metric].shown_in}"


def _change(one: Finding) -> str:
    if math.isnan(one.change):
        return DASH
    unit = METRICS[one.metric].unit
    if METRICS[one.metric].repeats:
        return f"{one.change:+.3g} {unit}" if one.change else f"0 {unit}"
    if math.isnan(one.high):
        return f"{one.change:+.1f} {unit}"
    return f"{one.change:+.1f} {unit} [{one.low:+.1f}, {one.high:+.1f}]"


def render_gate(table: GateTable) -> Table:
    """Give the table for a terminal."""
    rich = Table(
        caption=Text("\n".join(table.notes)),
        caption_justify="left",
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in COLUMNS:
        narrow = column in ("metric", "baseline", "current", "change", "verdict")
        rich.add_column(column, no_wrap=narrow, overflow="fold")
    for row, verdict in zip(table.rows, table.verdicts, strict=True):
        cells = [Text(cell) for cell in row]
        cells[COLUMNS.index("verdict")].stylize(STYLES[verdict])
        rich.add_row(*cells)
    return rich


def gate_markdown(table: GateTable) -> str:
    """Give the table as GitHub markdown."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *table.rows]
    lines = [f"| {' | '.join(_escape(cell) for cell in row)} |" for row in rows]
    notes = [f"- {_escape(note)}" for note in table.notes]
    return "\n".join([f"### {_escape(table.title)}", "", *lines, "", *notes]).rstrip() + "\n"


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|").replace("<", "&lt;")
