"""Which of several candidates is fastest, with no more launches than it takes. Pure.

All candidates are launched a few times, interleaved; those that are shown to be slower than another
are out, and the rest are launched as often again, and so on. One is out where Student's t on the
paired log-ratios says so at a level of RACE_LEVEL over all looks and all comparisons of a
candidate. So the fastest is out by chance in at most 5 of 100 races, whatever the others are
(Bonferroni's bound), and the incumbent stays unless it is shown to be slower.

Counts of instructions are exact, so one look decides. But they are no time: what two graphs differ
in by less than COUNTS_TELL_FROM of them says nothing, and the incumbent stays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from reports.stats import Estimate, paired_change, paired_ratio

RACE_LEVEL = 0.05
FIRST_LAUNCHES = 4  # two ABBA pairs of blocks, and more than an interval needs
COUNTS_TELL_FROM = 5e-3  # they repeat to 1e-4; the rest is room for what they do not see

# how many launches, and of which candidates -> one row a block, one column a candidate; NaN where
# a launch failed. Called once a look, with only the launches to add.
Measure = Callable[[Sequence[str], int], pd.DataFrame]


@dataclass(frozen=True)
class Out:
    """Why a candidate is no longer launched.

    Attributes:
        by: the one that is faster; empty where it could not be measured.
        launches: after so many.
        ratio: of its measure to the other's.
    """

    by: str
    launches: int
    ratio: Estimate


@dataclass(frozen=True)
class Race:
    """How a race ended.

    Attributes:
        winner: the incumbent, unless it is shown to be slower than another.
        measured: (blocks, candidates); NaN where there was no launch.
        out: those that were dropped, in that order.
    """

    winner: str
    measured: pd.DataFrame
    out: Mapping[str, Out] = field(default_factory=dict)


def look_sizes(launches: int) -> list[int]:
    """Give how many launches each look adds: 4, then as many again as there were, to the end."""
    sizes: list[int] = []
    while sum(sizes) < launches:
        wanted = sum(sizes) or FIRST_LAUNCHES
        sizes.append(min(wanted, launches - sum(sizes)))
    return sizes


def race(
    candidates: Sequence[str],
    incumbent: str,
    measure: Measure,
    launches: int,
    *,
    along: Sequence[str] = (),
    exact: bool = False,
) -> Race:
    """Find the fastest of candidates.

    Args:
        candidates: names, the incumbent among them.
        launches: of a candidate that stays to the end.
        along: launched with them to the end, and never chosen.
        exact: values repeat, so one launch of each decides.
    """
    sizes = [1] if exact else look_sizes(launches)
    alive = list(candidates)
    out: dict[str, Out] = {}
    measured = pd.DataFrame(columns=[*candidates, *along], dtype=float)
    for size in sizes:
        running = [*alive, *(name for name in along if name not in alive)]
        more = measure(running, size)
        measured = more if measured.empty else pd.concat([measured, more], ignore_index=True)
        failed = [name for name in alive if name not in more or more[name].isna().all()]
        out |= {
            name: Out("", len(measured), Estimate(np.nan, np.nan, np.nan, 0)) for name in failed
        }
        alive = [name for name in alive if name not in failed]
        level = RACE_LEVEL / (len(sizes) * max(1, len(candidates) - 1))
        # only blocks that all of them are in, so that what drifts weighs on each alike
        shared = measured[alive].dropna()
        slower = _counted_more(shared) if exact else _slower(shared, level)
        out |= slower
        alive = [name for name in alive if name not in slower]
        if len(alive) <= 1:
            break
    return Race(_winner(alive, incumbent, measured), measured, out)


def _slower(ms: pd.DataFrame, level: float) -> dict[str, Out]:
    """Give those that are shown to be slower than another, each with the fastest of these.

    Args:
        ms: (blocks, candidates), nothing missing.
    """
    values = ms.to_numpy().T
    one, other = np.broadcast_arrays(values[:, None], values[None, :])
    change = paired_change(other, one)
    shown = np.asarray(change.p_up) <= level
    np.fill_diagonal(shown, False)
    names, found = [str(name) for name in ms.columns], {}
    for place in np.flatnonzero(shown.any(axis=1)):
        by = int(np.where(shown[place], change.log_ratio[place], -np.inf).argmax())
        found[names[place]] = Out(names[by], len(ms), paired_ratio(values[place], values[by]))
    return found


def _counted_more(counts: pd.DataFrame) -> dict[str, Out]:
    if counts.empty:
        return {}
    last = counts.iloc[-1]
    least = str(last.idxmin())
    ratios = {str(name): float(value / last[least]) for name, value in last.items()}
    return {
        name: Out(least, 1, Estimate(ratio, ratio, ratio, 1))
        for name, ratio in ratios.items()
        if ratio > 1 + COUNTS_TELL_FROM
    }


def _winner(alive: Sequence[str], incumbent: str, measured: pd.DataFrame) -> str:
    if incumbent in alive or not alive:
        return incumbent
    shared = measured[list(alive)].dropna()
    return str(np.log(shared).mean().idxmin()) if len(shared) else alive[0]
