"""LayerNorm2d in primitive operators -> Transpose, LayerNormalization, Transpose.

With m = mean(x, C) and v = mean((x - m)^2, C), over channels at each pixel,

    (x - m) / sqrt(v + eps) * w + b = LayerNormalization(x, w, b, axis=C, epsilon=eps)

once C is the last axis: the same formula, in one kernel that reads x once. The two transposes
around it vanish next to int8 convolutions, which run channels-last anyway.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deploy.rewrites.matching import (
    constant_beside,
    constant_ints,
    constant_of,
    is_op,
    maker,
    replace_value,
    sole_user,
)
from deploy.rewrites.outcome import Outcome

LAYER_NORMALIZATION_OPSET = 17
CHANNELS_LAST, CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


@dataclass(frozen=True)
class _Match:
    last: ir.Node  # the node whose output the rewrite gives
    image: ir.Value  # (N, C, H, W)
    eps: float
    weight: np.ndarray  # (C,)
    bias: np.ndarray  # (C,)


def use_fused_layer_norm(model: ir.Model) -> Outcome:
    """Rewrite every LayerNorm2d in place. Needs opset 17."""
    outcome = Outcome()
    if model.opset_imports.get("", 0) < LAYER_NORMALIZATION_OPSET:
        return outcome
    matches = [found for node in model.graph if (found := _match(node))]
    for index, found in enumerate(matches):
        _replace(model.graph, found, f"layer_norm_{index}")
        outcome.applied.append(str(found.last.name))
    return outcome


def _match(divide: ir.Node) -> _Match | None:
    if not is_op(divide, "Div"):
        return None
    image = _centered(divide.inputs[0])
    root = maker(divide.inputs[1], "Sqrt")
    shifted = maker(root.inputs[0], "Add") if root else None
    parts = constant_beside(shifted) if shifted else None
    if image is None or parts is None or parts[1].size != 1 or not _is_variance(parts[0], image):
        return None
    if image.shape is None or not isinstance(image.shape[1], int):
        return None
    channels = image.shape[1]
    last, weight = _affine(divide, "Mul", channels, np.ones(channels, np.float32))
    last, bias = _affine(last, "Add", channels, np.zeros(channels, np.float32))
    return _Match(last, image, float(parts[1].reshape(())), weight, bias)


def _centered(value: ir.Value | None) -> ir.Value | None:
    """Give x where value = x - mean(x, axis 1)."""
    subtract = maker(value, "Sub")
    if subtract is None or subtract.inputs[0] is None:
        return None
    image = subtract.inputs[0]
    return image if _channel_mean_of(subtract.inputs[1]) is image else None


def _channel_mean_of(value: ir.Value | None) -> ir.Value | None:
    """Give x where value = mean(x, axis 1, keepdims)."""
    mean = maker(value, "ReduceMean")
    if mean is None or mean.attributes.get_int("keepdims", 1) != 1:
        return None
    if len(mean.inputs) > 1:
        axes = constant_ints(mean.inputs[1])
    else:
        axes = list(mean.attributes.get_ints("axes", []))
    return mean.inputs[0] if axes in ([1], [-3]) else None


def _is_variance(value: ir.Value, image: ir.Value) -> bool:
    """Say whether value = mean((x - mean(x))^2, axis 1), squared by Pow or by Mul."""
    squared = _channel_mean_of(value)
    node = squared.producer() if squared is not None else None
    if node is not None and is_op(node, "Pow"):
        exponent = constant_of(node.inputs[1])
        is_two = exponent is not None and exponent.size == 1 and float(exponent.reshape(())) == 2
        return is_two and _centered(node.inputs[0]) is image
    if node is not None and is_op(node, "Mul"):
        return _centered(node.inputs[0]) is image and _centered(node.inputs[1]) is image
    return False


def _affine(
    node: ir.Node, op_type: str, channels: int, neutral: np.ndarray
) -> tuple[ir.Node, np.ndarray]:
    """Give the per-channel Mul or Add that alone reads a node, else the node and neutral values."""
    user = sole_user(node.outputs[0])
    parts = constant_beside(user) if user is not None and is_op(user, op_type) else None
    if user is None or parts is None or not _is_per_channel(parts[1], channels):
        return node, neutral
    return user, np.ascontiguousarray(np.broadcast_to(parts[1].reshape(-1), (channels,)))


def _is_per_channel(array: np.ndarray, channels: int) -> bool:
    full = (1,) * (4 - array.ndim) + array.shape
    return array.ndim <= 4 and full in ((1, channels, 1, 1), (1, 1, 1, 1))


def _replace(graph: ir.Graph, found: _Match, name: str) -> None:
    scale, bias = (
        ir.Value(name=f"{name}.{part}", const_value=ir.tensor(array.astype(np.float32)))
        for part, array in (("weight", found.weight), ("bias", found.bias))
    )
    for value in (scale, bias):
        value.shape, value.dtype = value.const_value.shape, value.const_value.dtype  # type: ignore
        graph.register_initializer(value)
    to_last = ir.node("Transpose", [found.image], {"perm": CHANNELS_LAST}, name=f"{name}_to_last")
    normalize = ir.node(
        "LayerNormalization",
        [to_last.outputs[0], scale, bias],
        {"axis": -1, "epsilon": found.eps},
        name=name,
    )
    to_first = ir.node(
        "Transpose", [normalize.outputs[0]], {"perm": CHANNELS_FIRST}, name=f"{name}_to_first"
    )
    for index, node in enumerate((to_last, normalize, to_first)):
        node.outputs[0].name = f"{name}_{index}"
    replace_value(graph, found.last, [to_last, normalize, to_first])
