"""One metric of one case on both sides, and what the gate finds of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from reports.budgets import METRICS, PERCENT, Budget, Budgets
from reports.gate_cases import MeasuredCase
from reports.median_intervals import median_intervals
from reports.rule import (
    IMPROVEMENT,
    INCONCLUSIVE,
    INVALID,
    PASS,
    REGRESSION,
    decide,
    launches_to_decide,
    log_budget,
)
from reports.stats import Change, Estimate, paired_change, unpaired_change

WHOLE_CASE = "case"  # the metric of a finding about a case that cannot be compared


@dataclass(frozen=True)
class Finding:
    """What was found of one metric of one case.

    Attributes:
        case: as `gate_cases.case_name` names it.
        metric: of `budgets.METRICS`, or `WHOLE_CASE`.
        verdict: of `rule.VERDICTS`.
        reason: why, in a sentence.
        baseline: median over launches with its interval, or the value that never varies.
        current: the same.
        change: current against baseline, in the unit of the budget; % as a number.
        low: lower 95 % bound of the change; the change itself where nothing varies, NaN where
            there are too few launches.
        high: upper 95 % bound.
        n: pairs, or launches of the smaller side; 0 where nothing was compared.
        paired: launches were compared within blocks; None where nothing varies.
        needed: launches a side that would decide; None where that is not the question.
        confirmed: a second session found the regression too; None where there was none.
    """

    case: str
    metric: str
    verdict: str
    reason: str
    baseline: Estimate | None = None
    current: Estimate | None = None
    change: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    n: int = 0
    paired: bool | None = None
    needed: int | None = None
    confirmed: bool | None = None


def exact_findings(old: MeasuredCase, new: MeasuredCase, budgets: Budgets) -> list[Finding]:
    """Judge what is the same in every launch: by its budget, without statistics."""
    found = []
    for name, metric in METRICS.items():
        budget = budgets.find(old.name, name)
        if not metric.repeats or budget is None or name not in old.exact:
            continue
        if (problem := _incomparable(name, old, new)) is not None:
            found.append(Finding(old.name, name, INVALID, problem))
            continue
        was, now = old.exact[name], new.exact[name]
        change = 100 * (now / was - 1) if metric.unit == PERCENT else now - was
        verdict, reason = _exact_verdict(name, change, budget)
        finding = Finding(old.name, name, verdict, reason, _sure(was), _sure(now))
        found.append(replace(finding, change=change, low=change, high=change, n=1))
    return found


def _sure(value: float) -> Estimate:
    return Estimate(value, value, value, 1)


def _incomparable(name: str, old: MeasuredCase, new: MeasuredCase) -> str | None:
    if name not in new.exact:
        return "the baseline has one, the current side has none"
    degraded = [one.runs["degraded_psnr_db"].dropna().unique() for one in (old, new)]
    if name == "psnr" and {*degraded[0]} != {*degraded[1]}:
        return "scored on other images on each side"
    return None


def _exact_verdict(name: str, change: float, budget: Budget) -> tuple[str, str]:
    metric = METRICS[name]
    worse = -change if metric.higher_is_better else change
    within = f"budget {budget.budget:g} {metric.unit}"
    if worse > budget.budget + 1e-9:  # a rounding error is no change
        return REGRESSION, f"worse by {worse:.3g} {metric.unit}, {within}"
    if worse < -max(budget.budget, 1e-9):
        return IMPROVEMENT, f"better by {-worse:.3g} {metric.unit}"
    return PASS, "the same" if abs(worse) < 1e-9 else f"within {within}"


@dataclass(frozen=True)
class Comparison:
    """A metric of a case on both sides, not yet decided.

    Attributes:
        change: of this one comparison.
        budget: log-ratio that is tolerated.
        rule_out: log-ratio that a pass rules out.
    """

    case: str
    metric: str
    baseline: Estimate
    current: Estimate
    change: Change
    budget: float
    rule_out: float


def compare_launches(
    old: MeasuredCase, new: MeasuredCase, budgets: Budgets
) -> tuple[list[Comparison], list[Finding]]:
    """Compare what varies from launch to launch, block by block where there are common blocks.

    Returns:
        The comparisons, to be decided together with those of the other cases; and findings of
        what cannot be compared.
    """
    comparisons, findings = [], []
    for name, metric in METRICS.items():
        budget = budgets.find(old.name, name)
        if metric.repeats or budget is None or name not in old.launches:
            continue
        if name not in new.launches:
            reason = "the baseline has one, the current side has none"
            findings.append(Finding(old.name, name, INVALID, reason))
            continue
        comparisons.append(_compare(name, old, new, budget))
    return comparisons, findings


def _compare(name: str, old: MeasuredCase, new: MeasuredCase, budget: Budget) -> Comparison:
    was, now = old.launches[name], new.launches[name]
    common = was.index.intersection(now.index)
    change = paired_change(was[common], now[common]) if len(common) else unpaired_change(was, now)
    aside = 0.0 if change.paired else budget.between_sessions or 0.0
    tolerated, beyond = log_budget([budget.budget + aside, (budget.rule_out or np.inf) + aside])
    return Comparison(
        old.name, name, _median(was), _median(now), change, float(tolerated), float(beyond)
    )


def _median(values: "pd.Series[float]") -> Estimate:
    """Give the median of one side, with the interval that tables show too."""
    found = median_intervals(values, pd.Series(0, index=values.index))
    median, low, high = found.to_numpy(dtype=float)[0]
    return Estimate(float(median), float(low), float(high), len(values))


def statistical_findings(comparisons: Sequence[Comparison]) -> list[Finding]:
    """Decide all comparisons of a gate together: together they may raise one false alarm."""
    if not comparisons:
        return []

    def all_of(field: str) -> np.ndarray:
        return np.array([float(getattr(one.change, field)) for one in comparisons])

    together = Change(
        log_ratio=all_of("log_ratio"),
        low=all_of("low"),
        high=all_of("high"),
        p_up=all_of("p_up"),
        p_down=all_of("p_down"),
        spread=all_of("spread"),
        n=min(one.change.n for one in comparisons),
        paired=all(one.change.paired for one in comparisons),
    )
    verdicts = decide(
        together, [one.budget for one in comparisons], [one.rule_out for one in comparisons]
    )
    return [
        _finding(one, verdict, len(comparisons))
        for one, verdict in zip(comparisons, verdicts, strict=True)
    ]


def _finding(one: Comparison, verdict: str, comparisons: int) -> Finding:
    ends = (one.change.log_ratio, one.change.low, one.change.high)
    change, low, high = (_percent(end) for end in ends)
    needed = None
    if verdict == INCONCLUSIVE:
        needed = launches_to_decide(
            float(one.change.log_ratio),
            float(one.change.spread),
            one.budget,
            one.rule_out,
            comparisons,
        )
        needed = needed and max(needed, one.change.n + 2 - one.change.n % 2)
    budget, rule_out = _percent(one.budget), _percent(one.rule_out)
    reasons = {
        REGRESSION: f"worse by {change:.1f} %, at least {low:.1f} %; budget {budget:g} %",
        IMPROVEMENT: f"better by {-change:.1f} %, at least {-high:.1f} %",
        PASS: f"worse by at most {max(high, 0):.1f} %",
        INCONCLUSIVE: _undecided(change, low, high, rule_out, needed),
    }
    return Finding(
        *(one.case, one.metric, verdict, reasons[verdict], one.baseline, one.current),
        *(change, low, high, one.change.n, one.change.paired, needed),
    )


def _percent(log_ratio: ArrayLike) -> float:
    """Give a log-ratio in %; NaN where a bound is missing."""
    return 100 * float(np.expm1(log_ratio)) if np.isfinite(log_ratio) else float("nan")


def _undecided(change: float, low: float, high: float, rule_out: float, needed: int | None) -> str:
    far = "no interval from so few launches"
    if not np.isnan(low):
        far = f"neither a regression nor within {rule_out:.3g} %"
    launches = f"about {needed} launches a side would decide" if needed else "too noisy to decide"
    return f"{change:+.1f} %, {far}; {launches}"
