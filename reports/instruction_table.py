"""What each graph executes, as a table: one steady inference, and making the session.

Exact, so nothing here has an interval; and no column, note or caption speaks of time.
"""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from reports.footnotes import footnotes
from reports.frame import Frames
from reports.grid import Cell, Column, Grid, words
from reports.instructions import counts_with, millions
from reports.rounding import DASH, fixed, three_digits
from reports.summary import case_labels
from reports.tables import caption

# header -> the summary column, and whether it is shown in millions
_COLUMNS = {
    "SIMD M": "simd",
    "loads M": "loads",
    "stores M": "stores",
    "moved MB": "moved_bytes",
    "dot-product M": "dot",
    "matrix M": "mmla",
    "session creation M": "session_instructions",
}
READING = (
    "Instructions (M: millions) of one steady inference on one thread: counted, so exact and "
    "without an interval.",
    "SIMD includes vector loads and stores, so the kinds add up to more than the whole. Moved: "
    "bytes of all loads and stores, most of which the first cache serves.",
    "What counts cannot see: memory, caches, clocks, threads, accelerators.",
)

Case = Mapping[Hashable, Any]


def instruction_table(summary: pd.DataFrame, frames: Frames, baseline_kind: str = "plain") -> Grid:
    """Lay out the counted cases of a summary; others are left out.

    Args:
        summary: what `summarize` gave.
        frames: the rows behind it.
        baseline_kind: the kind that the others are held against, within model and session.
    """
    cases = summary[summary["is_counted"]]
    told = footnotes(frames)
    ratios = fewer(cases, baseline_kind)
    rows = [
        (
            words(label, told.of(case, baseline_kind, ratios=False)),
            _count(case["instructions"]),
            _ratio(ratio, is_baseline=case["kind"] == baseline_kind),
            *(_count(case[column]) for column in _COLUMNS.values()),
            _fixed(case["psnr_db"]),
            _fixed(case["model_mib"]),
        )
        for label, case, ratio in zip(
            case_labels(cases), cases.to_dict("records"), ratios, strict=True
        )
    ]
    remarks = list(READING)
    if any(one.value not in (None, 1.0) for one in (row[2] for row in rows)):
        against = f"Against {baseline_kind}: how many times fewer or more instructions."
        remarks.insert(1, against)
    remarks += _taken_with(frames)
    return Grid(caption(cases, frames), _columns(baseline_kind), tuple(rows), tuple(remarks))


def _taken_with(frames: Frames) -> list[str]:
    told = counts_with(frames)
    if not told:
        return []
    return [
        f"Counted by qemu {told.get('qemu', '?')} with onnxruntime {told.get('onnxruntime', '?')} "
        f"on an emulated {told.get('cpu', '?')}; with others, counts are others."
    ]


def _columns(baseline_kind: str) -> tuple[Column, ...]:
    return (
        Column(("graph",), "graph", words=True),
        Column(("instructions M",), "instructions"),
        Column((f"against {baseline_kind}",), "times_fewer_instructions"),
        *(Column((header,), key) for header, key in _COLUMNS.items()),
        Column(("PSNR dB",), "psnr_db"),
        Column(("file MiB",), "model_mib"),
    )


def with_fewer(summary: pd.DataFrame, baseline_kind: str) -> pd.DataFrame:
    """Give a summary with times_fewer_instructions, NaN where nothing was counted."""
    return summary.assign(times_fewer_instructions=fewer(summary, baseline_kind))


def fewer(cases: pd.DataFrame, baseline_kind: str) -> list[float]:
    """Give how many times fewer instructions each case has than the baseline it stands beside.

    Returns:
        One a row: the baseline's count over the case's, NaN where either is missing. Below 1 it
        has more. The baseline is of the same model, session, device and input shape.
    """
    beside = ["model", "session_id", "device_id", "input_shape"]
    of_kind = cases[(cases["kind"] == baseline_kind).fillna(False)].drop_duplicates(beside)
    both = cases[[*beside, "instructions"]].merge(
        of_kind[[*beside, "instructions"]], on=beside, how="left", suffixes=("", "_base")
    )
    return [float(one) for one in both["instructions_base"] / both["instructions"]]


def ratio_said(ratio: float) -> str:
    """Give a ratio of counts in words: 1.53× fewer, 1.07× more."""
    if pd.isna(ratio):
        return DASH
    return f"{three_digits(ratio)}× fewer" if ratio >= 1 else f"{three_digits(1 / ratio)}× more"


def _ratio(ratio: float, *, is_baseline: bool) -> Cell:
    if pd.isna(ratio):
        return Cell(DASH)
    return Cell("1×", 1.0) if is_baseline else Cell(ratio_said(ratio), ratio)


def _count(count: float) -> Cell:
    return Cell(DASH) if pd.isna(count) else Cell(millions(count), float(count))


def _fixed(value: float) -> Cell:
    return Cell(DASH) if pd.isna(value) else Cell(fixed(value, 2), float(value))
