import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.median_intervals import median_intervals
from reports.stats import median_interval


def intervals_of(*groups):
    values = pd.Series([value for group in groups for value in group], dtype=float)
    places = pd.Series([place for place, group in enumerate(groups) for _ in group])
    return median_intervals(values, places)


@pytest.mark.parametrize("n", [5, 8, 9, 10])
def test_an_interval_is_what_many_resamples_come_to(n):
    values = np.exp(np.random.default_rng(n).normal(0, 0.05, n))
    resampled = median_interval(values)
    exact = intervals_of(values).iloc[0]
    middles = np.sort([(one + other) / 2 for one in values for other in values])
    for end, other in ((exact["low"], resampled.low), (exact["high"], resampled.high)):
        # both are what a resample can give; chance moves one of them by a place at most
        between = middles[(middles > min(end, other)) & (middles < max(end, other))]
        assert len(np.unique(between)) <= 1


def test_groups_of_different_sizes_do_not_touch_each_other():
    few, many = [1.0, 2.0, 3.0], [10.0, 12.0, 11.0, 13.0, 9.0, 14.0]
    together = intervals_of(few, many)
    pd.testing.assert_frame_equal(together.iloc[[0]], intervals_of(few))
    np.testing.assert_array_equal(together.iloc[1], intervals_of(many).iloc[0])


def test_missing_values_are_left_out():
    np.testing.assert_array_equal(
        intervals_of([1.0, np.nan, 2.0, 3.0]).iloc[0], intervals_of([1.0, 2.0, 3.0]).iloc[0]
    )


def test_a_group_without_a_value_is_missing():
    assert intervals_of([np.nan], [1.0]).iloc[0].isna().all()


def test_no_group_at_all_gives_no_interval():
    assert median_intervals(pd.Series([], dtype=float), pd.Series([], dtype=int)).empty


def test_two_launches_show_no_spread():
    found = intervals_of([1.0, 2.0]).iloc[0]
    assert found["value"] == 1.5
    assert found[["low", "high"]].isna().all()


def test_equal_values_have_an_interval_of_no_width():
    assert list(intervals_of([3.0] * 6).iloc[0]) == [3.0, 3.0, 3.0]


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 1e4), min_size=3, max_size=60))
def test_an_interval_holds_its_median_and_lies_within_the_values(values):
    found = intervals_of(values).iloc[0]
    assert min(values) <= found["low"] <= found["value"] <= found["high"] <= max(values)


def test_ten_thousand_launches_of_one_case_have_a_narrow_interval():
    values = np.random.default_rng(0).normal(100, 1, 10_000)
    found = intervals_of(values).iloc[0]
    assert 0 < found["high"] - found["low"] < 0.1
