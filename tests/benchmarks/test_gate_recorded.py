"""The A/A benchmark of the gate judges what it was given, through the gate's own code."""

import numpy as np
import pandas as pd
import pytest
from gate_recorded import abba, drawn, in_two_sessions, interleaved, many_cases


def recorded(noise: float, launches: int = 64) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    latency_ms = 10 * rng.lognormal(0, noise, launches)
    return pd.DataFrame({"latency_ms": latency_ms, "peak_rss_mib": 60.0})


def test_arms_take_turns_in_going_first():
    assert abba(6) == ["a", "b", "b", "a", "a", "b"]


@pytest.mark.parametrize("judge", [interleaved, in_two_sessions])
@pytest.mark.parametrize(("effect", "verdict"), [(0.0, "pass"), (0.2, "regression")])
def test_launches_are_judged_by_the_gate(judge, effect, verdict):
    assert judge(recorded(0.002, launches=16), effect) == verdict


def test_a_gate_has_eight_whole_blocks_in_their_order():
    chosen = next(drawn(np.random.default_rng(0), recorded(0.01))).index.to_numpy()
    assert len(chosen) == 16
    assert (np.diff(chosen) > 0).all()
    assert (chosen[1::2] == chosen[::2] + 1).all()
    assert (chosen[::2] % 2 == 0).all()


def test_gates_of_many_cases_find_the_slowed_one_and_no_other():
    first, others = many_cases(np.random.default_rng(0), recorded(0.01), 0.1)
    assert (first, others) == (200, 0)
