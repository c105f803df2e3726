"""Give back through biases the mean that rounding the weights moved.

A convolution with rounded weights W + E makes, at each output channel o, on average

    E[(W + E) x]_o = E[W x]_o + sum over i, k of E[o, i, k] * E[x_i]

so subtracting the last sum from the bias restores the mean; borders, where padding stands in for
x, are neglected. In restoration a moved mean is a colour cast.

Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction,
ICCV 2019, section 4.2, with means that are measured instead of derived.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
import onnx_ir as ir

from deploy.inference import open_session
from deploy.residuals import activations, node_name
from deploy.rewrites.matching import constant_of, is_op

ChannelMeans = Mapping[str, np.ndarray]  # tensor -> (C,) float64


def channel_means(graph: onnx.ModelProto, crops: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """Give the mean of each channel of what each convolution reads, over some crops.

    Args:
        graph: float, with one input; left as it is.
        crops: each (1, C, H, W) float32. One at a time is in memory, with what is read on it.
    """
    exposed = onnx.ModelProto()
    exposed.CopyFrom(graph)
    image = exposed.graph.input[0].name
    read = {node.input[0] for node in exposed.graph.node if node.op_type == "Conv"}
    made = [name for node in exposed.graph.node for name in node.output if name in read]
    outputs = {value.name for value in exposed.graph.output}
    exposed.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in made if name not in outputs
    )
    session = open_session(exposed.SerializeToString(), level="basic")
    total: dict[str, np.ndarray] = {}
    count = 0
    for crop in crops:
        values = {image: crop, **dict(zip(made, session.run(made, {image: crop}), strict=True))}
        count += 1
        for name in read & set(values):
            mean = values[name].mean(axis=(0, 2, 3), dtype=np.float64)
            total[name] = total.get(name, 0) + mean
    return {name: value / count for name, value in total.items()}


def correct_bias(model: ir.Model, quantized: onnx.ModelProto, means: ChannelMeans) -> ir.Model:
    """Give a float graph with biases that make up for the weights' rounding in its integer form.

    Args:
        model: the float graph; left as it is. A convolution without bias stays without.
        quantized: what `write_qdq` made of it.
        means: of this graph, as `channel_means` gives them.
    """
    corrected = model.clone()
    tensors = {one.name: one for one in quantized.graph.initializer}
    for node in corrected.graph:
        name = node_name(node)
        codes = tensors.get(f"{name}_weight_quantized")
        if not is_op(node, "Conv") or codes is None or len(node.inputs) < 3:
            continue
        weight, bias = constant_of(node.inputs[1]), constant_of(node.inputs[2])
        mean = means.get(str(activations(node)[0].name))
        if weight is None or bias is None or mean is None:
            continue
        scale = onnx.numpy_helper.to_array(tensors[f"{name}_weight_scale"]).astype(np.float64)
        rounded = onnx.numpy_helper.to_array(codes) * scale.reshape(-1, 1, 1, 1)
        moved = _moved_mean(rounded - weight, mean, node.attributes.get_int("group", 1))
        _replace_bias(corrected.graph, node, (bias - moved).astype(np.float32))
    return corrected


def _moved_mean(error: np.ndarray, mean: np.ndarray, groups: int) -> np.ndarray:
    """Give the sum above: (O,), of weights (O, I / groups, kH, kW) and means (I,)."""
    of_group = mean.reshape(groups, -1).repeat(len(error) // groups, axis=0)
    return np.einsum("oikl,oi->o", error, of_group)


def _replace_bias(graph: ir.Graph, node: ir.Node, bias: np.ndarray) -> None:
    name = f"{node_name(node)}_corrected_bias"
    tensor = ir.tensor(bias, name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(bias.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    node.replace_input_with(2, value)
