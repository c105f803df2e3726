"""Budgets learned from launches of things that did not change. Offered, never applied.

Every case that was launched often is split into two arms in ABBA order: a difference between them
is noise. Gates are drawn from its pairs, each turned round by chance, and the budgets are those
that hardly any of them would exceed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from deploy.errors import RowsError
from reports.budgets import DEFAULTS, METRICS
from reports.frame import Frames
from reports.gate_cases import MeasuredCase, measured_cases
from reports.rule import FALSE_ALARMS
from reports.stats import Change, paired_change

MIN_PAIRS = 8  # below, the history says less than one gate does
GATES = 4000
STEP = 0.1  # budgets are rounded up to it, in %


@dataclass(frozen=True)
class Learned:
    """Budgets of one metric of one case, in %.

    Attributes:
        pairs: A/A pairs that they stand on.
        sessions: of the same file on the same device.
        noise: standard deviation of the log-ratio of one pair, in %.
        budget: what the lower bound of one gate in a hundred exceeds without any change.
        rule_out: what the upper bound of one in a hundred exceeds.
        between_sessions: what medians of two sessions differ by in one of a hundred; None below
            three sessions.
    """

    case: str
    metric: str
    pairs: int
    sessions: int
    noise: float
    budget: float
    rule_out: float
    between_sessions: float | None


def learn(frames: Frames, launches: int = 8, seed: int = 0) -> list[Learned]:
    """Learn budgets from sessions that measured the same files.

    Args:
        launches: a side, of the gates to come.
        seed: of the drawn gates.

    Raises:
        RowsError: no case has enough launches, or they were counted.
    """
    if frames.runs["mode"].eq("count").any():
        raise RowsError(
            "counted instructions have no noise to learn budgets from",
            "leave counted sessions out; `gate --metric instructions` compares exactly",
        )
    found = []
    for _, of_case in frames.runs.groupby(["device_id", "case_id", "model_sha256"], sort=False):
        (case,) = measured_cases(_only(frames, of_case), [of_case["case_id"].iloc[0]])
        if case.problem is None:
            found += [
                _learned(case, metric, values, launches, seed)
                for metric, values in case.launches.items()
                if len(_pairs(values)) >= MIN_PAIRS
            ]
    if not found:
        raise RowsError(
            f"no case has {MIN_PAIRS} pairs of good launches",
            f"bench one file with --launches {2 * MIN_PAIRS} or more, or name more sessions",
        )
    return found


def _only(frames: Frames, runs: pd.DataFrame) -> Frames:
    samples = frames.samples.loc[frames.samples["run_id"].isin(runs["run_id"])]
    return replace(frames, runs=runs, samples=samples)


def _pairs(values: "pd.Series[float]") -> np.ndarray:
    """Give log-ratios of neighbouring launches of each session, in ABBA order: (pairs,)."""
    found: list[float] = []
    for _, of_session in values.groupby(level="session_id"):
        logs = np.log(of_session.sort_index().to_numpy())
        logs = logs[: len(logs) - len(logs) % 2].reshape(-1, 2)
        steps = logs[:, 1] - logs[:, 0]
        steps[1::2] *= -1  # every other pair the other way round, so that drift cancels
        found += steps.tolist()
    return np.array(found)


def _learned(
    case: MeasuredCase, metric: str, values: "pd.Series[float]", launches: int, seed: int
) -> Learned:
    pairs = _pairs(values)
    gates = draw_gates(pairs, launches, seed)
    sessions = np.log(values.groupby(level="session_id").median().to_numpy())
    between = None
    if len(sessions) >= 3:
        # of two sessions: the 99th percentile of a difference of normals
        between = _percent(2.33 * math.sqrt(2) * sessions.std(ddof=1))
    return Learned(
        case.name,
        metric,
        len(pairs),
        len(sessions),
        100 * float(pairs.std(ddof=1)),
        max(_percent(np.quantile(gates.low, 1 - FALSE_ALARMS)), STEP),
        max(_percent(np.quantile(gates.high, 1 - FALSE_ALARMS)), 2 * STEP),
        between,
    )


def draw_gates(pairs: np.ndarray, launches: int, seed: int) -> Change:
    """Draw gates over no change from A/A pairs, each turned round by chance: (GATES,)."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(pairs, (GATES, launches)) * rng.choice((-1.0, 1.0), (GATES, launches))
    return paired_change(np.ones_like(drawn), np.exp(drawn))


def _percent(log_ratio: float) -> float:
    """Give a log-ratio in %, rounded up."""
    return round(math.ceil(100 * math.expm1(log_ratio) / STEP - 1e-9) * STEP, 6)


def budget_lines(learned: Sequence[Learned]) -> str:
    """Give the lines for a budgets.toml, each case with what it stands on."""
    lines: list[str] = []
    for one in learned:
        unit = METRICS[one.metric].unit
        rule_out = max(one.rule_out, one.budget + STEP)
        sessions = f"{one.sessions} session" + ("s" if one.sessions > 1 else "")
        default = DEFAULTS[one.metric].budget
        lines += [
            f"# {one.pairs} pairs of launches in {sessions} that differ by {one.noise:.2g} %; "
            f"the default budget is {default:g} {unit}",
            f'[case."{one.case}".{one.metric}]',
            f'budget = "{one.budget:g} {unit}"',
            f'rule_out = "{rule_out:g} {unit}"',
        ]
        if one.between_sessions is not None:
            lines.append(f'between_sessions = "{one.between_sessions:g} {unit}"')
        lines.append("")
    return "\n".join(lines)
