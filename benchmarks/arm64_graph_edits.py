"""Changes to a quantized graph, as one more commit makes them: some make it heavier, some do not.

Each works in place on an ONNX graph in QDQ form, and says what becomes of the output: those that
make it heavier keep the function, so that nothing but a count would show them.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Edit = Callable[[onnx.ModelProto], None]
_TURNED = (0, 1, 3, 2)  # rows for columns
_PREFIX = "net."
_SEED = 11


@dataclass(frozen=True)
class _Conv:
    """A convolution between DequantizeLinear and QuantizeLinear.

    Attributes:
        before: the DequantizeLinear of its image; weight, bias: those of its constants.
        after: the QuantizeLinear of its output.
    """

    node: onnx.NodeProto
    before: onnx.NodeProto
    weight: onnx.NodeProto
    bias: onnx.NodeProto
    after: onnx.NodeProto


class _Graph:
    """A graph by what makes and what reads each tensor."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.proto = model.graph
        self.makers = {name: node for node in self.proto.node for name in node.output}
        self.constants = {one.name: one for one in self.proto.initializer}

    def readers(self, name: str) -> list[onnx.NodeProto]:
        return [node for node in self.proto.node if name in node.input]

    def convolutions(self) -> list[onnx.NodeProto]:
        return [node for node in self.proto.node if node.op_type == "Conv"]

    def first(self) -> _Conv:
        """Give the convolution that reads the image."""
        return self._around(self.convolutions()[0])

    def depthwise(self) -> _Conv:
        """Give the first convolution of as many groups as channels, at full size."""
        convs = self.convolutions()
        return self._around(next(node for node in convs if _attribute(node, "group", 1) > 1))

    def pointwise(self) -> _Conv:
        """Give the 1x1 convolution whose output the first depthwise one reads."""
        quantize = self.makers[self.depthwise().before.input[0]]
        return self._around(self.makers[quantize.input[0]])

    def values(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self.constants[name])

    def exchange(self, name: str, values: np.ndarray) -> None:
        self.constants[name].CopyFrom(numpy_helper.from_array(values, name))

    def add_constant(self, name: str, values: np.ndarray) -> str:
        self.proto.initializer.append(numpy_helper.from_array(values, name))
        return name

    def insert_before(self, node: onnx.NodeProto, new: Iterable[onnx.NodeProto]) -> None:
        place = list(self.proto.node).index(node)
        for offset, one in enumerate(new):
            self.proto.node.insert(place + offset, one)

    def _around(self, node: onnx.NodeProto) -> _Conv:
        before, weight, bias = (self.makers[name] for name in node.input)
        (after,) = self.readers(node.output[0])
        return _Conv(node, before, weight, bias, after)


def without_a_pair(model: onnx.ModelProto) -> None:
    """Leave out Q and DQ between a 1x1 and a depthwise convolution: neither is fused.

    The output rounds once less.
    """
    graph = _Graph(model)
    depthwise, pointwise = graph.depthwise(), graph.pointwise()
    depthwise.node.input[0] = pointwise.node.output[0]
    graph.proto.node.remove(depthwise.before)
    graph.proto.node.remove(pointwise.after)


def wider_first(model: onnx.ModelProto) -> None:
    """Give the first convolution a ring of zeros around its kernel. The output is the same."""
    graph = _Graph(model)
    conv = graph.first()
    codes = graph.values(conv.weight.input[0])
    graph.exchange(conv.weight.input[0], np.pad(codes, ((0, 0), (0, 0), (1, 1), (1, 1))))
    of_weights = (conv.weight.input[0], conv.weight.output[0])
    for stale in [one for one in graph.proto.value_info if one.name in of_weights]:
        graph.proto.value_info.remove(stale)
    _set(conv.node, "kernel_shape", [side + 2 for side in codes.shape[2:]])
    _set(conv.node, "pads", [pad + 1 for pad in _attribute(conv.node, "pads", [0] * 4)])


def depthwise_in_parts(model: onnx.ModelProto) -> None:
    """Split a depthwise convolution of 32 channels into 12 and 20. The output is the same."""
    graph = _Graph(model)
    conv = graph.depthwise()
    channels = _attribute(conv.node, "group", 1)
    bounds = (0, 3 * channels // 8, channels)
    name = conv.node.name
    sizes = graph.add_constant(f"{name}.sizes", np.diff(bounds).astype(np.int64))
    parts = [f"{name}_in_{part}" for part in range(2)]
    new = [helper.make_node("Split", [conv.node.input[0], sizes], parts, f"{name}_split", axis=1)]
    made = []
    for part, (start, stop) in enumerate(pairwise(bounds)):
        image, again = _quantized(parts[part], conv.before)
        nodes = _part(graph, conv, image, slice(start, stop), part)
        made.append(nodes[-1].output[0])
        new += [*again, *nodes]
    new.append(helper.make_node("Concat", made, list(conv.node.output), f"{name}_concat", axis=1))
    graph.insert_before(conv.node, new)
    for one in (conv.node, conv.weight, conv.bias):
        graph.proto.node.remove(one)


def _part(
    graph: _Graph, conv: _Conv, image: str, channels: slice, part: int
) -> list[onnx.NodeProto]:
    """Give the nodes of some channels of a depthwise convolution, with Q and DQ behind."""
    name = f"{conv.node.name}_part_{part}"
    inputs, nodes = [image], []
    for what, constant in (("weight", conv.weight), ("bias", conv.bias)):
        sliced = [
            graph.add_constant(f"{name}_{what}_{place}", graph.values(source)[channels])
            for place, source in enumerate(constant.input)
        ]
        inputs.append(f"{name}_{what}")
        nodes.append(helper.make_node("DequantizeLinear", sliced, inputs[-1:], inputs[-1], axis=0))
    node = onnx.NodeProto()
    node.CopyFrom(conv.node)
    node.name = name
    node.input[:], node.output[:] = inputs, [f"{name}_float"]
    _set(node, "group", channels.stop - channels.start)
    _, again = _quantized(node.output[0], conv.after)
    return [*nodes, node, *again]


def turned_around(model: onnx.ModelProto) -> None:
    """Exchange rows and columns before a 1x1 convolution, and back behind. The output is the same.

    No optimizer takes such a pair out, as it takes out two Transposes that stand together.
    """
    graph = _Graph(model)
    conv = graph.pointwise()
    depthwise = graph.depthwise()
    name = conv.node.name
    turned = helper.make_node("Transpose", [conv.node.input[0]], [f"{name}_turned"], perm=_TURNED)
    image, there = _quantized(turned.output[0], conv.before)
    graph.insert_before(conv.node, [turned, *there])
    conv.node.input[0] = image
    back = helper.make_node("Transpose", [depthwise.node.input[0]], [f"{name}_back"], perm=_TURNED)
    image, again = _quantized(back.output[0], conv.after)
    graph.insert_before(depthwise.node, [back, *again])
    depthwise.node.input[0] = image


def float_island(model: onnx.ModelProto) -> None:
    """Let a depthwise convolution have float weights, of the same values, and a float output.

    Float weights alone are no island, see `float_weights`. The output rounds once less.
    """
    float_weights(model)
    graph = _Graph(model)
    node = next(one for one in graph.convolutions() if _attribute(one, "group", 1) > 1)
    (quantize,) = graph.readers(node.output[0])
    (again,) = graph.readers(quantize.output[0])
    for reader in graph.readers(again.output[0]):
        reader.input[:] = [
            node.output[0] if name == again.output[0] else name for name in reader.input
        ]
    graph.proto.node.remove(quantize)
    graph.proto.node.remove(again)


def float_weights(model: onnx.ModelProto) -> None:
    """Let a depthwise convolution have float weights, of the same values.

    Between DequantizeLinear and QuantizeLinear, ONNX Runtime quantizes them by itself at load, with
    one scale for all channels.
    """
    graph = _Graph(model)
    conv = graph.depthwise()
    for place, constant in ((1, conv.weight), (2, conv.bias)):
        codes, scales, _ = (graph.values(name) for name in constant.input)
        shape = (-1, *[1] * (codes.ndim - 1))
        values = codes.astype(np.float32) * scales.reshape(shape)
        conv.node.input[place] = graph.add_constant(f"{constant.name}_float", values)
        graph.proto.node.remove(constant)


def _quantized(value: str, like: onnx.NodeProto) -> tuple[str, list[onnx.NodeProto]]:
    """Give a value behind Q and DQ of the same scale and zero point as another's, and the two."""
    codes, again = f"{value}_codes", f"{value}_again"
    return again, [
        helper.make_node("QuantizeLinear", [value, *like.input[1:]], [codes], f"{value}_q"),
        helper.make_node("DequantizeLinear", [codes, *like.input[1:]], [again], f"{value}_dq"),
    ]


def renamed(model: onnx.ModelProto) -> None:
    """Put a prefix before every name but the input's and the output's, as a wrapper module does."""
    kept = {one.name for one in (*model.graph.input, *model.graph.output)}

    def new(name: str) -> str:
        return name if not name or name in kept else f"{_PREFIX}{name}"

    for node in model.graph.node:
        node.name = new(node.name)
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
    for one in (*model.graph.initializer, *model.graph.value_info):
        one.name = new(one.name)


def initializers_reversed(model: onnx.ModelProto) -> None:
    """List the constants in another order."""
    _reorder(model.graph.initializer, list(model.graph.initializer)[::-1])


def annotated(model: onnx.ModelProto) -> None:
    """Say another producer and version, and document the graph and every node."""
    model.producer_name, model.producer_version, model.model_version = "another", "9.9", 42
    model.doc_string = model.graph.doc_string = "Restores a photograph."
    model.graph.name = "another_graph"
    helper.set_model_props(model, {"author": "somebody", "licence": "Apache-2.0"})
    for node in model.graph.node:
        node.doc_string = f"{node.op_type} of a block"


def nodes_reordered(model: onnx.ModelProto) -> None:
    """List the nodes in another order that fits, the last that is ready first."""
    waiting = list(model.graph.node)
    made = {name for node in waiting for name in node.output}
    ordered = []
    while waiting:
        node = next(one for one in reversed(waiting) if not made.intersection(one.input))
        waiting.remove(node)
        ordered.append(node)
        made -= set(node.output)
    _reorder(model.graph.node, ordered)


def attributes_reversed(model: onnx.ModelProto) -> None:
    """List the attributes of every node in another order."""
    for node in model.graph.node:
        _reorder(node.attribute, list(node.attribute)[::-1])


def other_weights(model: onnx.ModelProto) -> None:
    """Draw the codes of every convolution's weights anew, but for zeros: another training."""
    graph = _Graph(model)
    draw = np.random.default_rng(_SEED)
    for conv in graph.convolutions():
        name = graph.makers[conv.input[1]].input[0]
        codes = graph.values(name)
        drawn = draw.integers(-127, 128, codes.shape).astype(codes.dtype)
        graph.exchange(name, np.where(codes == 0, codes, drawn))


def _reorder(field: Any, ordered: Sequence[Any]) -> None:
    copies = [type(one).FromString(one.SerializeToString()) for one in ordered]
    del field[:]
    field.extend(copies)


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    found = [helper.get_attribute_value(one) for one in node.attribute if one.name == name]
    return found[0] if found else default


def _set(node: onnx.NodeProto, name: str, value: int | Sequence[int]) -> None:
    kept = [one for one in node.attribute if one.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])
