"""The cases of a summary in the order of the table, and the rows that belong to each."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.compare import CaseKey
from reports.frame import Frames
from reports.launches import CASE_KEY
from reports.summary import case_labels

_MOST_CHARS = 30  # of a name in a picture
MAX_CASES = 24  # more rows than that are no picture; the table has them all


@dataclass(frozen=True)
class Plot:
    """One picture with what to say beside it.

    Attributes:
        topic: the section it belongs to: instructions, latency or cost.
        title: what it shows.
        note: how to read it.
        svg: an `<svg>` element, safe to put into a page as it is.
    """

    topic: str
    title: str
    note: str
    svg: str


@dataclass(frozen=True)
class Case:
    """One case of the summary.

    Attributes:
        place: its row in the summary; decides its colour.
        label: its short name.
        key: session and case.
        row: its row of the summary.
    """

    place: int
    label: str
    key: CaseKey
    row: pd.Series


def drawn_cases(summary: pd.DataFrame) -> list[Case]:
    """Give the cases that fit into a picture, in the order of the table."""
    labels = [_shortened(label) for label in case_labels(summary)[:MAX_CASES]]
    rows = (row for _, row in summary.iterrows())
    return [
        Case(place, label, (row["session_id"], row["case_id"]), row)
        for place, (label, row) in enumerate(zip(labels, rows, strict=False))
    ]


def _shortened(label: str) -> str:
    """Give a name as a picture has room for it: its ends tell more than its middle."""
    if len(label) <= _MOST_CHARS:
        return label
    return f"{label[: _MOST_CHARS // 2 - 1]}…{label[-_MOST_CHARS // 2 :]}"


def timed_cases(summary: pd.DataFrame) -> list[Case]:
    """Give those of them that have a latency: not the ones whose output was wrong."""
    return [case for case in drawn_cases(summary) if not math.isnan(case.row["latency_median_ms"])]


def left_out(summary: pd.DataFrame) -> str:
    """Say how many cases a picture leaves out; empty where it shows all."""
    if len(summary) <= MAX_CASES:
        return ""
    return f" The first {MAX_CASES} of {len(summary)} graphs."


def of_mode(frames: Frames, *modes: str) -> pd.DataFrame:
    """Give the launches of these modes that ended well."""
    runs = frames.runs
    return runs.loc[(runs["status"] == "ok") & runs["mode"].fillna("latency").isin(modes)]


def rows_by_case(rows: pd.DataFrame, runs: pd.DataFrame) -> Iterator[tuple[CaseKey, pd.DataFrame]]:
    """Give each case's rows of a table that names the run."""
    merged = rows.merge(runs[["run_id", *CASE_KEY]], on="run_id")
    for (session, case), own in merged.groupby(CASE_KEY):
        yield (str(session), str(case)), own


def thinned(values: np.ndarray, most: int) -> np.ndarray:
    """Give about so many of the values, evenly through their order, and the extremes.

    Args:
        values: (n,) in the order to keep.
        most: how many to keep, not counting the extremes.
    """
    if values.size <= most:
        return values
    even = np.linspace(0, values.size - 1, most).round().astype(int)
    return values[np.union1d(even, [values.argmin(), values.argmax()])]
