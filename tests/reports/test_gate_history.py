import tomllib

import numpy as np
import pytest
from count_rows import LINE

from deploy.errors import RowsError
from reports.budgets import read_budgets
from reports.frame import load
from reports.history import budget_lines, draw_gates, learn
from reports.stats import paired_change


@pytest.fixture
def history(write_session):
    """Learn from sessions of one case; give what was learned of its latency."""

    def of(spread, sessions=1, launches=40):
        case = {"plain": {"latency_ms": 10.0}}
        folders = [
            write_session(case, f"s{number}", launches=launches, spread=spread)
            for number in range(sessions)
        ]
        found = learn(load(*folders))
        return next(one for one in found if one.metric == "latency")

    return of


def test_a_quiet_device_is_offered_a_narrow_budget(history):
    assert history(0.002).budget < 0.5


def test_the_budget_grows_with_the_noise(history):
    assert history(0.01).budget < history(0.04).budget


def test_counts_have_nothing_to_learn(write_counts):
    with pytest.raises(RowsError, match="no noise to learn budgets from"):
        learn(load(write_counts(LINE)))


def test_the_noise_of_a_pair_is_that_of_two_launches(history):
    found = history(0.01, launches=400)
    assert found.noise == pytest.approx(100 * np.sqrt(2) * 0.01, rel=0.2)


def test_a_drift_is_no_noise(write_session, rewrite):
    folder = write_session({"plain": {"latency_ms": 10.0}}, launches=40, spread=0.002)
    quiet = learn(load(folder))[0]

    def drift(samples):
        block = samples["run_id"].str.rpartition("/")[2].astype(int)
        return samples.assign(latency_ns=(samples["latency_ns"] * (1 + block / 80)).astype(int))

    rewrite(folder, "samples", drift)
    assert learn(load(folder))[0].budget <= quiet.budget + 1


def test_gates_over_no_change_exceed_the_learned_budget_in_one_of_a_hundred():
    pairs = np.random.default_rng(1).normal(0, 0.03, 500)
    threshold = np.quantile(draw_gates(pairs, 8, seed=0).low, 0.99)
    fresh = np.exp(np.random.default_rng(2).normal(0, 0.03, (4000, 8)))
    above = np.mean(paired_change(np.ones_like(fresh), fresh).low > threshold)
    assert above == pytest.approx(0.01, abs=0.008)


def test_what_happens_between_sessions_takes_three_of_them(history):
    assert history(0.01, sessions=2).between_sessions is None
    assert history(0.01, sessions=3).between_sessions is not None


def test_too_short_a_history_says_how_long_it_has_to_be(history):
    with pytest.raises(RowsError, match="no case has 8 pairs of good launches: bench one file"):
        history(0.01, launches=15)


def test_the_lines_are_a_budget_file(history, tmp_path):
    found = history(0.01, sessions=3)
    path = tmp_path / "budgets.toml"
    path.write_text(budget_lines([found]))
    budget = read_budgets(path).find("net/plain", "latency")
    assert (budget.budget, budget.rule_out) == (found.budget, found.rule_out)
    assert budget.between_sessions == found.between_sessions
    assert tomllib.loads(budget_lines([found]))["case"]["net/plain"]


def test_the_lines_say_what_they_stand_on(history):
    text = budget_lines([history(0.01, sessions=3)])
    assert "# 60 pairs of launches in 3 sessions that differ by" in text
