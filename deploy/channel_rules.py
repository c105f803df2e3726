"""What each operator ties: one rule a kind of operator.

The algebra is in `deploy.channel_scales`. Operators that only move values move their labels, in
ONNX's reference implementation, so a shuffle in any form needs no rule of its own.
"""

from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from deploy.channel_ties import ONE, Divided, Linear, Ties, is_constant, static_shape
from deploy.rewrites.matching import constant_of

# positively homogeneous, value by value: f(x / s) = f(x) / s
ELEMENTWISE = ("Relu", "LeakyRelu", "PRelu", "Abs", "Neg", "Identity", "Dropout")

# linear, or a maximum, over pixels of one channel
SPATIAL = ("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Pad")

# the same values in another place
MOVING = (
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "Reshape",
    "Slice",
    "SpaceToDepth",
    "Squeeze",
    "Tile",
    "Unsqueeze",
)


DEFAULT_OPSET = 18

Rule = Callable[[Ties, ir.Node], bool]


def follow(model: ir.Model) -> Ties:
    """Label every tensor of a graph with static shapes. The graph is not changed."""
    ties = Ties()
    for value in model.graph.inputs:
        _keep(ties, value)
    for node in model.graph:
        if not _follow_node(ties, node):
            for one in _held_by(ties, node):
                ties.pin(one)
        for output in node.outputs:
            _keep(ties, output)
    for value in model.graph.outputs:
        ties.pin(value)
    return ties


def _follow_node(ties: Ties, node: ir.Node) -> bool:
    """Apply a node's rule; False where there is none, or it does not hold."""
    rule = _RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    values = [one for one in (*node.inputs, *node.outputs) if one is not None]
    known = all(static_shape(one) is not None for one in values if not is_constant(one))
    return rule is not None and known and bool(_computed(ties, node)) and rule(ties, node)


def _held_by(ties: Ties, node: ir.Node) -> list[ir.Value]:
    """Give what a node reads; all tensors where a graph inside it may read any."""
    if any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values()):
        return list(ties.labels)
    return [one for one in node.inputs if one is not None]


def _keep(ties: Ties, value: ir.Value) -> None:
    """Label a tensor that no rule labelled as one that keeps its scale."""
    shape = static_shape(value)
    if value not in ties.labels and shape is not None:
        ties.labels[value] = np.full((1,) * len(shape), ONE)


def _computed(ties: Ties, node: ir.Node) -> list[ir.Value]:
    return [one for one in node.inputs if one is not None and one in ties.labels]


def _convolution(ties: Ties, node: ir.Node) -> bool:
    image, constants = node.inputs[0], node.inputs[1:]
    if image is None or not all(one is None or is_constant(one) for one in constants):
        return False
    shape = static_shape(node.outputs[0])
    assert shape is not None
    outputs = ties.fresh((shape[1],))
    ties.linears.append(Linear(node, ties.along(image, 1), outputs))
    ties.give(node.outputs[0], outputs.reshape(1, -1, *[1] * (len(shape) - 2)))
    return True


def _elementwise(ties: Ties, node: ir.Node) -> bool:
    computed = _computed(ties, node)
    if len(computed) != 1:  # a slope that is computed
        return False
    for output in node.outputs:
        ties.give(output, ties.labels[computed[0]])
    return True


def _clip(ties: Ties, node: ir.Node) -> bool:
    """max(x, 0) only: another bound would have to be divided along."""
    least, greatest = (*node.inputs[1:], None, None)[:2]
    array = constant_of(least)
    is_relu = array is not None and float(array.reshape(())) == 0 and greatest is None
    return is_relu and _elementwise(ties, node)


def _spatial(ties: Ties, node: ir.Node) -> bool:
    (image, *others), shape = _computed(ties, node), static_shape(node.outputs[0])
    assert shape is not None
    is_spatial = not others and static_shape(image)[:2] == shape[:2]  # type: ignore[index]
    if not is_spatial or (node.op_type == "Pad" and not _pads_zero(node)):
        return False
    channels = ties.along(image, 1).reshape(1, -1, *[1] * (len(shape) - 2))
    ties.give(node.outputs[0], channels)
    return len(node.outputs) == 1  # MaxPool's second output is no image


def _pads_zero(node: ir.Node) -> bool:
    value = node.inputs[2] if len(node.inputs) > 2 else None
    array = constant_of(value)
    return value is None or (array is not None and not array.any())


def _reduce(ties: Ties, node: ir.Node) -> bool:
    (image, *others), shape = _computed(ties, node), static_shape(node.outputs[0])
    whole = static_shape(image)
    if others or shape is None or whole is None or len(shape) != len(whole):
        return False
    labels = ties.labels[image]
    for axis, (before, after) in enumerate(zip(whole, shape, strict=True)):
        if before != after:
            first = labels.take([0], axis)
            ties.tie(labels, first)
            labels = first
    ties.give(node.outputs[0], labels)
    return True


def _sum(ties: Ties, node: ir.Node) -> bool:
    computed = _computed(ties, node)
    if len(computed) + sum(map(is_constant, node.inputs)) != len(node.inputs):
        return False
    arrays = [_ranked(ties.labels[one], node.outputs[0]) for one in computed]
    total = arrays[0]
    for other in arrays[1:]:
        ties.tie(total, other)
        total = np.broadcast_arrays(total, other)[0]
    ties.give(node.outputs[0], total)
    for index, one in enumerate(node.inputs):
        if is_constant(one):
            ties.divided.append(Divided(node, index, total))
    return True


def _product(ties: Ties, node: ir.Node) -> bool:
    computed = _computed(ties, node)
    if len(computed) == 1 and sum(map(is_constant, node.inputs)) == 1:
        if node.op_type == "Div" and node.inputs[0] is not computed[0]:
            return False
        ties.give(node.outputs[0], _ranked(ties.labels[computed[0]], node.outputs[0]))
        return True
    if len(computed) != 2:
        return False
    arrays = [_ranked(ties.labels[one], node.outputs[0]) for one in computed]
    first, second = np.broadcast_arrays(*arrays)
    made = ties.fresh(first.shape)
    terms = (made, first, second) if node.op_type == "Mul" else (first, made, second)
    ties.products.append(np.stack([one.reshape(-1) for one in terms], axis=1))
    ties.give(node.outputs[0], made)
    return True


def _ranked(labels: np.ndarray, output: ir.Value) -> np.ndarray:
    """Give labels with the axes in front that broadcasting adds."""
    shape = static_shape(output)
    assert shape is not None
    return labels.reshape((1,) * (len(shape) - labels.ndim) + labels.shape)


def _transpose(ties: Ties, node: ir.Node) -> bool:
    (value,) = _computed(ties, node)
    labels = ties.labels[value]
    order = node.attributes.get_ints("perm", list(range(labels.ndim))[::-1])
    ties.give(node.outputs[0], labels.transpose(order))
    return True


def _split(ties: Ties, node: ir.Node) -> bool:
    (value,) = _computed(ties, node)
    axis = node.attributes.get_int("axis", 0)
    whole, labels = static_shape(value), ties.labels[value]
    assert whole is not None
    axis %= len(whole)
    labels = np.broadcast_to(labels, (*labels.shape[:axis], whole[axis], *labels.shape[axis + 1 :]))
    sizes = [static_shape(output)[axis] for output in node.outputs]  # type: ignore[index]
    for output, part in zip(
        node.outputs, np.split(labels, np.cumsum(sizes)[:-1], axis), strict=True
    ):
        ties.give(output, part)
    return True


def _concat(ties: Ties, node: ir.Node) -> bool:
    if len(_computed(ties, node)) != len(node.inputs):
        return False
    parts = [
        np.broadcast_to(ties.labels[one], static_shape(one))  # type: ignore[index, arg-type]
        for one in node.inputs
    ]
    axis = node.attributes.get_int("axis", 0)
    ties.give(node.outputs[0], np.concatenate(parts, axis))
    return True


def _move(ties: Ties, node: ir.Node) -> bool:
    """Let the operator itself move labels, in ONNX's reference implementation."""
    value, *others = node.inputs
    named = [one for one in others if one is not None]  # what is left out takes no array
    arrays = [constant_of(one) for one in named]
    if value not in ties.labels or any(array is None for array in arrays):
        return False
    assert value is not None and node.graph is not None
    labels = np.broadcast_to(ties.labels[value], static_shape(value) or ())
    names = [str(one.name) for one in (value, *named)]
    graph = onnx.helper.make_graph(
        [ir.to_proto(node)],
        "move",
        [onnx.ValueInfoProto(name=name) for name in names],
        [onnx.ValueInfoProto(name=node.outputs[0].name)],
    )
    opset = onnx.helper.make_opsetid("", node.graph.opset_imports.get("", DEFAULT_OPSET))
    mover = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=[opset]))
    (moved,) = mover.run(None, dict(zip(names, [labels, *arrays], strict=True)))
    ties.give(node.outputs[0], np.asarray(moved))
    return True


def _layer_normalization(ties: Ties, node: ir.Node) -> bool:
    value, *affine = node.inputs
    shape = static_shape(node.outputs[0])
    if shape is None or len(node.outputs) != 1 or not all(map(is_constant, affine)):
        return False
    if node.attributes.get_int("axis", -1) % len(shape) != len(shape) - 1:
        return False
    ties.pin(value)
    made = ties.fresh((shape[-1],))
    ties.divided.extend(Divided(node, index, made) for index in range(1, len(node.inputs)))
    ties.give(node.outputs[0], made.reshape((1,) * (len(shape) - 1) + (-1,)))
    return True


# each says whether it could follow the node; if not, what the node reads and makes has s = 1
_RULES: dict[str, Rule] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Clip": _clip,
    "Add": _sum,
    "Sub": _sum,
    "Max": _sum,
    "Min": _sum,
    "Mul": _product,
    "Div": _product,
    "Split": _split,
    "Concat": _concat,
    "Transpose": _transpose,
    "LayerNormalization": _layer_normalization,
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax"), _reduce),
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(SPATIAL, _spatial),
    **dict.fromkeys(MOVING, _move),
}
