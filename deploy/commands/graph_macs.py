"""The multiply-accumulates and the weights of a network, counted in its graph."""

import math
from collections.abc import Mapping

import onnx
from onnx import TensorProto, shape_inference

Shapes = Mapping[str, tuple[int, ...]]

_COUNTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_QUANTIZED = {"QuantizeLinear", "DequantizeLinear"}
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def count_macs(model: onnx.ModelProto) -> int | None:
    """Give those of convolutions and matrix products in one inference of a float graph.

    Returns:
        None for other graphs: what is quantized, or optimized by a runtime, has operators of its
        own, and is counted at the float graph that it came from. None where a shape is not known.
    """
    names = {node.op_type for node in model.graph.node}
    domains = {node.domain for node in model.graph.node}
    if domains - {"", "ai.onnx"} or names & _QUANTIZED:
        return None
    inferred = shape_inference.infer_shapes(model).graph
    shapes = {one.name: tuple(one.dims) for one in model.graph.initializer} | {
        one.name: _static(one) for one in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    total = 0
    for node in model.graph.node:
        if node.op_type in _COUNTED:
            macs = _macs(node, shapes)
            if macs is None:
                return None
            total += macs
    return total


def count_weights(model: onnx.ModelProto) -> int:
    """Give how many numbers the weights of a float graph hold; a single one is a constant."""
    sizes = (math.prod(one.dims) for one in model.graph.initializer if one.data_type in _FLOATS)
    return sum(size for size in sizes if size > 1)


def _static(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Give a value's shape; nothing where a side is not known."""
    sides = [side.dim_value for side in value.type.tensor_type.shape.dim]
    return tuple(sides) if all(sides) else ()


def _macs(node: onnx.NodeProto, shapes: Shapes) -> int | None:
    given, weights = (shapes.get(name, ()) for name in node.input[:2])
    made = shapes.get(node.output[0], ())
    if not (given and weights and made):
        return None
    if node.op_type == "Conv":  # weights (M, C / groups, kH, kW), output (N, M, H, W)
        return math.prod(made) * math.prod(weights[1:])
    if node.op_type == "ConvTranspose":  # weights (C, M / groups, kH, kW), input (N, C, H, W)
        return math.prod(given) * math.prod(weights[1:])
    return math.prod(made) * given[-1]
