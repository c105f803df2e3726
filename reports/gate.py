"""Rows of two sides in, a verdict out: pass, improvement, regression, inconclusive or invalid.

A failure of the device, the runner or the files is invalid, never slower.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from deploy.errors import RowsError
from reports.budgets import METRICS, Budgets
from reports.frame import Frames
from reports.gate_cases import MeasuredCase, measured_cases, told_differences, unlike
from reports.gate_findings import (
    WHOLE_CASE,
    Finding,
    compare_launches,
    exact_findings,
    statistical_findings,
)
from reports.rule import IMPROVEMENT, INCONCLUSIVE, INVALID, PASS, REGRESSION, VERDICTS

EXIT_CODES = {PASS: 0, IMPROVEMENT: 0, REGRESSION: 4, INCONCLUSIVE: 5, INVALID: 5}

UNPAIRED = (
    "The sides were measured in two sessions, so what happened to the device between them is in "
    "the changes: budgets are wider by between_sessions. `gate --against` measures both in one."
)
BOUNDS = "Changes of latency and memory stand between their lower and upper 95 % bounds."


@dataclass(frozen=True)
class Verdict:
    """What a gate says.

    Attributes:
        findings: one a metric of a case; at least one.
        notes: what a reader has to know.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The gravest of the findings."""
        return max((one.verdict for one in self.findings), key=VERDICTS.index)

    @property
    def exit_code(self) -> int:
        """What a process ends with that says this."""
        return EXIT_CODES[self.verdict]


@dataclass(frozen=True)
class Pair:
    """Two cases of one interleaved session that are compared."""

    baseline: str  # case_id
    current: str  # case_id


def judge_sessions(
    baseline: Frames,
    current: Frames,
    budgets: Budgets,
    *,
    unlike_plans: Sequence[str] = (),
    force: bool = False,
) -> Verdict:
    """Judge two sessions: cases are paired by model, kind and target, launches are not paired.

    Args:
        unlike_plans: how the plans of the sessions differ, which rows do not tell.
        force: compare unlike conditions all the same, and say so.

    Raises:
        RowsError: a side has two cases of one name, or there is nothing in common.
    """
    old = {one.name: one for one in measured_cases(baseline)}
    new = {one.name: one for one in measured_cases(current)}
    if not set(old) & set(new):
        raise RowsError(
            f"the baseline has {', '.join(old)}, and the current side has {', '.join(new)}",
            "measure the same models and kinds on both sides",
        )
    lost = [
        Finding(name, WHOLE_CASE, INVALID, "in the baseline, but not measured on the current side")
        for name in old
        if name not in new
    ]
    notes = [
        f"{name}: new, there is no baseline to compare with" for name in new if name not in old
    ]
    devices = pd.concat([baseline.devices, current.devices])
    both = {name: (old[name], new[name]) for name in old if name in new}
    return _judge(both, devices, budgets, lost, notes, unlike_plans=unlike_plans, force=force)


def judge_interleaved(
    frames: Frames, pairs: Mapping[str, Pair], budgets: Budgets, *, force: bool = False
) -> Verdict:
    """Judge a session that launched both sides in every block; launches are paired by block.

    Args:
        pairs: case name -> the two cases of the session that it stands for.
    """
    old = {one.runs["case_id"].iloc[0]: one for one in _side(frames, pairs, "baseline")}
    new = {one.runs["case_id"].iloc[0]: one for one in _side(frames, pairs, "current")}
    both = {
        name: (replace(old[pair.baseline], name=name), replace(new[pair.current], name=name))
        for name, pair in pairs.items()
        if pair.baseline in old and pair.current in new
    }
    lost = [
        Finding(name, WHOLE_CASE, INVALID, "not measured on both sides")
        for name in pairs
        if name not in both
    ]
    return _judge(both, frames.devices, budgets, lost, [], force=force)


def _side(frames: Frames, pairs: Mapping[str, Pair], side: str) -> list[MeasuredCase]:
    return measured_cases(frames, [getattr(pair, side) for pair in pairs.values()])


def _judge(
    both: Mapping[str, tuple[MeasuredCase, MeasuredCase]],
    devices: pd.DataFrame,
    budgets: Budgets,
    lost: Sequence[Finding],
    notes: Sequence[str],
    *,
    unlike_plans: Sequence[str] = (),
    force: bool = False,
) -> Verdict:
    told, findings, comparisons = list(notes), list(lost), []
    for name, (old, new) in both.items():
        differing = [*unlike(old, new, devices), *unlike_plans]
        told += [
            f"{name}: {what}" for what in (*old.notes, *new.notes, *told_differences(old, new))
        ]
        problem = _problem(old, new)
        if problem is None and differing and not force:
            problem = f"{'; '.join(differing)} (--force compares all the same)"
        elif differing:
            told += [f"{name}: compared although {what}" for what in differing]
        if problem is not None:
            findings.append(Finding(name, WHOLE_CASE, INVALID, problem))
            continue
        findings += exact_findings(old, new, budgets)
        compared, missing = compare_launches(old, new, budgets)
        comparisons += compared
        findings += missing
    findings += statistical_findings(comparisons)
    told += [UNPAIRED] if any(one.paired is False for one in findings) else []
    told += [BOUNDS] if comparisons else []
    order = {name: place for place, name in enumerate([*both, *(one.case for one in lost)])}
    metrics = [WHOLE_CASE, *METRICS]
    findings.sort(key=lambda one: (order[one.case], metrics.index(one.metric)))
    if not findings:
        raise RowsError("nothing was judged", "all budgets are off; turn one on")
    return Verdict(tuple(findings), tuple(dict.fromkeys(told)))


def _problem(old: MeasuredCase, new: MeasuredCase) -> str | None:
    problems = [
        f"{side}: {one.problem}"
        for side, one in (("baseline", old), ("current", new))
        if one.problem
    ]
    return "; ".join(problems) or None


def to_confirm(verdict: Verdict) -> list[str]:
    """Name the cases whose regression varies from launch to launch, and so wants a second look."""
    found = [
        one.case
        for one in verdict.findings
        if one.verdict == REGRESSION and not METRICS[one.metric].repeats
    ]
    return list(dict.fromkeys(found))


def confirm(first: Verdict, again: Verdict) -> Verdict:
    """Let a second session of the suspected cases speak: a regression has to be in both.

    Where it is not, the second session's word counts for that metric.
    """
    second = {(one.case, one.metric): one for one in again.findings}
    suspected = set(to_confirm(first))
    findings = []
    for one in first.findings:
        if one.case not in suspected or one.verdict != REGRESSION or METRICS[one.metric].repeats:
            findings.append(one)
            continue
        other = second.get((one.case, one.metric)) or second.get((one.case, WHOLE_CASE))
        if other is not None and other.verdict == REGRESSION:
            reason = f"{one.reason}; confirmed by a second session ({other.change:+.1f} %)"
            findings.append(replace(one, reason=reason, confirmed=True))
        elif other is None:
            reason = "a regression that the second session did not measure"
            findings.append(replace(one, verdict=INVALID, reason=reason, confirmed=False))
        else:
            reason = f"{one.change:+.1f} % at first, not confirmed: {other.reason}"
            findings.append(replace(other, metric=one.metric, reason=reason, confirmed=False))
    return Verdict(tuple(findings), tuple(dict.fromkeys([*first.notes, *again.notes])))
