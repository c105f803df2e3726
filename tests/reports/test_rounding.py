import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.rounding import DASH, decimals, fixed, last_place, rounded, with_interval


@pytest.mark.parametrize(
    ("half_width", "places"),
    [(230.0, -1), (99.6, -1), (23.0, 0), (9.96, 0), (2.3, 1), (1.0, 1), (0.35, 2), (0.034, 3)],
)
def test_the_last_place_is_the_second_digit_of_the_half_width(half_width, places):
    assert last_place(half_width) == places
    assert decimals(half_width) == max(places, 0)


def test_decimals_end_where_the_clock_does():
    assert decimals(1e-9) == 6


@pytest.mark.parametrize("half_width", [0.0, math.nan, math.inf])
def test_an_interval_without_a_width_does_not_round(half_width):
    assert decimals(half_width) == 3


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((43.21, 42.9, 43.6), "43.21 [42.90, 43.60]"),
        ((43.21, 39.0, 47.0), "43.2 [39.0, 47.0]"),
        ((4321.0, 4210.0, 4455.0), "4320 [4210, 4460]"),
        ((0.01234, 0.0121, 0.0125), "0.01234 [0.01210, 0.01250]"),
        ((40.0, 40.0, 40.0), "40.0 [40.0, 40.0]"),
        ((43.21, math.nan, math.nan), "43.2"),
        ((0.012345, math.nan, math.nan), "0.0123"),
        ((4321.4, math.nan, math.nan), "4321"),
        ((math.nan, math.nan, math.nan), DASH),
    ],
)
def test_a_value_is_rounded_as_its_interval_allows(numbers, text):
    assert with_interval(*numbers) == text


def test_a_unit_stands_at_the_value():
    assert with_interval(2.0, 1.9, 2.1, "×") == "2.00× [1.90, 2.10]"


@given(st.floats(1e-3, 1e6), st.floats(1e-2, 0.5))
def test_rounding_moves_an_end_by_at_most_a_twentieth_of_the_half_width(value, share):
    low, high = value * (1 - share), value * (1 + share)
    half_width = (high - low) / 2
    _, interval = rounded(value, low, high)
    shown = [float(end) for end in interval.strip("[]").split(", ")]
    allowed = half_width * 0.0503 + 0.5e-6  # the half-width itself is rounded first
    assert abs(shown[0] - low) <= allowed
    assert abs(shown[1] - high) <= allowed


@given(st.floats(1e-4, 1e6), st.floats(1e-3, 0.5))
def test_a_value_and_its_ends_have_as_many_decimals(value, share):
    text, interval = rounded(value, value * (1 - share), value * (1 + share))
    low, high = interval.strip("[]").split(", ")
    assert len({len(one.partition(".")[2]) for one in (text, low, high)}) == 1


@given(st.floats(1e-2, 1e5), st.floats(1e-2, 0.5))
def test_a_half_width_keeps_two_digits(value, share):
    places = last_place(value * share)
    digits = round(value * share * 10**places)
    assert 9.5 <= digits <= 100


@pytest.mark.parametrize(
    ("value", "text"), [(math.inf, "∞"), (math.nan, DASH), (1.005, "1.00"), (0.0, "0.00")]
)
def test_a_fixed_number_has_its_decimals(value, text):
    assert fixed(value, 2) == text
