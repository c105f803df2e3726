import math
import time
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statistics_examples import statistics_of

from calib.histogram import empty_histogram
from calib.statistics import EVERY_VALUE, tensor_statistics
from calib.thresholds import (
    METHODS,
    _Divergence,
    entropy_range,
    minmax_range,
    mse_range,
    percentile_range,
    range_method,
    ranges,
)
from deploy.errors import UsageError

BINS = 2048
EVERY_METHOD = (*METHODS, "percentile-99", "percentile-100")


def tensor(values, bins=BINS):
    array = np.asarray(values, np.float32).reshape(1, 1, 1, -1)
    return tensor_statistics(array, EVERY_VALUE, bins)


def drawn(kind, count=20_000, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "normal": lambda: rng.standard_normal(count),
        "heavy": lambda: rng.standard_t(2.5, count),
        "relu": lambda: np.maximum(rng.standard_normal(count), 0),
        "skewed": lambda: rng.exponential(1, count) - 0.2,
        "negative": lambda: -rng.exponential(1, count),
        "image": lambda: np.rint(rng.random(count) * 1.2 * 255).clip(0, 255) / 255,
        "outlier": lambda: np.append(rng.standard_normal(count), 60.0),
        "far from zero": lambda: rng.standard_normal(count) + 100,
        "small": lambda: rng.standard_normal(count) * 1e-30,
    }[kind]().astype(np.float32)


KINDS = ("normal", "heavy", "relu", "skewed", "negative", "image", "outlier", "far from zero")


def error(values, low, high):
    """Give the mean squared error of 256 levels over the values themselves."""
    step = (high - low) / 255
    zero = np.rint(-low / step)
    codes = (np.rint(values / step) + zero).clip(0, 255)
    return np.mean((values - (codes - zero) * step) ** 2)


values_lists = st.lists(st.floats(-1e6, 1e6, width=32) | st.just(0.0), min_size=1, max_size=60)


@pytest.mark.parametrize("method", EVERY_METHOD)
@settings(max_examples=40)
@given(values=values_lists)
def test_every_range_holds_zero_and_is_finite(method, values):
    low, high = range_method(method)(tensor(values))
    assert -np.inf < low <= 0 <= high < np.inf
    assert (low, high) == (np.float32(low), np.float32(high))


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_of_zeros_only_the_range_is_zero(method):
    assert range_method(method)(tensor(np.zeros(100))) == (0, 0)


@pytest.mark.parametrize("method", EVERY_METHOD)
@pytest.mark.parametrize("value", [5.3, -5.3, 1e-42, 3e38])
def test_a_constant_is_at_the_end_of_its_range(method, value):
    low, high = range_method(method)(tensor(np.full(100, value)))
    assert (high if value > 0 else low) == pytest.approx(np.float32(value), rel=0.01)
    assert (low if value > 0 else high) == 0


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_a_range_grows_with_the_values(method):
    once, scaled = (
        range_method(method)(tensor(drawn("normal") * factor)) for factor in (1, 2.0**-100)
    )
    assert scaled == pytest.approx([end * 2.0**-100 for end in once], rel=1e-6)


def test_minmax_is_the_range_of_all_values_and_zero():
    assert minmax_range(tensor([1.5, 7])) == (0, 7)
    assert minmax_range(tensor([-1.5, 7])) == (-1.5, 7)


def test_minmax_is_of_all_values_though_others_are_of_a_sample():
    statistics = tensor([1, 2, 3])
    wider = empty_histogram(BINS).plus([np.ones(1, np.float32)], least=-4.0, greatest=9.0)
    assert minmax_range(type(statistics)(np.array([-4.0]), np.array([9.0]), wider)) == (-4, 9)


# Percentile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("percent", [99, 99.9, 99.99])
def test_a_percentile_keeps_its_share_of_the_values(kind, percent):
    values = drawn(kind)
    low, high = percentile_range(tensor(values), percent)
    kept = np.mean((values >= low) & (values <= high))
    assert kept == pytest.approx(percent / 100, abs=2e-3) or kept > percent / 100


@given(values=values_lists, percent=st.floats(51, 100))
def test_a_percentile_is_never_wider_than_minmax(values, percent):
    one = tensor(values, bins=256)
    low, high = percentile_range(one, percent)
    assert one.histogram.least <= low <= high <= one.histogram.greatest


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_percentile_is_never_narrower(kind):
    one = tensor(drawn(kind))
    widths = [np.diff(percentile_range(one, p))[0] for p in (90, 99, 99.9, 99.99, 100)]
    assert (np.diff(widths) >= 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_no_narrower_range_keeps_as_much(kind):
    """Against all pairs of ends among the bins' edges."""
    one = tensor(drawn(kind), bins=256)
    width = np.diff(percentile_range(one, 99))[0]
    edges, mass = one.histogram.edges, np.append(0, np.cumsum(one.histogram.counts))
    kept = mass[None, :] - mass[:, None] >= 0.99 * mass[-1]
    holds_zero = (edges[:, None] <= 0) & (edges[None, :] >= 0)
    assert width <= (edges[None, :] - edges[:, None])[kept & holds_zero].min() * (1 + 1e-6)


def test_a_relu_loses_nothing_below_and_a_symmetric_tensor_as_much_on_both_sides():
    low, high = percentile_range(tensor(drawn("relu")), 99)
    assert low == 0
    assert high == pytest.approx(2.33, abs=0.1)  # of a half normal with half of it at zero
    low, high = percentile_range(tensor(drawn("normal", 200_000)), 99)
    assert (low, high) == pytest.approx((-2.576, 2.576), abs=0.1)


def test_a_limit_lies_within_its_bin():
    values = np.linspace(0, 1, 100_001)
    _, high = percentile_range(tensor(values, bins=256), 99.5)
    assert high == pytest.approx(0.995, abs=1e-4)  # a bin is 1/128 wide


# MSE ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, "small"])
def test_no_range_of_a_grid_has_a_smaller_squared_error(kind):
    values = drawn(kind).astype(np.float64)
    one = tensor(values)
    found = error(values, *mse_range(one))
    least, greatest = minmax_range(one)
    grid = [
        error(values, low, high)
        for low in np.linspace(least, 0, 25 if least else 1)
        for high in np.linspace(0, greatest, 25 if greatest else 1)
        if high > low
    ]
    assert found <= min(grid) * 1.01


def test_levels_meet_the_values_of_an_8_bit_image():
    low, high = mse_range(tensor(drawn("image")))
    assert (low, high) == (0, pytest.approx(1, rel=1e-6))


def test_an_outlier_is_clipped_if_few_values_pay_for_it():
    _, high = mse_range(tensor(drawn("outlier", 1_000_000)))
    assert high < 60
    _, high = mse_range(tensor(drawn("outlier", 1_000)))
    assert high > 50


# Entropy ------------------------------------------------------------------------------------------


def divergence(counts, zero, low, high):
    """Give KL(P, Q) bin by bin, from the definition in `entropy_range`'s docstring."""
    step = Fraction(int(high - low), 255)
    code_of_zero = round((zero - low) / ((high - low) / 255))
    inside = counts[low:high].astype(float)
    if not inside.any():
        return np.inf
    clipped = inside.copy()
    clipped[0] += counts[:low].sum()
    clipped[-1] += counts[high:].sum()
    middles = [Fraction(2 * int(bin_ - zero) + 1, 2) for bin_ in range(low, high)]
    codes = [math.floor(middle / step + Fraction(1, 2)) + code_of_zero for middle in middles]
    level = np.clip(codes, 0, 255)
    known = np.zeros_like(inside)
    for one in range(256):
        bins = (level == one) & (clipped > 0)
        if bins.any():
            known[bins] = max(inside[level == one].sum() / bins.sum(), 1e-4)
    filled = clipped > 0
    p, q = clipped / clipped.sum(), known / inside.sum()
    return np.sum(p[filled] * np.log(p[filled] / q[filled]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_divergence_is_that_of_its_definition(kind):
    histogram = tensor(drawn(kind)).histogram
    zero, last = -histogram.first, len(histogram.counts)
    rng = np.random.default_rng(0)
    low, high = rng.integers(0, zero + 1, 40), rng.integers(zero, last + 1, 40)
    wide = high - low >= 256
    low, high = low[wide], high[wide]
    assert len(low) >= 10
    found = _Divergence(histogram).of(low, high) / histogram.total
    expected = [divergence(histogram.counts, zero, *ends) for ends in zip(low, high, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_entropy_range_diverges_no_more_than_minmax_and_random_ranges(kind):
    one = tensor(drawn(kind))
    histogram = one.histogram
    low, high = entropy_range(one)
    begin, end = (
        np.searchsorted(histogram.edges, low),
        np.searchsorted(histogram.edges, high, "right"),
    )
    rng = np.random.default_rng(1)
    zero, last = -histogram.first, len(histogram.counts)
    low = np.append(rng.integers(0, zero + 1, 60), 0)
    high = np.append(rng.integers(zero, last + 1, 60), last)
    wide = high - low >= 256
    of = _Divergence(histogram).of
    (found,) = of(np.array([begin]), np.array([end - 1]))
    assert found <= of(low[wide], high[wide]).min() + 0.001 * histogram.total


def test_entropy_clips_an_outlier_and_keeps_what_is_even():
    low, high = entropy_range(tensor(drawn("outlier")))
    assert (low > -10, high < 20) == (True, True)
    assert entropy_range(tensor(np.linspace(-1, 1, 100_000))) == (-1, 1)


# All of a set -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", EVERY_METHOD)
def test_ranges_are_by_name_in_the_order_of_the_statistics(method):
    rng = np.random.default_rng(0)
    crop = [rng.standard_normal((1, 2, 8, 8)).astype(np.float32) for _ in range(2)]
    found = ranges(statistics_of([crop], names=("z", "a")), method)
    assert list(found) == ["z", "a"]


@pytest.mark.parametrize(
    "method", ["", "max", "percentile", "percentile-", "percentile-50", "percentile-101",
               "percentile-nan", "mse-3", "percentile-x"]
)  # fmt: skip
def test_a_method_that_does_not_exist_is_named(method):
    with pytest.raises(UsageError, match=f"no range method '{method}'"):
        range_method(method)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_two_hundred_tensors_take_two_seconds_of_the_processor(method):
    one = tensor(drawn("heavy"))
    of_one = range_method(method)
    began_s = time.process_time()
    for _ in range(200):
        of_one(one)
    assert time.process_time() - began_s < 2
