import math
import random
import struct
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.histogram import empty_histogram

BINS = 16

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
# Bits, so that denormals and both zeros are as likely as anything else
any_bits = (
    st.integers(0, 2**32 - 1)
    .map(lambda bits: struct.unpack("f", struct.pack("I", bits))[0])
    .filter(math.isfinite)
)
values_lists = st.lists(finite | any_bits, min_size=1, max_size=40)


def count(values, bins=BINS):
    array = np.array(values, np.float32)
    ends = {"least": float(array.min()), "greatest": float(array.max())}
    return empty_histogram(bins).plus([array], **ends)


def content(histogram):
    return (
        histogram.least,
        histogram.greatest,
        histogram.exponent,
        histogram.first,
        histogram.counts.tolist(),
    )


@given(values_lists)
def test_each_value_is_counted_in_the_bin_it_lies_in(values):
    histogram = count(values)
    width = Fraction(2) ** histogram.exponent
    expected = [0] * len(histogram.counts)
    for value in values:
        expected[math.floor(Fraction(value) / width) - histogram.first] += 1
    assert histogram.counts.tolist() == expected


@given(values_lists)
def test_bins_are_the_narrowest_that_hold_the_range_and_zero(values):
    histogram = count(values)
    assert len(histogram.counts) <= BINS
    if histogram.exponent > -149:  # no float32 lies between the multiples of that
        half = Fraction(2) ** (histogram.exponent - 1)
        ends = (min([*values, 0.0]), max([*values, 0.0]))
        least, greatest = (math.floor(Fraction(end) / half) for end in ends)
        assert greatest - least + 1 > BINS


@given(values_lists, st.integers(0, 10**6))
def test_order_and_pieces_leave_no_trace(values, seed):
    shuffled = random.Random(seed).sample(values, len(values))
    cuts = sorted(random.Random(seed).choices(range(len(values) + 1), k=3))
    pieces = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    histogram = empty_histogram(BINS)
    for piece in filter(None, pieces):
        array = np.array(piece, np.float32)
        histogram = histogram.plus([array], least=float(array.min()), greatest=float(array.max()))
    assert content(histogram) == content(count(values))


@given(values_lists, values_lists, values_lists)
def test_merging_is_counting_together_however_it_is_grouped(first, second, third):
    one, two, three = count(first), count(second), count(third)
    together = content(count(first + second + third))
    assert content(one.merged(two).merged(three)) == together
    assert content(three.merged(two.merged(one))) == together


@given(values_lists)
def test_the_outer_edges_are_the_limits_and_the_others_multiples_of_the_width(values):
    histogram = count(values)
    edges = histogram.edges
    assert (edges[0], edges[-1]) == (histogram.least, histogram.greatest)
    assert (np.diff(edges) >= 0).all()
    assert (edges[1:-1] % histogram.width == 0).all()


def test_of_zeros_only_it_has_one_bin():
    histogram = count([0.0, -0.0, 0.0])
    assert (histogram.counts.tolist(), histogram.edges.tolist()) == ([3], [0.0, 0.0])


@pytest.mark.parametrize("value", [5.3, -5.3, 1.0, -1.0, 1e-42, -1e-42, 3e38, -3e38])
def test_a_constant_is_in_an_outermost_bin(value):
    histogram = count([value] * 4, bins=2048)
    assert histogram.counts[-1 if value > 0 else 0] == 4
    assert histogram.total == 4


def test_a_tiny_negative_value_stays_left_of_zero_beside_huge_ones():
    histogram = count([-1e-45, 3e38])
    assert histogram.counts[-histogram.first - 1] == 1


def test_a_wider_range_than_the_values_is_kept():
    histogram = empty_histogram(BINS).plus([np.ones((2, 3), np.float32)], least=-4.0, greatest=8.0)
    assert (histogram.least, histogram.greatest, histogram.total) == (-4.0, 8.0, 6)


def test_more_values_than_are_taken_at_a_time_are_all_counted():
    values = np.random.default_rng(0).standard_normal(400_000).astype(np.float32)
    histogram = empty_histogram().plus(
        [values], least=float(values.min()), greatest=float(values.max())
    )
    expected, _ = np.histogram(values, histogram.edges)
    np.testing.assert_array_equal(histogram.counts, expected)


def test_histograms_of_other_sizes_do_not_merge():
    with pytest.raises(ValueError, match="16 and of 32"):
        empty_histogram(16).merged(empty_histogram(32))
