import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from reports.stats import launch_medians, median_interval, paired_ratio

# Whole nanoseconds, so that scaling by a whole number is exact and ties stay ties.
latency_ns = st.integers(10**3, 10**10)
launches_ns = st.lists(latency_ns, min_size=3, max_size=12)
pairs_ns = st.lists(st.tuples(latency_ns, latency_ns), min_size=3, max_size=12)


def test_launch_medians_count_only_the_asked_phase():
    samples = pd.DataFrame(
        {
            "run_id": ["a"] * 4 + ["b"] * 2,
            "phase": ["first", "steady", "steady", "steady", "first", "steady"],
            "latency_ns": [900, 10, 30, 20, 700, 5],
        }
    )
    assert launch_medians(samples).to_dict() == {"a": 20.0, "b": 5.0}
    assert launch_medians(samples, "first").to_dict() == {"a": 900.0, "b": 700.0}


@settings(max_examples=50, deadline=None)
@given(launches_ns, st.integers(2, 1000))
def test_the_median_interval_scales_with_its_values(launches, factor):
    one = median_interval(launches)
    scaled = median_interval([factor * value for value in launches])
    expected = [factor * end for end in (one.value, one.low, one.high)]
    assert [scaled.value, scaled.low, scaled.high] == pytest.approx(expected, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(launches_ns)
def test_the_median_interval_holds_its_median_and_stays_among_the_values(launches):
    interval = median_interval(launches)
    assert min(launches) <= interval.low <= interval.value <= interval.high <= max(launches)


def test_equal_launches_give_a_point():
    interval = median_interval([7.0] * 5)
    assert (interval.value, interval.low, interval.high) == (7.0, 7.0, 7.0)


def test_the_same_launches_give_the_same_interval():
    launches = np.random.default_rng(3).lognormal(size=8)
    assert median_interval(launches) == median_interval(launches)


@pytest.mark.parametrize("few", [1, 2])
def test_below_three_launches_there_is_a_median_and_no_interval(few):
    interval = median_interval([4.0] * few)
    assert interval.value == 4.0
    assert np.isnan([interval.low, interval.high]).all()


def test_no_launches_give_nothing():
    assert np.isnan(median_interval([]).value)
    assert np.isnan(paired_ratio([], []).value)


@given(pairs_ns)
def test_the_ratio_turned_round_is_its_reciprocal(pairs):
    a, b = np.array(pairs, dtype=float).T
    forth, back = paired_ratio(a, b), paired_ratio(b, a)
    expected = [1 / back.value, 1 / back.high, 1 / back.low]
    assert [forth.value, forth.low, forth.high] == pytest.approx(expected, rel=1e-6)


@given(pairs_ns, st.integers(2, 1000))
def test_the_ratio_scales_with_its_numerator(pairs, factor):
    a, b = np.array(pairs, dtype=float).T
    one, scaled = paired_ratio(a, b), paired_ratio(factor * a, b)
    expected = [factor * end for end in (one.value, one.low, one.high)]
    assert [scaled.value, scaled.low, scaled.high] == pytest.approx(expected, rel=1e-6)


@given(pairs_ns)
def test_the_ratio_interval_holds_the_ratio(pairs):
    a, b = np.array(pairs, dtype=float).T
    ratio = paired_ratio(a, b)
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio.n == len(pairs)


def test_drift_over_blocks_does_not_widen_the_ratio():
    drift = np.linspace(1, 3, 8)
    ratio = paired_ratio(20.0 * drift, 10.0 * drift)
    assert [ratio.value, ratio.low, ratio.high] == pytest.approx([2.0, 2.0, 2.0])


def test_two_pairs_give_a_ratio_and_no_interval():
    ratio = paired_ratio([2.0, 2.0], [1.0, 1.0])
    assert ratio.value == pytest.approx(2.0)
    assert np.isnan([ratio.low, ratio.high]).all()


def test_equal_programs_are_told_apart_in_one_comparison_of_twenty():
    """A/A: eight pairs of launches of one program, 2 % launch noise, 2000 comparisons."""
    launches = np.random.default_rng(0).lognormal(0, 0.02, (2000, 2, 8))
    ratios = [paired_ratio(a, b) for a, b in launches]
    told_apart = np.mean([not one.low <= 1 <= one.high for one in ratios])
    # three standard errors of a share of 2000
    assert told_apart == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 2000))


@pytest.mark.slow
def test_the_median_interval_of_eight_launches_holds_the_truth_nine_times_in_ten():
    rng = np.random.default_rng(0)
    intervals = [median_interval(rng.lognormal(0, 0.02, 8)) for _ in range(500)]
    covered = np.mean([one.low <= 1 <= one.high for one in intervals])
    allowance = -ndtri(0.001) * np.sqrt(0.9 * 0.1 / 500)
    assert covered > 0.9 - allowance
