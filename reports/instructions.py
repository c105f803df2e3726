"""What an emulated processor executed, one row a case. Never a time, and never beside one."""

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from deploy.errors import RowsError
from reports.frame import Frames
from reports.launches import CASE_KEY, wrong_cases

# what is counted, as the columns of `counts` are called, and as a reader knows it
KINDS = {
    "instructions": "all",
    "simd": "SIMD",
    "loads": "loads",
    "stores": "stores",
    "moved_bytes": "bytes moved",
    "dot": "dot-product",
    "mmla": "matrix",
    "fmla": "multiply-add",
    "branches": "branches",
}

UNKNOWN_SHAPE = "?"
# phase of a count -> where its total stands in the summary
_TOTALS = {"session": "session_instructions", "first": "first_instructions"}
COUNT_COLUMNS = ("is_counted", *KINDS, *_TOTALS.values())


def count_table(frames: Frames) -> pd.DataFrame:
    """Give what each case executed in a steady inference, in the first, and for its session.

    Of several launches or inferences the median, which is one of them; launches that failed and
    cases whose output was wrong have no counts, as they have no latency.

    Returns:
        Indexed by session and case: is_counted (there are launches that count), the names of
        `KINDS`, session_instructions and first_instructions, float64 with NaN where missing.
    """
    runs = frames.runs
    of_cases = runs.assign(is_counted=runs["mode"].eq("count").fillna(False).astype(bool))
    table = of_cases.groupby(CASE_KEY)[["is_counted"]].any()
    ok = of_cases.loc[of_cases["is_counted"] & (runs["status"] == "ok"), ["run_id", *CASE_KEY]]
    wrong = pd.MultiIndex.from_frame(ok[CASE_KEY]).isin(wrong_cases(frames))
    counts = frames.counts.merge(ok[~wrong], on="run_id")
    steady = _medians(counts[counts["phase"] == "steady"], list(KINDS))
    for name in KINDS:
        table[name] = steady[name].reindex(table.index).astype("float64")
    for phase, column in _TOTALS.items():
        found = _medians(counts[counts["phase"] == phase], ["instructions"])
        table[column] = found["instructions"].reindex(table.index).astype("float64")
    return table


def _medians(counts: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Give the lower median of each column, so that a count is a count and no average of two."""
    numbers = counts[[*CASE_KEY, *names]].astype(dict.fromkeys(names, "float64"))
    return numbers.groupby(CASE_KEY)[names].quantile(0.5, interpolation="lower")


def counts_with(frames: Frames) -> Mapping[str, Any]:
    """Give all that the counts of these rows depend on besides the model; empty where not told.

    Sessions of one device that were counted with different things never get this far: loading
    refuses them.
    """
    told = frames.devices["counts_with"].dropna()
    return parsed_pins(told.iloc[0]) if len(told) == 1 else {}


def parsed_pins(text: object) -> dict[str, Any]:
    """Give the JSON object of `DeviceRow.counts_with`; empty where there is none."""
    if not isinstance(text, str):
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def refuse_mixed(cases: pd.DataFrame) -> None:
    """Refuse cases of which some were counted and others timed.

    Args:
        cases: rows of the summary.

    Raises:
        RowsError: they are both, naming one of each.
    """
    counted = cases["is_counted"].astype(bool)
    if not counted.any() or counted.all():
        return
    one, other = cases[counted].iloc[0], cases[~counted].iloc[0]
    raise RowsError(
        f"instructions and times do not stand in one place: {one['device']} counts, and "
        f"{other['device']} has a clock",
        "report on each session by itself",
    )


def shape_text(input_shape: object) -> str:
    """Give the JSON array of a shape as people write it: 1x3x64x64."""
    if not isinstance(input_shape, str):
        return UNKNOWN_SHAPE
    try:
        return "x".join(str(int(side)) for side in json.loads(input_shape))
    except (ValueError, TypeError):
        return input_shape


def millions(count: float) -> str:
    """Give a count in millions with four digits that count; it is exact, so more mean nothing."""
    value = count / 1e6
    if value == 0:
        return "0"
    places = next((n for n, least in enumerate((1000, 100, 10)) if value >= least), 3)
    return f"{value:.{places}f}"
