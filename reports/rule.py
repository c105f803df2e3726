"""When a change counts: the rule of the gate, for any number of comparisons at once.

A regression has to pass two tests. Its size: the lower 95 % bound of the log-ratio lies above the
budget. Its existence: among all comparisons of the gate, by Holm's method, a change so large would
be seen in one gate of a hundred if there were none. The first alone lets false alarms grow with
the noise and with the number of cases; Holm on the first alone has neither the second's bound on
false alarms nor its power (benchmarks/gate_simulation.py compares them).

Source of the pair: an intersection-union test, Berger, Technometrics 24 (1982); of "beyond a
smallest effect that matters": Lakens, "Equivalence Tests", SPPS 8 (2017).
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from reports.stats import CONFIDENCE, MIN_LAUNCHES, Change, holm, launches_needed

PASS, IMPROVEMENT, REGRESSION = "pass", "improvement", "regression"
INCONCLUSIVE, INVALID = "inconclusive", "invalid"
VERDICTS = (PASS, IMPROVEMENT, INCONCLUSIVE, INVALID, REGRESSION)  # the gravest of several counts

FALSE_ALARMS = 0.01  # at most, of gates over what has not changed


def log_budget(percent: ArrayLike) -> np.ndarray:
    """Give the log-ratio of a change by so many percent."""
    return np.log1p(np.asarray(percent, float) / 100)


def decide(change: Change, budget: ArrayLike, rule_out: ArrayLike) -> np.ndarray:
    """Judge changes of metrics that are worse when larger.

    Args:
        change: (..., comparisons); the last axis holds all comparisons of one gate.
        budget: log-ratio up to which a change is tolerated; broadcasts.
        rule_out: log-ratio beyond which a pass rules a change out; broadcasts.

    Returns:
        (..., comparisons) of pass, improvement, regression and inconclusive.
    """
    budget, rule_out = np.asarray(budget, float), np.asarray(rule_out, float)
    up = holm(change.p_up) <= FALSE_ALARMS
    down = holm(change.p_down) <= FALSE_ALARMS
    verdict = np.full(np.shape(change.log_ratio), INCONCLUSIVE, dtype=object)
    verdict[(change.low <= budget) & (change.high <= rule_out)] = PASS
    verdict[(change.high < -budget) & down] = IMPROVEMENT
    verdict[(change.low > budget) & up] = REGRESSION
    return verdict


def launches_to_decide(
    log_ratio: float, spread: float, budget: float, rule_out: float, comparisons: int
) -> int | None:
    """Give how many launches a side decide an inconclusive change, if it stays what it seems.

    Either a regression can be shown or a pass, whichever takes fewer; even, so that the order of
    launches stays balanced.

    Returns:
        None where it cannot be told, or more than a session should have.
    """
    if math.isnan(spread):
        return 2 * MIN_LAUNCHES
    # of the step of Holm's method that is hardest
    size = launches_needed(spread, log_ratio - budget)
    existence = launches_needed(spread, log_ratio, alpha=FALSE_ALARMS / comparisons)
    shown = None if size is None or existence is None else max(size, existence)
    ruled_out = launches_needed(spread, rule_out - log_ratio, alpha=1 - CONFIDENCE)
    possible = [n for n in (shown, ruled_out) if n is not None]
    return min(possible) + min(possible) % 2 if possible else None
