"""A small quantized network with all that the edits look for: 3x3, 1x1 and depthwise."""

import logging

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

SHAPE = (1, 4, 16, 16)
_LAYERS = {  # name -> shape of its weights, groups, pads
    "first": ((16, 4, 3, 3), 1, 1),
    "mix": ((32, 16, 1, 1), 1, 0),
    "smooth": ((32, 1, 3, 3), 32, 1),
    "last": ((4, 32, 1, 1), 1, 0),
}


class Crops:
    def __init__(self):
        draw = np.random.default_rng(2)
        self.left = iter([{"input": draw.random(SHAPE, dtype=np.float32)} for _ in range(2)])

    def get_next(self):
        return next(self.left, None)


def quantized_network(folder):
    """Give the network in QDQ form, signed 8 bits, weights per channel."""
    draw = np.random.default_rng(1)
    nodes, constants, value = [], [], "input"
    for name, (shape, group, pad) in _LAYERS.items():
        made = "output" if name == "last" else f"{name}_made"
        weights = draw.standard_normal(shape, np.float32) / float(np.sqrt(np.prod(shape[1:])))
        bias = draw.standard_normal(shape[0], np.float32) / 10
        constants += [numpy_helper.from_array(weights, f"{name}_w")]
        constants += [numpy_helper.from_array(bias, f"{name}_b")]
        inputs = [value, f"{name}_w", f"{name}_b"]
        how = {"group": group, "pads": [pad] * 4, "kernel_shape": shape[2:]}
        nodes.append(helper.make_node("Conv", inputs, [made], name, **how))
        value = made
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE)]
        for name in ("input", "output")
    ]
    graph = helper.make_graph(nodes, "example", *ends, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, folder / "float.onnx")
    logging.getLogger().setLevel(logging.ERROR)
    quantize_static(
        str(folder / "float.onnx"),
        str(folder / "int8.onnx"),
        Crops(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    return onnx.load(folder / "int8.onnx")
