"""Counted instructions held against a baseline file: exact, so there are no statistics.

A count repeats to 1e-4 and better as long as nothing but the model changes. What else it depends
on is in the file, and where that differs nothing is compared.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deploy.errors import RowsError
from reports.budgets import Budget, Budgets
from reports.count_baseline import CountBaseline, Counts
from reports.count_cases import CountedCase, counted_cases
from reports.frame import Frames
from reports.gate import Verdict
from reports.gate_findings import WHOLE_CASE, Finding
from reports.instructions import KINDS, UNKNOWN_SHAPE, counts_with, millions
from reports.rule import IMPROVEMENT, INVALID, PASS, REGRESSION
from reports.stats import Estimate

EVERY_CASE = "every case"
EXACT = (
    "Instructions are counted and repeat, so they are compared exactly, without statistics. They "
    "are no time: they say nothing of clocks, memory, threads or accelerators."
)
_LEAST_SHARE = 0.002  # of all instructions: a kind that moves by less explains nothing
_MOST_KINDS = 4


def judge_counts(
    baseline: CountBaseline, current: Frames, budgets: Budgets, rebaseline: str
) -> Verdict:
    """Judge counted cases against a baseline.

    Args:
        current: rows of a session whose instructions were counted.
        rebaseline: the command that writes the baseline anew.

    Raises:
        RowsError: nothing was counted, or all budgets are off.
    """
    cases = {one.name: one for one in counted_cases(current)}
    differing = unlike_pins(baseline.taken_with, counts_with(current))
    if differing:
        reason = f"{'; '.join(differing)}. To take the new counts for the baseline: {rebaseline}"
        return Verdict((Finding(EVERY_CASE, WHOLE_CASE, INVALID, reason),), (EXACT,))
    findings: list[Finding] = []
    for name, old in baseline.cases.items():
        found = cases.pop(name, None) or cases.pop(_without_shape(name), None)
        if found is None or found.counts is None:
            why = "in the baseline, but not counted now"
            why = why if found is None or found.problem is None else found.problem
            findings.append(Finding(_shown_as(name), WHOLE_CASE, INVALID, why))
        else:
            findings += _findings(old, found, found.counts, budgets)
    findings += [
        Finding(one.shown_as, WHOLE_CASE, INVALID, one.problem)
        for one in cases.values()
        if one.problem
    ]
    if not findings:
        raise RowsError("nothing was judged", "all budgets of instructions are off; turn one on")
    notes = [
        f"{name}: new, so there is nothing to hold it against; --rebaseline takes it in"
        for name, one in cases.items()
        if not one.problem
    ]
    verdict = Verdict(tuple(findings), (*notes, EXACT))
    if verdict.verdict != IMPROVEMENT:
        return verdict
    gained = f"To hold what was gained from now on, take it for the baseline: {rebaseline}"
    return replace(verdict, notes=(*notes, gained, EXACT))


def _without_shape(name: str) -> str:
    """Give the name of a case that failed before it could tell the shape of its input."""
    return f"{name.rsplit(' ', 1)[0]} {UNKNOWN_SHAPE}"


def _shown_as(name: str) -> str:
    """Give `MODEL KIND SHAPE` of a case that is not there as the others are shown."""
    return " at ".join(name.rsplit(" ", 1)).replace(" ", "/", 1)


def unlike_pins(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Name what counts were taken with that differs, with both values."""
    fields = dict.fromkeys([*old, *new])
    return [
        f"{field} differs: {_said(old.get(field))} in the baseline and {_said(new.get(field))} now"
        for field in fields
        if old.get(field) != new.get(field)
    ]


def _said(value: object) -> str:
    """Give a value; of a hash what tells it apart."""
    text = "nothing" if value is None else str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def _findings(old: Counts, case: CountedCase, new: Counts, budgets: Budgets) -> list[Finding]:
    found = []
    steady = (old.steady["instructions"], new.steady["instructions"])
    for metric, (was, now), why in (
        ("instructions", steady, kinds_that_moved(old, new)),
        ("session_instructions", (old.session, new.session), ""),
    ):
        budget = budgets.find(case.shown_as, metric)
        if budget is None or was is None:
            continue
        if now is None:
            reason = "the baseline has one, the current side has none"
            found.append(Finding(case.shown_as, metric, INVALID, reason))
            continue
        found.append(_finding(case.shown_as, metric, (was, now), budget, why))
    return found


def _finding(case: str, metric: str, both: tuple[int, int], budget: Budget, why: str) -> Finding:
    was, now = both
    change = 100 * (now - was) / was
    within = f"budget {budget.budget:g} %"
    aside = f" ({why})" if why else ""
    verdict, reason = PASS, "the same" if now == was else f"within {within}"
    if change > budget.budget:
        verdict = REGRESSION
        reason = f"{change:.3g} % more instructions, {within}{aside}"
    elif change < -budget.budget:
        verdict = IMPROVEMENT
        reason = f"{-change:.3g} % fewer instructions{aside}"
    finding = Finding(case, metric, verdict, reason, _sure(was), _sure(now))
    return replace(finding, change=change, low=change, high=change, n=1)


def _sure(count: int) -> Estimate:
    value = count / 1e6
    return Estimate(value, value, value, 1)


def kinds_that_moved(old: Counts, new: Counts) -> str:
    """Say which kinds of instructions changed, the largest change first; empty where none did."""
    whole = old.steady["instructions"]
    moved = {
        kind: abs(new.steady[kind] - old.steady[kind])
        for kind in KINDS
        if kind not in ("instructions", "moved_bytes")
    }
    named = [kind for kind in moved if moved[kind] > _LEAST_SHARE * whole]
    named.sort(key=lambda kind: -moved[kind])
    told = [
        f"{KINDS[kind]} {millions(old.steady[kind])} to {millions(new.steady[kind])} M"
        for kind in named[:_MOST_KINDS]
    ]
    return ", ".join(told)


def baseline_changes(old: CountBaseline | None, new: CountBaseline) -> list[str]:
    """Say what a new baseline changes, a line each; nothing where it is the same."""
    if old is None:
        return [f"{name}: {_shown(one)}" for name, one in sorted(new.cases.items())]
    lines = unlike_pins(old.taken_with, new.taken_with)
    for name in sorted({*old.cases, *new.cases}):
        was, now = old.cases.get(name), new.cases.get(name)
        if was is None and now is not None:
            lines.append(f"{name}: new, {_shown(now)}")
        elif was is not None and now is None:
            lines.append(f"{name}: gone, it was {_shown(was)}")
        elif was is not None and now is not None and was != now:
            change = 100 * (now.steady["instructions"] / was.steady["instructions"] - 1)
            why = "; ".join(filter(None, [f"{change:+.3g} %", kinds_that_moved(was, now)]))
            lines.append(f"{name}: {_shown(was)}; now {_shown(now)} ({why})")
    return lines


def _shown(counts: Counts) -> str:
    session = "" if counts.session is None else f", {millions(counts.session)} M for the session"
    return f"{millions(counts.steady['instructions'])} M{session}"
