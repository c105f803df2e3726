"""Integer operators of ONNX Runtime's: which they are in a graph, and what stands where."""

import re
from collections.abc import Callable, Iterable, Sequence

import onnx
import onnx_ir as ir

# float: nothing is quantized. qdq: Q and DQ around float operators, as `quantize` writes it.
# integer: integer operators, as `optimize` saves them.
FORMS = ("float", "qdq", "integer")

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear")
CONVOLUTIONS = ("Conv", "ConvTranspose")
INTEGER_CONVOLUTIONS = ("QLinearConv", "ConvInteger")

# integer operator -> the float one that it stands for; QLinearX stands for X
_INTEGER_OPS = {
    "ConvInteger": "Conv",
    "QGemm": "Gemm",
    "MatMulInteger": "MatMul",
    "MatMulIntegerToFloat": "MatMul",
    "DynamicQuantizeMatMul": "MatMul",
}
# operators that give the type that they take
_TYPE_KEEPING = (
    *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Pad"),
    *("Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose"),
    "Unsqueeze",
)
_SUFFIX = re.compile(r"(_token_\d+|_nchwc)+$")  # what ONNX Runtime adds to the names of nodes


def form_of(proto: onnx.ModelProto) -> str:
    """Give one of FORMS."""
    names = {node.op_type for node in proto.graph.node}
    if any(is_integer_op(name) for name in names):
        return "integer"
    return "qdq" if names & set(CONVERSIONS) else "float"


def activation_types(proto: onnx.ModelProto) -> set[str]:
    """Give the types, such as `int8`, that a quantized graph has its activations in."""
    zeros = [
        node.inputs[2]
        for node in ir.from_proto(proto).graph
        if len(node.inputs) > 2
        and (node.op_type == "QuantizeLinear" or node.op_type.startswith("QLinear"))
    ]
    return {zero.dtype.name.lower() for zero in zeros if zero is not None and zero.dtype}


def is_integer_op(name: str) -> bool:
    """Say whether an operator computes with 8-bit codes."""
    return name in _INTEGER_OPS or name.startswith("QLinear")


def float_name(name: str) -> str:
    """Give the float operator that one does the work of."""
    if name == "FusedConv":
        return "Conv"
    return _INTEGER_OPS.get(name, name.removeprefix("QLinear"))


def own_name(node: ir.Node) -> str:
    """Give the name that a node had before ONNX Runtime; its output's where it had none."""
    return _SUFFIX.sub("", node.name or str(node.outputs[0].name))


def eight_bit_values(nodes: Iterable[ir.Node]) -> set[ir.Value]:
    """Give the values that hold 8-bit codes."""
    found: set[ir.Value] = set()
    for node in nodes:
        made = node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear")
        moved = node.op_type in _TYPE_KEEPING and node.inputs[0] in found
        if made or moved or node.op_type.startswith("QLinear"):
            found.update(node.outputs)
    return found


def positions(nodes: Sequence[ir.Node]) -> dict[ir.Node, str]:
    """Give where each convolution stands.

    `first`: no other one comes before it on any path. `last`: none comes after it, and one does
    before. `body`: all others.
    """
    kinds = (*CONVOLUTIONS, *INTEGER_CONVOLUTIONS)
    convolutions = [
        node for node in nodes if node.op_type in kinds or float_name(node.op_type) in kinds
    ]
    after = _reached(convolutions, lambda node: node.successors())
    before = _reached(convolutions, lambda node: node.predecessors())
    return {
        node: "first" if node not in after else "last" if node not in before else "body"
        for node in convolutions
    }


def _reached(
    starts: Iterable[ir.Node], neighbours: Callable[[ir.Node], Sequence[ir.Node]]
) -> set[ir.Node]:
    """Give what lies behind any of the nodes, on any path."""
    found: set[ir.Node] = set()
    waiting = [one for start in starts for one in neighbours(start)]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += neighbours(node)
    return found
