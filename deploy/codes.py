"""Values as integer codes: the arithmetic of quantization, without any graph.

For a scale s and a zero point z, a value x has the code

    q = clip(round_half_even(x / s) + z, least code, greatest code)        x' = (q - z) * s

Activations: one s and one z a tensor, the range widened to hold 0 so that z stands for it exactly.
Weights: one s per output channel, z = 0, codes from -127 to 127: -128 would have no opposite, and
NNAPI refuses it. Biases: int32 with s = s_input * s_weight, since kernels add them to the products.

Source: https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Range = tuple[float, float]

TYPES: Mapping[str, type[np.integer[Any]]] = {
    "QInt8": np.int8,
    "QUInt8": np.uint8,
    "QUInt16": np.uint16,
}
MAX_WEIGHT_CODE = 127
MAX_BIAS_CODE = 2**30  # half of int32: the other half is for the sum that is added to it
MIN_SCALE = 2.0**-60  # the product of two is still a normal float32


@dataclass(frozen=True)
class Parameters:
    """How one tensor's values become codes.

    Attributes:
        scale: scalar float32 array.
        zero_point: scalar array of the codes' type.
    """

    scale: np.ndarray
    zero_point: np.ndarray


def activation_parameters(limits: Range, activations: str) -> Parameters:
    """Give the parameters of a range, widened to hold 0; a range of zeros alone gets scale 1.

    Args:
        activations: a key of TYPES.
    """
    codes = np.iinfo(TYPES[activations])
    least, greatest = min(limits[0], 0.0), max(limits[1], 0.0)
    if least == greatest:
        scale = np.float32(1)
    else:
        scale = np.float32(max((greatest - least) / (codes.max - codes.min), MIN_SCALE))
    zero_point = np.clip(np.rint(codes.min - least / float(scale)), codes.min, codes.max)
    return Parameters(np.array(scale), np.array(zero_point, codes.dtype))


def to_codes(values: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Give the code of each value, in the type of the zero point."""
    codes = np.iinfo(parameters.zero_point.dtype)
    scaled = np.rint(values / parameters.scale.astype(np.float64))
    shifted = scaled + float(parameters.zero_point)
    return shifted.clip(codes.min, codes.max).astype(codes.dtype)


def weight_scales(
    weight: np.ndarray, bias: np.ndarray | None, input_scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give the scale of each output channel: that of its largest weight, or of its bias.

    Args:
        weight: (O, I, H, W).
        bias: (O,).
        input_scale: scalar.

    Returns:
        (O,) float32: the least with |w| <= 127 scales and |b| <= 2^30 * input_scale * scale; and
        (O,) bool: where the bias made it larger than the weights alone would.
    """
    for_weight = np.abs(weight.astype(np.float64)).max(axis=(1, 2, 3)) / MAX_WEIGHT_CODE
    for_bias = np.zeros(len(weight))
    if bias is not None:
        for_bias = np.abs(bias.astype(np.float64)) / (MAX_BIAS_CODE * float(input_scale))
    scales = np.maximum(for_weight, for_bias)
    scales[scales == 0] = 1
    widened = (for_bias > for_weight) & (for_weight > 0)
    return np.maximum(scales, MIN_SCALE).astype(np.float32), widened


def weight_codes(weight: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Give int8 codes of (O, I, H, W) weights, from -127 to 127."""
    scaled = np.rint(weight / scales.astype(np.float64)[:, None, None, None])
    return scaled.clip(-MAX_WEIGHT_CODE, MAX_WEIGHT_CODE).astype(np.int8)


def bias_codes(bias: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Give int32 codes of (O,) biases; `scales` are those of the products."""
    return np.rint(bias / scales.astype(np.float64)).astype(np.int32)
