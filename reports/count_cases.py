"""The cases of a counted session by the names that a baseline file has, and what is wrong."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deploy.errors import RowsError
from reports.count_baseline import CountBaseline, Counts
from reports.frame import Frames
from reports.gate_cases import case_name
from reports.instructions import KINDS, count_table, counts_with, shape_text
from reports.launches import CASE_KEY


@dataclass(frozen=True)
class CountedCase:
    """One case of a counted session.

    Attributes:
        name: MODEL KIND SHAPE.
        shown_as: MODEL/KIND, as other gates call it, and a budgets.toml.
        counts: what it executed; None where there is a problem.
        problem: why it cannot be judged, or None.
    """

    name: str
    shown_as: str
    counts: Counts | None
    problem: str | None


def counted_cases(frames: Frames) -> list[CountedCase]:
    """Give the cases whose instructions were counted.

    Raises:
        RowsError: there is none, or two have one name, or several devices counted.
    """
    table = count_table(frames)
    table = table[table["is_counted"]]
    if table.empty:
        raise RowsError(
            "no instructions were counted there",
            "name a folder of `mofa-deploy bench --device arm64`",
        )
    runs = frames.runs[frames.runs["mode"] == "count"]
    devices = runs["device_id"].unique()
    if len(devices) > 1:
        names = frames.devices.set_index("device_id")["name"]
        raise RowsError(
            f"counted on {len(devices)} devices: {', '.join(names[list(devices)])}",
            "judge one session at a time",
        )
    counts = dict(zip(table.index, table.to_dict("records"), strict=True))
    found = [_case(rows, counts[key]) for key, rows in runs.groupby(CASE_KEY, sort=False)]
    names_of = [one.name for one in found]
    for name in names_of:
        if names_of.count(name) > 1:
            raise RowsError(
                f"{names_of.count(name)} cases are {name}", "judge one of them at a time"
            )
    return found


def _case(runs: pd.DataFrame, counts: Mapping[Hashable, Any]) -> CountedCase:
    first = runs.iloc[0]
    shape = runs["input_shape"].dropna()
    name = f"{first['model']} {first['kind']} {shape_text(shape.iloc[0] if len(shape) else None)}"
    target = None if pd.isna(first["target"]) else str(first["target"])
    shown_as = case_name(first["model"], first["kind"], target, first["provider"])
    problem = _problem(runs, counts)
    if problem is not None:
        return CountedCase(name, shown_as, None, problem)
    session = counts["session_instructions"]
    steady = {kind: int(counts[kind]) for kind in KINDS}
    return CountedCase(
        name, shown_as, Counts(steady, None if pd.isna(session) else int(session)), None
    )


def _problem(runs: pd.DataFrame, counts: Mapping[Hashable, Any]) -> str | None:
    wrong = (runs["status"] == "output_mismatch") | runs["output_ok"].eq(False).fillna(False)
    if wrong.any():
        return f"wrong output in {wrong.sum()} of {len(runs)} launches"
    if not pd.isna(counts["instructions"]):
        return None
    last = runs.iloc[-1]
    said = "" if pd.isna(last["status_message"]) else f": {last['status_message']}"
    return f"not counted ({last['status']}{said})"


def baseline_of(frames: Frames) -> CountBaseline:
    """Give a session as a baseline.

    Raises:
        RowsError: as `counted_cases`; or a case went wrong, which is nothing to hold others to.
    """
    cases = counted_cases(frames)
    for one in cases:
        if one.problem is not None:
            raise RowsError(f"{one.name}: {one.problem}", "mend that; no baseline was written")
    taken_with = counts_with(frames)
    if not taken_with:
        raise RowsError("the rows do not say what they were counted with", "measure again")
    return CountBaseline(taken_with, {one.name: one.counts for one in cases if one.counts})
