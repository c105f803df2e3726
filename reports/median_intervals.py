"""Intervals of many medians at once, from the bootstrap's exact distribution: nothing is drawn.

The median of a resample is one of the values, or halfway between two, each with a chance that
depends only on how many values there are. So the distribution that a bootstrap approaches with
many resamples is known, and the intervals of thousands of cases take milliseconds.

Sources: Maritz and Jarrett, "A Note on Estimating the Variance of the Sample Median", JASA 73
    (1978), for the exact distribution; Efron, "Better Bootstrap Confidence Intervals", JASA 82
    (1987), for BCa, with the ends as scipy.stats.bootstrap computes them.
"""

from functools import cache

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import gammaln, xlog1py, xlogy

from reports.stats import CONFIDENCE, MIN_LAUNCHES

_LEAST_CHANCE = 1e-12  # outcomes rarer than this are left out: they move no end

ENDS = ["value", "low", "high"]


def median_intervals(values: "pd.Series[float]", group: "pd.Series[int]") -> pd.DataFrame:
    """Give each group's median with its 95 % interval: BCa, or percentile where BCa is degenerate.

    Args:
        values: one a launch; missing ones are left out.
        group: which group each value belongs to.

    Returns:
        Columns value, low and high, indexed by group; the ends are NaN below `MIN_LAUNCHES` values.
    """
    launches = pd.DataFrame({"group": group.to_numpy(), "value": values.to_numpy(dtype=float)})
    launches = launches.dropna().sort_values(["group", "value"], kind="stable")
    counts = launches.groupby("group")["value"].size()
    found = [pd.DataFrame(columns=ENDS, index=counts.index[:0], dtype=float)]
    for n in counts.unique():
        groups = counts.index[counts == n]
        same = launches["group"].isin(groups)
        ordered = launches.loc[same, "value"].to_numpy().reshape(len(groups), n)
        found.append(pd.DataFrame(_intervals(ordered), columns=ENDS, index=groups))
    joined = pd.concat(found[1:]) if len(found) > 1 else found[0]
    return joined.reindex(pd.Index(group.unique(), name=group.name)).sort_index()


def _intervals(ordered: np.ndarray) -> np.ndarray:
    """Give (groups, 3) of median, low and high from (groups, launches), each row in order."""
    medians = np.median(ordered, axis=1)
    if ordered.shape[1] < MIN_LAUNCHES:
        nothing = np.full_like(medians, np.nan)
        return np.column_stack([medians, nothing, nothing])
    outcomes, cumulated = _distribution(ordered)
    alpha = (1 - CONFIDENCE) / 2
    plain = np.tile([alpha, 1 - alpha], (len(medians), 1))
    ends = _quantiles(outcomes, cumulated, _corrected(ordered, medians, outcomes, cumulated))
    beside = ~((ends[:, 0] <= medians) & (medians <= ends[:, 1]))  # also where an end is NaN
    ends[beside] = _quantiles(outcomes[beside], cumulated[beside], plain[beside])
    return np.column_stack([medians, ends])


def _distribution(ordered: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give what the median of a resample can be, in order, and the chance of at most that.

    Returns:
        Two (groups, outcomes) arrays.
    """
    lower, upper, chances = _outcomes(ordered.shape[1])
    outcomes = (ordered[:, lower] + ordered[:, upper]) / 2
    order = np.argsort(outcomes, axis=1)
    cumulated = np.cumsum(chances[order], axis=1)
    return np.take_along_axis(outcomes, order, axis=1), cumulated / cumulated[:, -1:]


@cache
def _outcomes(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give which two ordered values a resample's median lies between, and the chance of each pair.

    Of n draws, the count at or below the i-th value is binomial with chance i/n. For odd n the
    median is the value where it passes the middle. For even n the two middle draws are i < j where
    half the draws are at most i, one of them i, and the other half at least j, one of them j.
    """
    at_most = np.arange(n + 1) / n
    middle = (n + 1) // 2
    if n % 2:
        single = np.diff(stats.binom.sf(middle - 1, n, at_most))
        places = np.flatnonzero(single > _LEAST_CHANCE)
        return places, places, single[places]
    lower = np.diff(stats.binom.sf(middle - 1, n, at_most))  # of the lower of the two middle draws
    upper = np.diff(stats.binom.sf(middle, n, at_most))
    window = np.flatnonzero((lower > _LEAST_CHANCE) | (upper > _LEAST_CHANCE))
    from_below = _one_is(at_most[window + 1], at_most[window], n)
    from_above = _one_is(1 - at_most[window], 1 - at_most[window + 1], n)
    pairs = np.triu(np.outer(from_below, from_above), k=1)
    same = np.maximum(lower[window] - pairs.sum(axis=1), 0)
    i, j = np.nonzero(np.triu(pairs + np.diag(same)) > _LEAST_CHANCE)
    return window[i], window[j], (pairs + np.diag(same))[i, j]


def _one_is(chance: np.ndarray, without: np.ndarray, n: int) -> np.ndarray:
    """Give the chance that n/2 draws lie in a range and one of them at its end.

    The square root of how many ways there are to choose these draws is in it, so that a product of
    two of these has the whole.
    """
    half = n // 2
    log_ways = (gammaln(n + 1) - 2 * gammaln(half + 1)) / 2
    with np.errstate(divide="ignore"):
        log_all = xlogy(half, chance)
        share = xlogy(half, np.divide(without, chance, out=np.zeros_like(chance), where=chance > 0))
    return np.exp(log_ways + log_all + xlog1py(1, -np.exp(share)))


def _corrected(
    ordered: np.ndarray, medians: np.ndarray, outcomes: np.ndarray, cumulated: np.ndarray
) -> np.ndarray:
    """Give (groups, 2): where in the distribution BCa puts the ends."""
    below = _chance_at(outcomes, cumulated, medians, strictly=True)
    at_most = _chance_at(outcomes, cumulated, medians, strictly=False)
    bias = stats.norm.ppf((below + at_most) / 2)[:, None]
    z = stats.norm.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])[None, :]
    with np.errstate(all="ignore"):  # all values equal: 0/0, and the percentile stands in
        shifted = bias + z
        return stats.norm.cdf(bias + shifted / (1 - _acceleration(ordered)[:, None] * shifted))


def _chance_at(
    outcomes: np.ndarray, cumulated: np.ndarray, at: np.ndarray, *, strictly: bool
) -> np.ndarray:
    side = outcomes < at[:, None] if strictly else outcomes <= at[:, None]
    return np.where(side, cumulated, 0).max(axis=1)


def _acceleration(ordered: np.ndarray) -> np.ndarray:
    """Give the skewness of the medians that leave one value out each."""
    n = ordered.shape[1]
    m = n // 2
    left_out = np.empty_like(ordered)
    if n % 2:
        left_out[:, :m] = ((ordered[:, m] + ordered[:, m + 1]) / 2)[:, None]
        left_out[:, m] = (ordered[:, m - 1] + ordered[:, m + 1]) / 2
        left_out[:, m + 1 :] = ((ordered[:, m - 1] + ordered[:, m]) / 2)[:, None]
    else:
        left_out[:, :m] = ordered[:, m][:, None]
        left_out[:, m:] = ordered[:, m - 1][:, None]
    deviation = left_out.mean(axis=1, keepdims=True) - left_out
    return (deviation**3).sum(axis=1) / (6 * (deviation**2).sum(axis=1) ** 1.5)


def _quantiles(outcomes: np.ndarray, cumulated: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Give (groups, 2): the least outcome whose chance of at most it reaches each chance."""
    found = [
        (cumulated < chance[:, None] - 1e-12).sum(axis=1).clip(max=outcomes.shape[1] - 1)
        for chance in chances.T
    ]
    ends = np.take_along_axis(outcomes, np.column_stack(found), axis=1)
    return np.where(np.isnan(chances), np.nan, ends)
