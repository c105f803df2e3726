"""What rewrites put into a graph: constants, operators, and convolutions with other weights.

Every value made here has a name, a shape and a type: the stages that follow read them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from deploy.rewrites.matching import constant_of, is_op

Shape = Sequence[int | ir.SymbolicDim] | ir.Shape

# Transpose or Reshape, a name, the order or the sizes that it takes, the shape of its output
LayoutStep = tuple[str, str, tuple[int, ...], Shape]

CHANNELS_LAST, CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)

# each value by itself, so whatever order the channels are in
ELEMENTWISE = ("Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Gelu", "HardSigmoid", "HardSwish")


@dataclass(frozen=True)
class Convolution:
    """A two-dimensional Conv whose weights are constants.

    Attributes:
        weight: (outputs, inputs / group, height, width).
        bias: (outputs,); None where it has none.
        pads: top, left, bottom, right, in px.
    """

    node: ir.Node
    weight: np.ndarray
    bias: np.ndarray | None
    group: int
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]

    @property
    def is_1x1(self) -> bool:
        """Whether each pixel is computed from itself alone, and none is left out or added."""
        size = self.weight.shape[2:]
        return size == (1, 1) and self.strides == (1, 1) and not any(self.pads)

    def with_outputs(self, chosen: slice | np.ndarray) -> "Convolution":
        """Give the convolution that makes only these output channels, in this order; dense only."""
        bias = None if self.bias is None else self.bias[chosen]
        return replace(self, weight=self.weight[chosen], bias=bias)


def read_conv(node: ir.Node | None) -> Convolution | None:
    """Give a Conv's parts; None for other nodes, computed weights, and pads not written out."""
    if node is None or not is_op(node, "Conv"):
        return None
    weight = constant_of(node.inputs[1])
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    bias = constant_of(bias_value)
    if weight is None or weight.ndim != 4 or (bias_value is not None and bias is None):
        return None
    if node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    attributes = node.attributes
    top, left, bottom, right = attributes.get_ints("pads", (0, 0, 0, 0))
    stride_y, stride_x = attributes.get_ints("strides", (1, 1))
    dilation_y, dilation_x = attributes.get_ints("dilations", (1, 1))
    return Convolution(
        node,
        weight,
        bias,
        attributes.get_int("group", 1),
        (stride_y, stride_x),
        (top, left, bottom, right),
        (dilation_y, dilation_x),
    )


def add_constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """Add an initializer; its name must be new to the graph."""
    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def new_node(
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, object] | None = None,
    *,
    name: str,
    shape: Shape,
) -> ir.Node:
    """Make a node, not yet in the graph, whose one output has its name and its first input's type.

    Args:
        shape: of the output.
    """
    first = inputs[0]
    assert first is not None
    node = ir.node(op_type, inputs, dict(attributes or {}), name=name)  # type: ignore[arg-type]
    output = node.outputs[0]
    output.name, output.type = name, first.type
    output.shape = ir.Shape(shape)
    return node


def new_conv(graph: ir.Graph, conv: Convolution, *, name: str, image: ir.Value) -> ir.Node:
    """Make a Conv, not yet in the graph, with a convolution's weights and its node's geometry.

    Args:
        image: what it reads, (N, C, H, W).
    """
    inputs = [image, add_constant(graph, f"{name}.weight", conv.weight)]
    if conv.bias is not None:
        inputs.append(add_constant(graph, f"{name}.bias", conv.bias))
    attributes = {
        "group": conv.group,
        "kernel_shape": list(conv.weight.shape[2:]),
        "strides": list(conv.strides),
        "pads": list(conv.pads),
        "dilations": list(conv.dilations),
    }
    old = conv.node.outputs[0].shape
    assert old is not None
    shape = [old[0], conv.weight.shape[0], *old[2:]]
    return new_node("Conv", inputs, attributes, name=name, shape=shape)


def layout_steps(
    graph: ir.Graph, image: ir.Value, steps: Sequence[LayoutStep], *, name: str
) -> list[ir.Node]:
    """Make a chain of Transpose and Reshape, not yet in the graph, that starts at a value."""
    nodes: list[ir.Node] = []
    for op_type, part, sizes, shape in steps:
        own = f"{name}_{part}"
        inputs, attributes = [image], {"perm": list(sizes)}
        if op_type == "Reshape":
            inputs.append(add_constant(graph, f"{own}.shape", np.array(sizes, np.int64)))
            attributes = {}
        nodes.append(new_node(op_type, inputs, attributes, name=own, shape=shape))
        image = nodes[-1].outputs[0]
    return nodes


def cut_channels(graph: ir.Graph, image: ir.Value, channels: int, *, name: str) -> ir.Node:
    """Make a Slice, not yet in the graph, of the first channels of an image (N, C, H, W)."""
    assert image.shape is not None
    ends = [
        add_constant(graph, f"{name}.{part}", np.array([value], np.int64))
        for part, value in (("start", 0), ("end", channels), ("axis", 1))
    ]
    shape = [image.shape[0], channels, *image.shape[2:]]
    return new_node("Slice", [image, *ends], name=name, shape=shape)


def exchange_weights(graph: ir.Graph, conv: Convolution, suffix: str) -> None:
    """Give a Conv in the graph other weights, and its output their number of channels.

    The old ones stay for their other readers.
    """
    node = conv.node
    node.replace_input_with(1, add_constant(graph, f"{node.name}_{suffix}.weight", conv.weight))
    if conv.bias is not None:
        node.replace_input_with(2, add_constant(graph, f"{node.name}_{suffix}.bias", conv.bias))
    output = node.outputs[0]
    assert output.shape is not None
    output.shape = ir.Shape([output.shape[0], conv.weight.shape[0], *output.shape[2:]])


def bypass(graph: ir.Graph, node: ir.Node) -> bool:
    """Take a node out whose output equals its first input; False where it has to stay.

    It stays where it alone tells a graph output from a graph input or from another output.
    """
    image, output = node.inputs[0], node.outputs[0]
    if image is None:
        return False
    if output.is_graph_output():
        if image.producer() is None or image.is_graph_output():
            return False
        image.name = output.name
    output.replace_all_uses_with(image, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return True
