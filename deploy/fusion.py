"""Why ONNX Runtime leaves an operator in float: read off the graph around it, one reason each.

An operator becomes an integer one where every input comes from a DequantizeLinear with constant
parameters, its one reader is a QuantizeLinear, and the types agree. What breaks that is looked for
here, in the order in which a user would mend it.

Source: onnxruntime/core/optimizer/qdq_transformer/selectors_actions/qdq_selectors.cc
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

# reason -> what it means and what to do; the closed set of them
REASONS = {
    "on-purpose": "kept in float on purpose, as the sidecar says",
    "no-kernel": "there is no 8-bit kernel of this operator: rewrite it (prepare does some)",
    "float-weights": "its weights are float: nobody quantized it",
    "float-constant": "an operand is a float constant: fold it, or quantize it too",
    "float-input": "an input is not dequantized: quantize what makes it, or leave both in float",
    "dynamic": "ranges are found at run time, so what is computed with them is in float",
    "computed-parameters": "a scale or zero point is computed: make it a constant",
    "channel-parameters": "activations are quantized per channel: kernels take one scale a tensor",
    "graph-output": "its float output is an output of the graph: put a Q and a DQ after it",
    "several-readers": "its float output has several readers: let all read behind one Q",
    "activation-kept": "the Q's range is wider than the activation's, so rounding does not do it: "
    "its zero point has to be the least value",
    "activation-between": "an activation stands before the Q: only a convolution takes one in",
    "not-quantized": "no Q follows it: quantize its output",
    "wide-types": "the kernels are for 8 bits",
    "mixed-types": "int8 and uint8 meet: quantize all activations with one type",
    "float-bias": "the bias is computed in float: make it a constant",
    "bias-scale": "the bias's scale is not input x weight: quantize the bias anew",
    "other-parameters": "input and output have other parameters: tie them",
    "int8-not-allowed": "int8 activations fuse only with session.qdqisint8allowed=1",
    "unknown": "none of the known reasons",
}

MERGED_ACTIVATIONS = ("Relu", "Clip")  # by the Q behind them, where its range allows
ACTIVATIONS = (*MERGED_ACTIVATIONS, "LeakyRelu", "Sigmoid", "HardSigmoid", "Tanh", "PRelu")
NO_KERNEL = ("ConvTranspose", "GlobalMaxPool", "LpPool", "GlobalLpPool")
EIGHT_BITS = (ir.DataType.INT8, ir.DataType.UINT8)
# ONNX Runtime moves Q and DQ past these, so they part nothing
MOVES = (
    "Transpose",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "ReorderInput",
    "ReorderOutput",
)
# operator -> which inputs are activations; of any other the first, of Concat all
_ACTIVATION_INPUTS = {
    "Conv": (0,),
    "FusedConv": (0, 3),
    "Add": (0, 1),
    "Mul": (0, 1),
    "MatMul": (0, 1),
    "Gemm": (0, 1),
}
_CONVERTED_BY_ONNX_RUNTIME = "qdq_s8_to_u8"  # in the names that its rule QDQS8ToU8 gives


@dataclass(frozen=True)
class Cause:
    """Why an operator is in float.

    Attributes:
        reason: a key of REASONS.
        detail: the tensors and nodes in question, by name.
    """

    reason: str
    detail: str


def cause_of(node: ir.Node, *, int8_allowed: bool | None) -> Cause:
    """Give why a node is in float; call it only for one that is.

    Args:
        int8_allowed: what session.qdqisint8allowed was; None where that is not known.
    """
    for found in _causes(node, int8_allowed):
        return found
    return Cause("unknown", "report it with the model")


def _causes(node: ir.Node, int8_allowed: bool | None) -> Iterator[Cause]:
    if node.op_type in NO_KERNEL:
        yield Cause("no-kernel", f"{node.op_type} has none")
    activations = _activations(node)
    if node.op_type in ("Conv", "FusedConv"):
        yield from _weight_causes(node, activations)
    yield from _input_causes(activations)
    yield from _output_causes(node)
    writers = [_writer(node)]
    yield from _type_causes(activations, [one for one in writers if one], int8_allowed)
    yield from _bias_causes(node)
    yield from _tie_causes(node, activations)
    if int8_allowed is not True and ir.DataType.INT8 in map(_reader_type, activations):
        yield Cause("int8-not-allowed", "its activations are int8")


def conversions_beside(node: ir.Node) -> int:
    """Give how many Q and DQ a float operator needs: on its inputs, and behind its output."""
    before = sum(_is(value.producer(), "DequantizeLinear") for value in _activations(node))
    return before + sum(_is(one, "QuantizeLinear") for one in _readers(node.outputs[0]))


def _readers(value: ir.Value) -> list[ir.Node]:
    """Give the nodes that read a value, behind moves."""
    return [
        reader
        for one in value.consumers()
        for reader in (_readers(one.outputs[0]) if one.op_type in MOVES else (one,))
    ]


def node_label(node: ir.Node) -> str:
    """Give a node's name, or its output's where it has none."""
    return node.name or str(node.outputs[0].name)


def is_float(value: ir.Value) -> bool:
    """Say whether a value holds real numbers; where the graph does not say, that is assumed."""
    return value.dtype is None or value.dtype.is_floating_point()


def described(node: ir.Node) -> str:
    """Give an operator with its name."""
    return f"{node.op_type} {node_label(node)}"


def _activations(node: ir.Node) -> list[ir.Value]:
    places = _ACTIVATION_INPUTS.get(node.op_type, (0,))
    if node.op_type == "Concat":
        places = tuple(range(len(node.inputs)))
    values = [node.inputs[place] for place in places if place < len(node.inputs)]
    return [_origin(value) for value in values if value is not None]


def _origin(value: ir.Value) -> ir.Value:
    """Give the value that this one is another layout of."""
    producer = value.producer()
    while producer is not None and producer.op_type in MOVES and producer.inputs[0] is not None:
        value = producer.inputs[0]
        producer = value.producer()
    return value


def _is(node: ir.Node | None, op_type: str) -> bool:
    return node is not None and node.op_type == op_type


def _constant(value: ir.Value | None) -> np.ndarray | None:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def _input_causes(activations: Sequence[ir.Value]) -> Iterator[Cause]:
    for value in activations:
        producer = value.producer()
        if producer is not None and _is(producer, "DequantizeLinear"):
            yield from _parameter_causes(producer)
        elif _constant(value) is not None:
            yield Cause("float-constant", f"operand {value.name}")
        elif producer is None:
            yield Cause("float-input", f"{value.name} is an input of the graph")
        elif producer.op_type in ("DynamicQuantizeLinear", "Cast"):  # Cast is of ConvInteger
            yield Cause("dynamic", f"{described(producer)} makes {value.name}")
        else:
            yield Cause("float-input", f"{described(producer)} makes {value.name} in float")


def _parameter_causes(converter: ir.Node) -> Iterator[Cause]:
    """Look at the parameters of a Q or DQ of activations."""
    scale, zero = converter.inputs[1], _zero(converter)
    for value in filter(None, (scale, zero)):
        array = _constant(value)
        if array is None:
            yield Cause("computed-parameters", f"{value.name} of {described(converter)}")
        elif array.size != 1:
            yield Cause("channel-parameters", f"{value.name} has {array.size} values")


def _zero(converter: ir.Node) -> ir.Value | None:
    return converter.inputs[2] if len(converter.inputs) > 2 else None


def _weight_causes(node: ir.Node, activations: Sequence[ir.Value]) -> Iterator[Cause]:
    weight = node.inputs[1]
    if weight is None or _is(weight.producer(), "DequantizeLinear"):
        return
    is_between = _writer(node) and all(map(_reader_type, activations))
    # ONNX Runtime quantizes constant weights by itself between a DQ and a Q
    if not is_between or _constant(weight) is None:
        yield Cause("float-weights", f"{weight.name}")


def _output_causes(node: ir.Node) -> Iterator[Cause]:
    output = node.outputs[0]
    if "activation" in node.attributes:  # of FusedConv
        activation = node.attributes["activation"].as_string()
        kept = activation in MERGED_ACTIVATIONS
        yield Cause("activation-kept" if kept else "activation-between", f"{activation} is in it")
    if output.is_graph_output():
        yield Cause("graph-output", f"{output.name}")
    reader = _sole_reader(output)
    if reader is None:
        readers = output.consumers()
        named = ", ".join(described(one) for one in readers[:3])
        more = " and more" if len(readers) > 3 else ""
        is_quantized = any(_is(one, "QuantizeLinear") for one in readers)
        reason = "several-readers" if is_quantized else "not-quantized"
        yield Cause(reason, f"{output.name} goes to {named}{more}")
        return
    if reader.op_type in ACTIVATIONS:
        yield from _activation_causes(node, reader)
    if not _is(reader, "QuantizeLinear"):
        yield Cause("not-quantized", f"{output.name} goes to {described(reader)} in float")
    yield from _parameter_causes(reader)


def _sole_reader(value: ir.Value) -> ir.Node | None:
    """Give the one node that reads a value, behind moves; None where it is not one."""
    readers = _readers(value)
    return readers[0] if len(readers) == 1 else None


def _activation_causes(node: ir.Node, activation: ir.Node) -> Iterator[Cause]:
    reader = _sole_reader(activation.outputs[0])
    if reader is None or not _is(reader, "QuantizeLinear"):
        return
    if node.op_type == "Conv" and activation.op_type in MERGED_ACTIVATIONS:
        parameters = " and ".join(str(_constant(value)) for value in reader.inputs[1:])
        yield Cause(
            "activation-kept",
            f"{described(activation)}; scale and zero point after it: {parameters}",
        )
    yield Cause("activation-between", described(activation))


def _writer(node: ir.Node) -> ir.Node | None:
    reader = _sole_reader(node.outputs[0])
    return reader if reader is not None and _is(reader, "QuantizeLinear") else None


def _reader_type(value: ir.Value) -> ir.DataType | None:
    """Give the integer type that a dequantized value comes from."""
    producer = value.producer()
    if producer is None or not _is(producer, "DequantizeLinear"):
        return None
    codes = producer.inputs[0]
    return _integer_type(producer) or (codes.dtype if codes is not None else None)


def _integer_type(converter: ir.Node) -> ir.DataType | None:
    """Give the type of a Q's output or a DQ's input, as far as the node says it."""
    zero = _zero(converter)
    if zero is not None:
        return zero.dtype
    if converter.op_type == "DequantizeLinear":
        return None
    attribute = converter.attributes.get("output_dtype")
    named = ir.DataType(attribute.as_int()) if attribute else ir.DataType.UNDEFINED
    return ir.DataType.UINT8 if named == ir.DataType.UNDEFINED else named


def _type_causes(
    activations: Sequence[ir.Value], writers: Sequence[ir.Node], int8_allowed: bool | None
) -> Iterator[Cause]:
    read = {value.name: _reader_type(value) for value in activations}
    written = {one.outputs[0].name: _integer_type(one) for one in writers}
    types = {name: kind for name, kind in {**read, **written}.items() if kind is not None}
    said = ", ".join(f"{name} {kind.name.lower()}" for name, kind in types.items())
    if not set(types.values()) <= set(EIGHT_BITS):
        yield Cause("wide-types", said)
    if len(set(types.values())) > 1:
        converters = [value.producer() for value in activations] + list(writers)
        zeros = [_zero(one) for one in converters if one is not None]
        names = " ".join(zero.name or "" for zero in zeros if zero is not None)
        if int8_allowed is not True and _CONVERTED_BY_ONNX_RUNTIME in names:
            yield Cause("int8-not-allowed", f"ONNX Runtime made some uint8: {said}")
        yield Cause("mixed-types", said)


def _bias_causes(node: ir.Node) -> Iterator[Cause]:
    if node.op_type not in ("Conv", "FusedConv", "Gemm") or len(node.inputs) < 3:
        return
    data, weight, bias = node.inputs[:3]
    if bias is None:
        return
    reader = bias.producer()
    if reader is None or not _is(reader, "DequantizeLinear"):
        if _constant(bias) is None:  # else ONNX Runtime quantizes it by itself
            yield Cause("float-bias", f"bias {bias.name}")
        return
    scales = [_scale(_origin(value)) if value is not None else None for value in (data, weight)]
    bias_scale = _scale(bias)
    if bias_scale is None or scales[0] is None or scales[1] is None:
        return
    if not np.allclose(bias_scale, scales[0] * scales[1], rtol=1e-5, atol=0):
        yield Cause("bias-scale", f"bias {bias.name}")


def _scale(dequantized: ir.Value) -> np.ndarray | None:
    reader = dequantized.producer()
    return _constant(reader.inputs[1]) if reader is not None and len(reader.inputs) > 1 else None


def _tie_causes(node: ir.Node, activations: Sequence[ir.Value]) -> Iterator[Cause]:
    """Look whether an operator that only moves codes gets and gives the same parameters."""
    writer, reader = _writer(node), activations[0].producer() if activations else None
    if node.op_type != "MaxPool" or writer is None or reader is None:
        return
    given, made = ([_constant(value) for value in one.inputs[1:]] for one in (reader, writer))
    if len(given) != len(made) or not all(map(_are_equal, given, made)):
        yield Cause("other-parameters", f"of {activations[0].name} and {node.outputs[0].name}")


def _are_equal(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is not None and other is not None and np.array_equal(one, other)
