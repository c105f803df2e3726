import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calib.degrade import Degradation, degrade, motion_kernel

NOTHING = Degradation(noise_sigma=0, max_blur_px=0)
LENGTHS = st.floats(0, 30, allow_nan=False)
ANGLES = st.floats(-math.pi, math.pi, allow_nan=False)


@pytest.fixture
def sharp():
    """(96, 96, 3) float32 on the 8-bit grid, far enough from 0 and 1 that noise is not clipped."""
    levels = np.random.default_rng(7).integers(100, 156, (96, 96, 3))
    return levels.astype(np.float32) / np.float32(255)


@given(LENGTHS, ANGLES)
def test_a_kernel_sums_to_one(length, angle):
    assert motion_kernel(length, angle).sum() == pytest.approx(1, abs=1e-5)


@given(LENGTHS, ANGLES)
def test_a_kernel_is_never_negative(length, angle):
    assert motion_kernel(length, angle).min() >= 0


@given(LENGTHS, ANGLES)
def test_a_kernel_is_square_with_a_middle(length, angle):
    height, width = motion_kernel(length, angle).shape
    assert height == width
    assert height % 2 == 1


@given(LENGTHS, ANGLES)
def test_a_kernel_does_not_shift_the_image(length, angle):
    kernel = motion_kernel(length, angle)
    steps = np.arange(len(kernel)) - len(kernel) // 2
    assert (kernel.sum(axis=0) * steps).sum() == pytest.approx(0, abs=1e-3)
    assert (kernel.sum(axis=1) * steps).sum() == pytest.approx(0, abs=1e-3)


def test_a_longer_motion_spreads_further():
    spread = [np.count_nonzero(motion_kernel(length, 0)) for length in (0, 3, 9)]
    assert spread == sorted(set(spread))


def test_without_noise_and_blur_the_image_stays_itself(sharp):
    degraded = degrade(sharp, np.random.default_rng(0), NOTHING)
    np.testing.assert_array_equal(degraded, sharp)


def test_the_same_seed_gives_the_same_image(sharp):
    first, again = (degrade(sharp, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_another_seed_gives_another_image(sharp):
    first, other = (degrade(sharp, np.random.default_rng(seed)) for seed in (3, 4))
    assert not np.array_equal(first, other)


def test_values_stand_on_the_8_bit_grid(sharp):
    levels = degrade(sharp, np.random.default_rng(0)) * 255
    np.testing.assert_allclose(levels, levels.round(), atol=1e-4)


def test_values_stay_in_the_unit_range_however_strong_the_noise(sharp):
    degraded = degrade(sharp, np.random.default_rng(0), Degradation(noise_sigma=400))
    assert degraded.min() == 0
    assert degraded.max() == 1


def test_the_mean_is_preserved(sharp):
    degraded = degrade(sharp, np.random.default_rng(0))
    # The mean of 96 * 96 * 3 values with 25 levels of noise strays by 0.0006 (one sigma)
    assert degraded.mean() == pytest.approx(sharp.mean(), abs=0.004)


def test_the_noise_is_as_strong_as_asked(sharp):
    how = Degradation(noise_sigma=10, max_blur_px=0)
    noise = degrade(sharp, np.random.default_rng(0), how) - sharp
    assert noise.std() * 255 == pytest.approx(10, rel=0.03)


def test_blur_alone_lowers_the_contrast(sharp):
    how = Degradation(noise_sigma=0, max_blur_px=9)
    assert degrade(sharp, np.random.default_rng(0), how).std() < sharp.std()
