"""Two counted sessions, or two cases of one, side by side: exact, so there is nothing to pair."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from deploy.errors import RowsError
from reports.count_gate import unlike_pins
from reports.footnotes import footnotes
from reports.grid import Cell, Column, Grid, words
from reports.instructions import counts_with, millions
from reports.rounding import DASH, three_digits
from reports.sides import Side
from reports.tables import caption
from reports.values import VALUES, cell_of

Case = Mapping[Hashable, Any]
_SHOWN = {"instructions": "instructions M", "session_instructions": "session creation M"}
_KINDS = {"simd": "SIMD", "moved_bytes": "moved bytes", "dot": "dot-product", "mmla": "matrix"}
_LEAST_PCT = 0.05  # a smaller change of a kind is not named


def compare_counts(
    base: Side, other: Side, pairs: list[tuple[Case, Case]], remarks: list[str]
) -> Grid:
    """Lay counted cases side by side, with how many instructions the other has fewer or more.

    Args:
        pairs: cases of both sides that belong together.
        remarks: what is to be said besides.
    """
    rows = tuple(_row(one, two, base, other) for one, two in pairs)
    title = f"{other.name} against {base.name}: {caption(other.cases, other.frames)}"
    reading = [f"Change: instructions of {other.name} against {base.name}, counted exactly."]
    return Grid(title, _columns(base, other), rows, (*remarks, *reading))


def refuse_a_mixture(base: Side, other: Side) -> bool:
    """Tell whether both sides were counted.

    Raises:
        RowsError: one was, and the other has times.
    """
    counted = [bool(side.cases["is_counted"].all()) for side in (base, other)]
    if counted[0] != counted[1]:
        names = [base.name, other.name] if counted[0] else [other.name, base.name]
        raise RowsError(
            f"{names[0]} counts instructions, and {names[1]} has times: they do not compare",
            "name two sessions of one kind",
        )
    return all(counted)


def unlike_counting(base: Side, other: Side) -> list[str]:
    """Name what the two sides were counted with that differs, with both values."""
    pins = unlike_pins(counts_with(base.frames), counts_with(other.frames))
    return [one.replace(" in the baseline and ", " and ").removesuffix(" now") for one in pins]


def _row(base: Case, case: Case, side: Side, other: Side) -> tuple[Cell, ...]:
    labels = dict.fromkeys(f"{one['model']} {one['kind']}" for one in (case, base))
    notes = [
        f"{where.name}: {note}"
        for where, one in ((side, base), (other, case))
        for note in footnotes(where.frames).of(dict(one), "", ratios=False)
    ]
    counts = [_count(one[column]) for column in _SHOWN for one in (base, case)]
    change = _change(base["instructions"], case["instructions"])
    rest = [cell_of(dict(one), VALUES[name], "") for name in ("psnr", "size")
            for one in (base, case)]  # fmt: skip
    label = words(" / ".join(labels), notes)
    return (label, *counts[:2], change, words(_moved(base, case)), *counts[2:], *rest)


def _count(count: float) -> Cell:
    return Cell(DASH) if pd.isna(count) else Cell(millions(count), float(count))


def _change(old: float, new: float) -> Cell:
    if pd.isna(old) or pd.isna(new):
        return Cell(DASH)
    pct = 100 * (new / old - 1)
    if new == old:
        return Cell("the same", 0.0)
    said = f"{three_digits(abs(pct))} % {'more' if pct > 0 else 'fewer'}"
    return Cell(said, pct)


def _moved(base: Case, case: Case) -> str:
    """Say by how much the kinds changed that did."""
    told: list[str] = []
    for column, name in _KINDS.items():
        old, new = base[column], case[column]
        if pd.isna(old) or pd.isna(new) or old == new:
            continue
        pct = 100 * (new / old - 1) if old else float("inf")
        if abs(pct) >= _LEAST_PCT:
            told.append(f"{name} {pct:+.3g} %" if old else f"{name} new")
    return ", ".join(told)


def _columns(base: Side, other: Side) -> tuple[Column, ...]:
    found = [Column(("graph",), "graph", words=True)]
    for column, header in _SHOWN.items():
        for side, end in ((base, "base"), (other, "other")):
            found.append(Column((header, side.name), f"{end}_{column}"))
    for name in ("psnr", "size"):
        for side, end in ((base, "base"), (other, "other")):
            found.append(Column((VALUES[name].header, side.name), f"{end}_{VALUES[name].key}"))
    found.insert(3, Column(("change",), "change_pct"))
    found.insert(4, Column(("of it",), "kinds", words=True))
    return tuple(found)
