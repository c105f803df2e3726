"""Two sessions, or two cases of one, side by side: what changed, and by how much.

Cases of one session are paired block by block, so that drift cancels. Two sessions have nothing to
pair: what happened to the device between them is in the ratio, and the table says so.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from deploy.errors import RowsError
from reports.compare import CASE_KEY, MAY_DIFFER, MUST_MATCH
from reports.footnotes import Case, footnotes
from reports.grid import Cell, Column, Grid, words
from reports.pair_counts import compare_counts, refuse_a_mixture, unlike_counting
from reports.rounding import with_interval
from reports.sides import Side, case_side, pairs_of, said_by, session_side, unlike_in
from reports.stats import CONFIDENCE, MIN_LAUNCHES, Estimate, paired_ratio
from reports.tables import caption
from reports.values import VALUES, cell_of

__all__ = ["PLAN", "Side", "case_side", "compare_sides", "session_side", "unpaired_ratio"]

# What both sides of a comparison share, besides: the plan that they were measured by.
PLAN = (*MUST_MATCH, "input_shape", "cores_asked")
_SHOWN = ("latency", "memory", "psnr", "size")


def compare_sides(
    base: Side,
    other: Side,
    *,
    unlike_plans: Mapping[str, tuple[object, object]] | None = None,
    force: bool = False,
) -> Grid:
    """Lay the cases that both sides have side by side, with how many times faster the other is.

    Args:
        base: what to compare with.
        other: what is compared.
        unlike_plans: field -> both values, of what the rows do not tell of how they were measured.
        force: compare even where devices or plans differ, and say so.

    Raises:
        RowsError: no case is on both sides; or devices or plans differ, naming field and values.
    """
    counted = refuse_a_mixture(base, other)
    pairs, alone = pairs_of(base, other)
    differs = {field: unlike_in(pairs, field) for field in PLAN}
    unlike = {field: both for field, both in differs.items() if both} | dict(unlike_plans or {})
    if unlike and not force:
        field, (one, two) = next(iter(unlike.items()))
        raise RowsError(
            f"cannot compare rows whose {field} differs: {said_by(field, one, base)} and "
            f"{said_by(field, two, other)}",
            "measure both alike, or pass --force",
        )
    forced = [
        f"Compared by --force although {field} differs: {said_by(field, one, base)} and "
        f"{said_by(field, two, other)}."
        for field, (one, two) in unlike.items()
    ]
    if counted:
        return _counted(base, other, pairs, [*forced, *alone], force=force)
    paired = set(base.cases["session_id"]) == set(other.cases["session_id"])
    rows = tuple(_row(one, two, base, other, paired=paired) for one, two in pairs)
    remarks = forced + _remarks(pairs, base, other, paired=paired) + alone
    everything = pd.concat([base.cases, other.cases])
    devices = pd.concat([base.frames.devices, other.frames.devices]).drop_duplicates("device_id")
    both = replace(base.frames, devices=devices)
    title = f"{other.name} against {base.name}: {caption(everything, both)}"
    return Grid(title, _columns(base, other), rows, tuple(remarks))


def _counted(
    base: Side, other: Side, pairs: list[tuple[Case, Case]], remarks: list[str], *, force: bool
) -> Grid:
    unlike = unlike_counting(base, other)
    if unlike and not force:
        raise RowsError(f"cannot compare counts: {'; '.join(unlike)}", "pass --force to see them")
    remarks += [f"Compared by --force although {one}." for one in unlike]
    return compare_counts(base, other, list(pairs), remarks)


def _row(base: Case, case: Case, side: Side, other: Side, *, paired: bool) -> tuple[Cell, ...]:
    label = base["kind"] if base["kind"] == case["kind"] else f"{case['kind']} / {base['kind']}"
    notes = [
        f"{where.name}: {note}"
        for where, one in ((side, base), (other, case))
        for note in footnotes(where.frames).of(one, "", ratios=False)
    ]
    ratio = _ratio(base, case, side, other, paired=paired)
    text = with_interval(ratio.value, ratio.low, ratio.high, "×")
    cells = [
        cell_of(one, VALUES[name], "")
        for name in _SHOWN
        for one in (base, case)
    ]  # fmt: skip
    models = f"{base['model']} {label}" if base["model"] == case["model"] else (
        f"{case['model']} {case['kind']} / {base['model']} {base['kind']}"
    )  # fmt: skip
    return (
        words(models, notes),
        *cells[:2],
        Cell(text, ratio.value, ratio.low, ratio.high, _undecided(ratio)),
        *cells[2:],
    )


def _undecided(ratio: Estimate) -> tuple[str, ...]:
    holds_1 = ratio.low <= 1 <= ratio.high
    return ("not shown to differ: the interval of the speed-up holds 1",) if holds_1 else ()


def _ratio(base: Case, case: Case, side: Side, other: Side, *, paired: bool) -> Estimate:
    """Give base latency over the other's: above 1 is faster."""
    ones, others = (_latencies(where, one) for where, one in ((side, base), (other, case)))
    if paired:
        both = pd.DataFrame({"one": ones, "other": others}).dropna()
        return paired_ratio(both["one"], both["other"])
    return unpaired_ratio(ones.to_numpy(), others.to_numpy())


def _latencies(side: Side, case: Case) -> "pd.Series[float]":
    launches = side.frames.launches
    own = (launches[CASE_KEY[0]] == case[CASE_KEY[0]]) & (
        launches[CASE_KEY[1]] == case[CASE_KEY[1]]
    )
    return launches.loc[own].groupby("block")["latency_ms"].median().dropna()


def unpaired_ratio(numerator: np.ndarray, denominator: np.ndarray) -> Estimate:
    """Give the ratio of geometric means with Welch's t interval on the logarithms.

    Args:
        numerator: (launches,) positive.
        denominator: (launches,) positive; another number of them is fine.

    Source: Welch, "The generalization of Student's problem when several different population
        variances are involved", Biometrika 34 (1947), by scipy.stats.ttest_ind.
    """
    n = min(len(numerator), len(denominator))
    if n == 0:
        return Estimate(np.nan, np.nan, np.nan, 0)
    ones, others = np.log(numerator), np.log(denominator)
    ratio = float(np.exp(ones.mean() - others.mean()))
    if n < MIN_LAUNCHES:
        return Estimate(ratio, np.nan, np.nan, n)
    if np.ptp(ones) == np.ptp(others) == 0:
        return Estimate(ratio, ratio, ratio, n)
    test = stats.ttest_ind(ones, others, equal_var=False).confidence_interval(CONFIDENCE)
    return Estimate(ratio, float(np.exp(test.low)), float(np.exp(test.high)), n)


def _remarks(pairs: list[tuple[Case, Case]], base: Side, other: Side, *, paired: bool) -> list[str]:
    how = (
        "paired block by block"
        if paired
        else "two sessions at two times: not paired, what changed between them is in it"
    )
    remarks = [f"Speed-up is {base.name} over {other.name}, {how}; above 1 is faster."]
    differs = [field for field in MAY_DIFFER if unlike_in(pairs, field)]
    if differs:
        remarks += [f"What else differs: {', '.join(differs)}."]
    return remarks


def _columns(base: Side, other: Side) -> tuple[Column, ...]:
    found = [Column(("graph",), "graph", words=True)]
    for name in _SHOWN:
        value = VALUES[name]
        for side, end in ((base, "base"), (other, "other")):
            ends = len(value.columns) == 3
            found.append(Column((value.header, side.name), f"{end}_{value.key}", ends=ends))
    found.insert(3, Column(("speed-up",), "speed_up", ends=True))
    return tuple(found)
