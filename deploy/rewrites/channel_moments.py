"""How far the mean of a pixel's channels is from 0, against their spread; on real images."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from deploy.inference import open_session
from deploy.rewrites.building import add_constant, new_node

AXES_AS_INPUT_OPSET = 18


def greatest_offsets(
    model: ir.Model, images: Sequence[tuple[ir.Value, float]], crops: Sequence[np.ndarray]
) -> list[float]:
    """Run a graph over crops; give mean^2 / (variance + eps) of the worst pixel of some values.

    Args:
        images: values of shape (N, C, H, W), each with its eps.
        crops: at least one (1, C, H, W) float32 input of the model.
    """
    probe = model.clone()
    made = [value for node in probe.graph for value in node.outputs]
    values = {value.name: value for value in (*probe.graph.inputs, *made)}
    probe.graph.outputs.clear()
    for index, (image, eps) in enumerate(images):
        probe.graph.outputs.append(_append(probe, values[image.name], eps, f"offset_{index}"))
    session = open_session(ir.to_proto(probe).SerializeToString())
    (given,) = session.get_inputs()
    runs = [session.run(None, {given.name: crop}) for crop in crops]
    return [float(worst) for worst in np.max(runs, axis=0)]


def _append(model: ir.Model, image: ir.Value, eps: float, name: str) -> ir.Value:
    """Append the greatest offset of a value, reduced in the graph to keep its output small."""
    graph = model.graph
    assert image.shape is not None
    batch, channels, height, width = image.shape
    whole, one_channel = [batch, channels, height, width], [batch, 1, height, width]

    def then(op_type: str, part: str, inputs: list[ir.Value], shape: list) -> ir.Value:
        attributes = {"keepdims": 0} if op_type == "ReduceMax" else {}
        node = new_node(op_type, inputs, attributes, name=f"{name}_{part}", shape=shape)
        graph.append(node)
        return node.outputs[0]

    def mean(part: str, value: ir.Value) -> ir.Value:
        inputs, attributes = [value], {"keepdims": 1, "axes": [1]}
        if model.opset_imports[""] >= AXES_AS_INPUT_OPSET:
            attributes = {"keepdims": 1}
            inputs.append(add_constant(graph, f"{name}_{part}.axes", np.array([1], np.int64)))
        node = new_node("ReduceMean", inputs, attributes, name=f"{name}_{part}", shape=one_channel)
        graph.append(node)
        return node.outputs[0]

    average = mean("mean", image)
    centered = then("Sub", "centered", [image, average], whole)
    variance = mean("variance", then("Mul", "squared", [centered, centered], whole))
    constant = add_constant(graph, f"{name}_eps", np.full((1, 1, 1, 1), eps, np.float32))
    shifted = then("Add", "shifted", [variance, constant], one_channel)
    mean_squared = then("Mul", "mean_squared", [average, average], one_channel)
    return then(
        "ReduceMax", "worst", [then("Div", "ratio", [mean_squared, shifted], one_channel)], []
    )
