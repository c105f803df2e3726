import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deploy.codes import (
    MAX_BIAS_CODE,
    TYPES,
    Parameters,
    activation_parameters,
    bias_codes,
    to_codes,
    weight_codes,
    weight_scales,
)

finite = st.floats(-1e6, 1e6, width=32)
ranges = st.tuples(finite, finite).map(sorted).map(tuple)
kinds = st.sampled_from(sorted(TYPES))


def real(codes: np.ndarray, parameters: Parameters) -> np.ndarray:
    return (codes.astype(np.float64) - parameters.zero_point) * float(parameters.scale)


@given(ranges, kinds)
def test_zero_has_a_code_of_its_own(limits, kind):
    parameters = activation_parameters(limits, kind)
    assert real(to_codes(np.zeros(1), parameters), parameters) == 0


@given(ranges, kinds, st.floats(0, 1))
def test_a_value_within_the_range_is_off_by_one_step_at_most(limits, kind, part):
    parameters = activation_parameters(limits, kind)
    value = np.array([limits[0] + part * (limits[1] - limits[0])])
    step = float(parameters.scale)
    assert abs(real(to_codes(value, parameters), parameters) - value) <= step * 1.001


@given(ranges, kinds, finite)
def test_a_value_outside_has_the_nearest_end_s_code(limits, kind, value):
    assume(max(limits[1], 0) - min(limits[0], 0) > 1e-6)
    parameters = activation_parameters(limits, kind)
    code = to_codes(np.array(value), parameters)
    if value <= min(limits[0], 0):
        assert code <= np.iinfo(TYPES[kind]).min + 1
    if value >= max(limits[1], 0):
        assert code >= np.iinfo(TYPES[kind]).max - 1


@pytest.mark.parametrize(("kind", "first"), [("QUInt8", 0), ("QInt8", -128)])
def test_an_8_bit_image_loses_nothing(kind, first):
    pixels = (np.arange(256) / 255).astype(np.float32)
    parameters = activation_parameters((0.0, 1.0), kind)
    codes = to_codes(pixels, parameters)
    assert codes.tolist() == list(range(first, first + 256))
    np.testing.assert_allclose(real(codes, parameters), pixels, rtol=1e-6)


def test_halves_round_to_even():
    parameters = Parameters(np.array(2, np.float32), np.array(0, np.int8))
    assert to_codes(np.array([1.0, 3.0, 5.0, -1.0]), parameters).tolist() == [0, 2, 2, 0]


def test_a_tensor_of_zeros_has_scale_1():
    assert activation_parameters((0.0, 0.0), "QInt8").scale == 1


def test_a_range_too_small_for_float32_products_gets_the_least_scale():
    scale = activation_parameters((0.0, 1e-40), "QUInt8").scale
    assert scale * scale > np.finfo(np.float32).tiny


@given(st.integers(0, 2**32), st.floats(1e-3, 1e3))
def test_weights_are_off_by_half_a_step_at_most_and_symmetric(seed, size):
    weight = np.random.default_rng(seed).normal(0, size, (3, 2, 3, 3)).astype(np.float32)
    scales, widened = weight_scales(weight, None, np.float32(0.1))
    codes = weight_codes(weight, scales)
    assert codes.dtype == np.int8
    assert np.abs(codes.astype(int)).max() == 127
    np.testing.assert_array_equal(weight_codes(-weight, scales), -codes)
    steps = scales[:, None, None, None]
    assert (np.abs(codes * steps - weight) <= steps * 0.501).all()
    assert not widened.any()


@given(st.floats(-1e30, 1e30), st.floats(1e-10, 1e3), st.floats(0, 1e3))
def test_a_bias_leaves_room_for_the_sum_in_32_bits(bias, input_scale, size):
    input_scale = np.float32(input_scale)
    weight, biases = np.full((1, 1, 1, 1), size, np.float32), np.array([bias], np.float32)
    scales, _ = weight_scales(weight, biases, input_scale)
    assert np.abs(bias_codes(biases, scales * input_scale)) <= MAX_BIAS_CODE * 1.001


def test_only_a_bias_too_large_for_its_weights_is_told():
    weight = np.array([1e-9, 1.0, 0.0], np.float32).reshape(3, 1, 1, 1)
    _, widened = weight_scales(weight, np.array([100, 100, 100], np.float32), np.float32(1e-3))
    assert widened.tolist() == [True, False, False]


def test_a_channel_without_weights_keeps_its_bias():
    biases = np.array([0.123], np.float32)
    scales, _ = weight_scales(np.zeros((1, 4, 1, 1), np.float32), biases, np.float32(0.01))
    codes = bias_codes(biases, scales * np.float32(0.01))
    np.testing.assert_allclose(codes * scales * 0.01, biases, rtol=1e-6)


def test_a_channel_without_anything_has_scale_1():
    scales, _ = weight_scales(np.zeros((1, 4, 1, 1)), np.zeros(1), np.float32(0.01))
    assert scales.tolist() == [1]
