"""Finding LayerNorm2d in a graph: over the channels of an image, however an exporter wrote it.

With m = mean(x, C) and v = mean((x - m)^2, C), over the channels at each pixel,

    LN(x) = (x - m) / sqrt(v + eps) * w + b

Written out, the quotient is a Div, or a Mul by a Reciprocal or a power; the square a Pow or a Mul;
w and b may be missing. C is axis 1 of (N, C, H, W), or the last one between two changes of layout:
Transposes, with Reshapes to (N, H W, C) and back where the network works on pixels as tokens.
LayerNormalization is found between such changes too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from deploy.rewrites.building import CHANNELS_FIRST, CHANNELS_LAST
from deploy.rewrites.matching import (
    constant_beside,
    constant_ints,
    constant_of,
    is_op,
    maker,
    per_channel,
    sole_user,
)

TOKENS = (0, 2, 1)  # (N, C, H W) <-> (N, H W, C)
DEFAULT_EPS = 1e-5  # of LayerNormalization, where it does not say


@dataclass(frozen=True)
class LayerNorm:
    """One normalization over the channels of an image.

    Attributes:
        name: of the node that it is known by; stable.
        image: what is normalized, (N, C, H, W).
        last: the node whose output is the result, (N, C, H, W).
        weight: (C,).
        bias: (C,).
        is_fused: it is a LayerNormalization already.
    """

    name: str
    image: ir.Value
    last: ir.Node
    eps: float
    weight: np.ndarray
    bias: np.ndarray
    is_fused: bool

    @property
    def channels(self) -> int:
        """C."""
        return int(self.weight.size)


@dataclass(frozen=True)
class _Core:
    """A normalization over one axis, of a value in whatever layout, without its affine."""

    node: ir.Node
    value: ir.Value
    axis: int  # counted from the end: -1 is the last
    eps: float


def find_layer_norm(node: ir.Node) -> LayerNorm | str | None:
    """Give the LayerNorm2d that a node ends or, for what is none but nearly, the reason why.

    Args:
        node: the LayerNormalization, or the division that ends a written-out one.
    """
    core = _fused_core(node) if is_op(node, "LayerNormalization") else _written_out_core(node)
    if core is None:
        return None
    shape = core.value.shape
    if shape is None or not isinstance(shape[core.axis], int):
        return "the number of its channels is not known"
    if len(shape) == 4 and core.axis == -3:
        return _with_affine(node, core, core.value, channels_last=False)
    image = _image_behind(core.value) if core.axis == -1 else None
    if image is None:
        return "it is not over the channels of an image (N, C, H, W)"
    return _with_affine(node, core, image, channels_last=True)


def _with_affine(
    node: ir.Node, core: _Core, image: ir.Value, *, channels_last: bool
) -> LayerNorm | str | None:
    assert image.shape is not None
    channels = int(image.shape[1])  # type: ignore[arg-type]
    weight, bias = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    is_fused = is_op(node, "LayerNormalization")
    if is_fused:
        scale = constant_of(node.inputs[1])
        shift = constant_of(node.inputs[2]) if len(node.inputs) > 2 else bias
        if scale is None or shift is None or scale.size != channels or shift.size != channels:
            return "its weight or bias is computed, or of another shape"
        weight, bias, last = scale.reshape(-1), shift.reshape(-1), node
    else:
        last, weight = _affine(node, "Mul", weight, core.axis)
        last, bias = _affine(last, "Add", bias, core.axis)
    if channels_last:
        ahead = _image_ahead(last.outputs[0], image)
        if ahead is None:
            return "its output does not go back to (N, C, H, W), or has other readers too"
        last = ahead
    return LayerNorm(str(node.name), image, last, core.eps, weight, bias, is_fused)


def _fused_core(node: ir.Node) -> _Core | None:
    value = node.inputs[0]
    if value is None or value.shape is None or any(one.uses() for one in node.outputs[1:]):
        return None
    axis = node.attributes.get_int("axis", -1)
    from_end = axis if axis < 0 else axis - len(value.shape)
    eps = node.attributes.get_float("epsilon", DEFAULT_EPS)
    return _Core(node, value, from_end, eps)


def _written_out_core(node: ir.Node) -> _Core | None:
    """Match (x - m) / sqrt(v + eps)."""
    for centered, shifted in _quotients(node):
        found = _centered(centered)
        parts = constant_beside(shifted)
        if found is None or parts is None or parts[1].size != 1:
            continue
        value, axis = found
        if _is_variance(parts[0], value, axis):
            return _Core(node, value, axis, float(parts[1].reshape(())))
    return None


def _quotients(node: ir.Node) -> list[tuple[ir.Value, ir.Node]]:
    """Give each (a, Add node s) with node = a / sqrt(s), in any way to write it."""
    pairs: list[tuple[ir.Value, ir.Node]] = []
    if is_op(node, "Div"):
        root = _power_of_sum(node.inputs[1], 0.5)
        if node.inputs[0] is not None and root is not None:
            pairs.append((node.inputs[0], root))
    if is_op(node, "Mul"):
        for value, other in (node.inputs, reversed(node.inputs)):
            inverse = _inverse_root(other)
            if value is not None and inverse is not None:
                pairs.append((value, inverse))
    return pairs


def _inverse_root(value: ir.Value | None) -> ir.Node | None:
    """Give the Add node s where value = 1 / sqrt(s)."""
    reciprocal = maker(value, "Reciprocal")
    if reciprocal is not None:
        return _power_of_sum(reciprocal.inputs[0], 0.5)
    divide = maker(value, "Div")
    if divide is not None and _is_scalar(divide.inputs[0], 1):
        return _power_of_sum(divide.inputs[1], 0.5)
    return _power_of_sum(value, -0.5)


def _power_of_sum(value: ir.Value | None, exponent: float) -> ir.Node | None:
    """Give the Add node s where value = s ** exponent."""
    root = maker(value, "Sqrt") if exponent == 0.5 else None
    if root is not None:
        return maker(root.inputs[0], "Add")
    power = maker(value, "Pow")
    if power is not None and _is_scalar(power.inputs[1], exponent):
        return maker(power.inputs[0], "Add")
    return None


def _is_scalar(value: ir.Value | None, wanted: float) -> bool:
    array = constant_of(value)
    return array is not None and array.size == 1 and float(array.reshape(())) == wanted


def _centered(value: ir.Value | None) -> tuple[ir.Value, int] | None:
    """Give (x, axis) where value = x - mean(x, axis)."""
    subtract = maker(value, "Sub")
    mean = _mean(subtract.inputs[1]) if subtract is not None else None
    if subtract is None or mean is None or mean[0] is not subtract.inputs[0]:
        return None
    return mean


def _mean(value: ir.Value | None) -> tuple[ir.Value, int] | None:
    """Give (x, axis counted from the end) where value = mean(x, that one axis, keepdims)."""
    node = maker(value, "ReduceMean")
    image = node.inputs[0] if node is not None else None
    if node is None or image is None or image.shape is None:
        return None
    if node.attributes.get_int("keepdims", 1) != 1:
        return None
    # axes are an input from opset 18 on, an attribute before
    given = constant_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    axes = given or list(node.attributes.get_ints("axes", ()))
    if len(axes) != 1:
        return None
    return image, axes[0] if axes[0] < 0 else axes[0] - len(image.shape)


def _is_variance(value: ir.Value, image: ir.Value, axis: int) -> bool:
    """Say whether value = mean((x - mean(x))^2) over the axis, squared by Pow or by Mul."""
    mean = _mean(value)
    node = mean[0].producer() if mean is not None else None
    if mean is None or mean[1] != axis or node is None:
        return False
    if is_op(node, "Pow"):
        return _is_scalar(node.inputs[1], 2) and _centered(node.inputs[0]) == (image, axis)
    return is_op(node, "Mul") and all(_centered(one) == (image, axis) for one in node.inputs)


def _affine(node: ir.Node, op_type: str, neutral: np.ndarray, axis: int) -> tuple[ir.Node, Any]:
    """Give the per-channel Mul or Add that alone reads a node, else the node and neutral values."""
    user = sole_user(node.outputs[0])
    parts = constant_beside(user) if user is not None and is_op(user, op_type) else None
    values = per_channel(parts[1], neutral.size, axis) if parts is not None else None
    return (node, neutral) if user is None or values is None else (user, values)


def _image_behind(value: ir.Value) -> ir.Value | None:
    """Give the image (N, C, H, W) that a channels-last value holds in another layout.

    A Reshape that keeps the last axis keeps the order of pixels, however it groups them.
    """
    reshape = maker(value, "Reshape")
    if reshape is not None and _last_axis(reshape.inputs[0]) == _last_axis(value):
        value = _given(reshape.inputs[0])
    transpose = maker(value, "Transpose")
    if transpose is None or transpose.inputs[0] is None:
        return None
    before, perm = transpose.inputs[0], tuple(transpose.attributes.get_ints("perm", ()))
    if perm == CHANNELS_LAST:
        return before
    flatten = maker(before, "Reshape") if perm == TOKENS else None
    image = flatten.inputs[0] if flatten is not None else None
    if image is None or not _keeps_channels(image, before):
        return None
    return image


def _image_ahead(value: ir.Value, image: ir.Value) -> ir.Node | None:
    """Give the node that alone brings a channels-last value back to the shape of the image."""
    user = sole_user(value)
    if is_op(user, "Reshape") and user is not None:
        if _last_axis(user.outputs[0]) != _last_axis(value):
            return None
        user = sole_user(user.outputs[0])
    if user is None or not is_op(user, "Transpose"):
        return None
    perm = tuple(user.attributes.get_ints("perm", ()))
    if perm == TOKENS:
        user = sole_user(user.outputs[0])
    elif perm != CHANNELS_FIRST:
        return None
    if user is None or not is_op(user, "Transpose" if perm == CHANNELS_FIRST else "Reshape"):
        return None
    return user if _same_shape(user.outputs[0], image) else None


def _given(value: ir.Value | None) -> ir.Value:
    assert value is not None
    return value


def _last_axis(value: ir.Value | None) -> int | None:
    """Give the size of the last axis, if it is known."""
    shape = value.shape if value is not None else None
    return shape[-1] if shape and isinstance(shape[-1], int) else None


def _keeps_channels(image: ir.Value, flat: ir.Value) -> bool:
    """Say whether (N, C, H, W) was flattened to (N, C, H W)."""
    before, after = image.shape, flat.shape
    return (
        before is not None
        and after is not None
        and (len(before), len(after)) == (4, 3)
        and before.is_static()
        and tuple(before[:2]) == tuple(after[:2])
    )


def _same_shape(value: ir.Value, other: ir.Value) -> bool:
    """Say whether two shapes are equal; one open size equals another of the same name only."""
    if value.shape is None or other.shape is None or len(value.shape) != len(other.shape):
        return False
    return all(
        a == b and (isinstance(a, int) or a.value is not None)
        for a, b in zip(value.shape, other.shape, strict=True)
    )
