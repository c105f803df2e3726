"""The rule keeps its promise on simulated launches; benchmarks/gate_simulation.py has the table."""

import numpy as np
import pytest
from gate_simulation import (
    DRIFT,
    LAUNCHES,
    Noise,
    compared,
    first_cases,
    noise,
    the_rule,
    the_rule_over_sessions,
)
from hypothesis import given
from hypothesis import strategies as st

from reports.rule import decide, launches_to_decide, log_budget
from reports.stats import paired_change

TRIALS = 600
BUDGET, RULE_OUT = log_budget(2.0), log_budget(5.0)


@pytest.fixture(scope="module")
def drawn() -> Noise:
    return noise(np.random.default_rng(7), TRIALS, 12, LAUNCHES)


@pytest.fixture(scope="module", params=[1, 12])
def launches(drawn, request) -> Noise:
    return first_cases(drawn, request.param)


@pytest.mark.parametrize("drift", [0.0, DRIFT])
def test_no_change_is_hardly_ever_a_regression(launches, drift):
    alarms = the_rule(compared(launches, 0.0, drift, slowed=0, paired=True)).any(axis=-1)
    assert alarms.mean() <= 0.01


@pytest.mark.parametrize("drift", [0.0, DRIFT])
def test_ten_percent_are_nearly_always_found(launches, drift):
    found = the_rule(compared(launches, 0.1, drift, slowed=1, paired=True))[:, 0]
    assert found.mean() >= 0.95


@pytest.mark.parametrize("drift", [0.0, DRIFT])
def test_no_change_between_two_sessions_is_hardly_ever_a_regression(launches, drift):
    change = compared(launches, 0.0, drift, slowed=0, paired=False)
    assert the_rule_over_sessions(change).any(axis=-1).mean() <= 0.01


def test_false_alarms_stay_rare_whatever_the_noise():
    """Launches that differ by 30 %: the bound alone would alarm in 40 gates of a hundred."""
    old, new = np.random.default_rng(0).lognormal(0, 0.3, (2, 4000, 12, 8))
    alarms = (decide(paired_change(old, new), BUDGET, RULE_OUT) == "regression").any(axis=-1)
    assert alarms.mean() == pytest.approx(0.01, abs=0.005)


@pytest.mark.parametrize(
    ("log_ratio", "expected"),
    [
        (0.0, "pass"),
        (0.015, "pass"),
        (0.03, "regression"),
        (0.1, "regression"),
        (-0.015, "pass"),
        (-0.03, "improvement"),
    ],
)
def test_without_noise_the_budget_alone_decides(log_ratio, expected):
    new = np.exp(log_ratio + np.tile([1e-5, -1e-5], 4))[None]
    (verdict,) = decide(paired_change(np.ones((1, 8)), new), BUDGET, RULE_OUT)
    assert verdict == expected


OPPOSITE = {"regression": {"improvement"}, "improvement": {"regression"}}
changes = st.lists(st.floats(-0.3, 0.3), min_size=3, max_size=10)


@given(changes)
def test_what_is_a_regression_one_way_is_an_improvement_the_other(log_ratios):
    old, new = np.ones((1, len(log_ratios))), np.exp([log_ratios])
    (forth,) = decide(paired_change(old, new), BUDGET, RULE_OUT)
    (back,) = decide(paired_change(new, old), BUDGET, RULE_OUT)
    assert back in OPPOSITE.get(forth, {"pass", "inconclusive"})


@given(changes, st.floats(0.1, 0.5))
def test_a_wider_budget_never_makes_a_regression(log_ratios, wider):
    change = paired_change(np.ones((1, len(log_ratios))), np.exp([log_ratios]))
    if decide(change, BUDGET + wider, RULE_OUT + wider) == "regression":
        assert decide(change, BUDGET, RULE_OUT) == "regression"


@given(st.lists(st.lists(st.floats(-0.3, 0.3), min_size=8, max_size=8), min_size=2, max_size=4))
def test_more_cases_never_make_a_regression_of_one_that_is_none_alone(cases):
    change = paired_change(np.ones((len(cases), 8)), np.exp(cases))
    alone = [
        decide(paired_change(np.ones((1, 8)), np.exp([one])), BUDGET, RULE_OUT)[0] for one in cases
    ]
    together = decide(change, BUDGET, RULE_OUT)
    assert all(alone[i] == "regression" for i in np.flatnonzero(together == "regression"))


def test_a_change_that_may_be_large_is_no_pass():
    new = np.exp(0.0 + np.tile([0.08, -0.08], 4))[None]
    (verdict,) = decide(paired_change(np.ones((1, 8)), new), BUDGET, RULE_OUT)
    assert verdict == "inconclusive"


def test_the_launches_that_it_asks_for_do_decide():
    needed = launches_to_decide(0.0, 0.04, float(BUDGET), float(RULE_OUT), 1)
    new = np.random.default_rng(0).lognormal(0, 0.04, (4000, 1, needed))
    verdicts = decide(paired_change(np.ones_like(new), new), BUDGET, RULE_OUT)
    assert np.mean(verdicts != "inconclusive") == pytest.approx(0.8, abs=0.05)


def test_launches_come_in_even_numbers():
    needed = [
        launches_to_decide(0.01, spread, float(BUDGET), float(RULE_OUT), 3)
        for spread in (0.01, 0.02, 0.03, 0.05)
    ]
    assert all(one % 2 == 0 for one in needed)


def test_what_no_session_could_decide_is_said():
    assert launches_to_decide(0.0, 3.0, float(BUDGET), float(RULE_OUT), 1) is None
