"""Which of several candidates is fastest, with no more launches than it takes. Pure.

All candidates are launched a few times, interleaved; those that are shown to be slower than another
are out, and the rest are launched as often again, and so on. One is out where Student's t on the
paired log-ratios says so at a level of RACE_LEVEL over all looks and all comparisons of a
candidate. So the fastest is out by chance in at most 5 of 100 races, whatever the others are
(Bonferroni's bound), and the incumbent stays unless it is shown to be slower.

Counts of instructions are exact: one look decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from reports.stats import Estimate, paired_change, paired_ratio

RACE_LEVEL = 0.05
FIRST_LAUNCHES = 4  # two ABBA pairs of blocks, and more than an interval needs
COUNTS_REPEAT_TO = 1e-4  # float graphs; integer ones to 1e-5

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
        slower = {
            name: found
            for name in alive
            if (found := _slower(name, alive, measured, level, exact=exact)) is not None
        }
        out |= slower
        alive = [name for name in alive if name not in slower]
        if len(alive) <= 1:
            break
    return Race(_winner(alive, incumbent, measured), measured, out)


def _slower(
    name: str, alive: Sequence[str], measured: pd.DataFrame, level: float, *, exact: bool
) -> Out | None:
    """Say than which one a candidate is shown to be slower; the fastest of them, by its ratio."""
    found = []
    for other in alive:
        if other == name:
            continue
        both = measured[[name, other]].dropna()
        if exact:
            if len(both) and both[name].iloc[-1] > both[other].iloc[-1] * (1 + COUNTS_REPEAT_TO):
                value = float(both[name].iloc[-1] / both[other].iloc[-1])
                found.append(Out(other, len(both), Estimate(value, value, value, len(both))))
            continue
        change = paired_change(both[other].to_numpy(), both[name].to_numpy())
        if float(change.p_up) <= level:
            found.append(Out(other, len(both), paired_ratio(both[name], both[other])))
    return max(found, key=lambda one: one.ratio.value, default=None)


def _winner(alive: Sequence[str], incumbent: str, measured: pd.DataFrame) -> str:
    if incumbent in alive or not alive:
        return incumbent
    # only blocks that all of them are in, so that what drifts weighs on each alike
    shared = measured[list(alive)].dropna()
    return str(np.log(shared).mean().idxmin()) if len(shared) else alive[0]
