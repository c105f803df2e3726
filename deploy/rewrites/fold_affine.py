"""Constant scales and shifts of channels -> into the weights of a convolution beside them.

For a convolution y = W * x + b and constants s, t of one value a channel:

    after it:   s y + t        = (s W) * x + (s b + t)               W scaled by output channel
    before it:  W * (s x + t)  = (W s) * x + (b + sum_j W_j t_j)     W scaled by input channel

A shift before it needs a convolution without padding, whose zeros are put around s x + t; a scale
before it does not, as s 0 = 0. Computed in float64 and rounded once.

NAFNet's beta and gamma are such scales, BatchNormalization is both, and so is the affine of a
normalization that convolutions read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deploy.rewrites.building import Convolution, add_constant, read_conv
from deploy.rewrites.matching import constant_beside, constant_of, is_op, per_channel, sole_user
from deploy.rewrites.outcome import Outcome

BATCH_NORM_EPS = 1e-5  # of BatchNormalization, where it does not say


@dataclass(frozen=True)
class _Affine:
    """output = scale * image + shift, each (C,) float64, of images (N, C, H, W)."""

    image: ir.Value
    scale: np.ndarray
    shift: np.ndarray

    @property
    def is_single_number(self) -> bool:
        """Whether all channels are treated alike: such constants are parts of other formulas."""
        return bool(np.ptp(self.scale) == 0 and np.ptp(self.shift) == 0)


def fold_affines(model: ir.Model) -> Outcome:
    """Fold in place: into the convolution before, where nothing else reads it, else after."""
    outcome = Outcome()
    folded = True
    while folded:  # folding one may bring the next beside a convolution
        folded = False
        for node in list(model.graph):
            affine = _read_affine(node)
            if affine is None or not _fold(model.graph, node, affine):
                continue
            outcome.applied.append(node.name or "")
            folded = True
    for node in model.graph:
        affine = _read_affine(node)
        if affine is not None and not affine.is_single_number:
            outcome.skipped[node.name or ""] = _why_not(node, affine)
    return outcome


def conv_readers(
    value: ir.Value, *, shifted: bool = False, mixed: bool = False
) -> list[Convolution] | str:
    """Give the convolutions that alone read a value and can take its affine, or why there are none.

    Args:
        shifted: the affine has a shift.
        mixed: it mixes the channels.
    """
    users = [use.node for use in value.uses()]
    if value.is_graph_output() or not users:
        return "it is an output of the graph"
    found = []
    for user in users:
        conv = read_conv(user)
        if conv is None or user.inputs[0] is not value:
            return f"{user.op_type} {user.name} reads it, no convolution of constant weights"
        if shifted and any(conv.pads):
            return f"Conv {user.name} reads it and pads with zeros, which the shift would not reach"
        if mixed and conv.group != 1:
            return f"Conv {user.name} reads it and has groups, which mixed channels would cross"
        found.append(conv)
    return found


def scale_inputs(
    graph: ir.Graph, convs: Sequence[Convolution], scale: np.ndarray, shift: np.ndarray
) -> None:
    """Let convolutions read x where they read scale x + shift, both (C,); see `conv_readers`."""
    for conv in convs:
        weight = _by_group(conv)
        scaled = weight * scale.astype(np.float64).reshape(conv.group, 1, -1, 1)
        _set_inputs(graph, conv, scaled, weight, shift)


def mix_inputs(
    graph: ir.Graph, convs: Sequence[Convolution], matrix: np.ndarray, shift: np.ndarray
) -> None:
    """Let convolutions read x where they read matrix x + shift, (C, C) and (C,), all channels."""
    for conv in convs:
        weight = _by_group(conv)
        mixed = np.einsum("goik,ij->gojk", weight, matrix.astype(np.float64))
        _set_inputs(graph, conv, mixed, weight, shift)


def _by_group(conv: Convolution) -> np.ndarray:
    """Give the weights as (groups, outputs and inputs of each, pixels of the kernel), float64."""
    outputs, inputs = conv.weight.shape[:2]
    shape = (conv.group, outputs // conv.group, inputs, -1)
    return conv.weight.astype(np.float64).reshape(shape)


def _set_inputs(
    graph: ir.Graph, conv: Convolution, changed: np.ndarray, weight: np.ndarray, shift: np.ndarray
) -> None:
    moved = weight * shift.astype(np.float64).reshape(conv.group, 1, -1, 1)
    bias = moved.sum(axis=(2, 3)).reshape(-1) + (0 if conv.bias is None else conv.bias)
    has_bias = conv.bias is not None or bias.any()
    _set_weights(graph, conv, changed.reshape(conv.weight.shape), bias if has_bias else None)


def _fold_into_outputs(
    graph: ir.Graph, conv: Convolution, scale: np.ndarray, shift: np.ndarray
) -> None:
    weight = conv.weight.astype(np.float64) * scale.reshape(-1, 1, 1, 1)
    bias = shift if conv.bias is None else scale * conv.bias + shift
    _set_weights(graph, conv, weight, None if conv.bias is None and not bias.any() else bias)


def _set_weights(
    graph: ir.Graph, conv: Convolution, weight: np.ndarray, bias: np.ndarray | None
) -> None:
    """Give a Conv in the graph weights of the same shape; the old ones stay for other readers."""
    node = conv.node
    arrays = [weight] if bias is None else [weight, bias]
    node.resize_inputs(1 + len(arrays))
    for place, (part, array) in enumerate(zip(("weight", "bias"), arrays, strict=False), start=1):
        name = f"{node.name}_folded.{part}"
        tensor = ir.tensor(array.astype(conv.weight.dtype), name=name)
        value = graph.initializers.get(name)
        if value is None:
            value = add_constant(graph, name, tensor.numpy())
        value.const_value = tensor
        node.replace_input_with(place, value)


def _read_affine(node: ir.Node) -> _Affine | None:
    if is_op(node, "BatchNormalization"):
        return _read_batch_norm(node)
    parts = constant_beside(node) if _is_binary(node) else None
    if parts is None:
        return None
    image, constant = parts
    channels = _channels(image)
    values = None if channels is None else per_channel(constant, channels)
    if values is None or not np.issubdtype(values.dtype, np.floating):
        return None
    values = values.astype(np.float64)
    scale, shift = np.ones_like(values), np.zeros_like(values)
    image_first = node.inputs[0] is image
    match node.op_type:
        case "Mul":
            scale = values
        case "Add":
            shift = values
        case "Sub":
            scale, shift = (scale, -values) if image_first else (-scale, values)
        case "Div" if image_first and values.all():
            scale = 1 / values
        case _:
            return None
    return _Affine(image, scale, shift)


def _is_binary(node: ir.Node) -> bool:
    return any(is_op(node, op_type) for op_type in ("Mul", "Add", "Sub", "Div"))


def _read_batch_norm(node: ir.Node) -> _Affine | None:
    constants = [constant_of(value) for value in node.inputs[1:]]
    image = node.inputs[0]
    trains = node.attributes.get_int("training_mode", 0) != 0
    if image is None or trains or _channels(image) is None or any(one is None for one in constants):
        return None
    weight, bias, mean, variance = (np.asarray(one, np.float64) for one in constants)
    scale = weight / np.sqrt(variance + node.attributes.get_float("epsilon", BATCH_NORM_EPS))
    return _Affine(image, scale, bias - scale * mean)


def _channels(image: ir.Value) -> int | None:
    shape = image.shape
    if shape is None or len(shape) != 4 or not isinstance(shape[1], int):
        return None
    return shape[1]


def _fold(graph: ir.Graph, node: ir.Node, affine: _Affine) -> bool:
    conv = _conv_before(affine)
    readers = conv_readers(node.outputs[0], shifted=bool(affine.shift.any()))
    if conv is not None:
        _fold_into_outputs(graph, conv, affine.scale, affine.shift)
    elif not isinstance(readers, str):
        scale_inputs(graph, readers, affine.scale, affine.shift)
    else:
        return False
    _take_out(graph, node, affine.image)
    return True


def _conv_before(affine: _Affine) -> Convolution | None:
    conv = read_conv(affine.image.producer())
    return conv if conv is not None and sole_user(affine.image) is not None else None


def _take_out(graph: ir.Graph, node: ir.Node, image: ir.Value) -> None:
    """Let what reads a node read its input; a graph output keeps its name."""
    output = node.outputs[0]
    if output.is_graph_output():
        image.name, output.name = output.name, f"{output.name}_before"
    output.replace_all_uses_with(image, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _why_not(node: ir.Node, affine: _Affine) -> str:
    maker = affine.image.producer()
    before = "the graph's input" if maker is None else f"{maker.op_type} {maker.name}"
    readers = conv_readers(node.outputs[0], shifted=bool(affine.shift.any()))
    if read_conv(maker) is not None:
        before += ", which has other readers"
    return f"before it is {before}; after it, {readers}"
