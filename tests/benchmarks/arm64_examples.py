"""A small graph with one convolution of each kind, in float and in 8 bits, and counts by hand."""

import logging

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save
from onnxruntime.quantization import quantize_static

SHAPE = (1, 16, 32, 32)


def two_convolutions(shape=SHAPE):
    """A 1x1 and a depthwise 3x3 convolution, (1, 16, H, W) -> (1, 16, H, W), weights drawn."""
    draw = np.random.default_rng(1)
    weights = {
        "mix": draw.standard_normal((16, 16, 1, 1), dtype=np.float32) / 4,
        "smooth": draw.standard_normal((16, 1, 3, 3), dtype=np.float32) / 3,
    }
    nodes = [
        helper.make_node("Conv", ["input", "mix"], ["mixed"], name="mix"),
        helper.make_node(
            "Conv", ["mixed", "smooth"], ["output"], name="smooth", group=16, pads=[1, 1, 1, 1]
        ),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    return model_of(nodes, shape, TensorProto.FLOAT, constants)


def absolute_of_doubles():
    """A graph whose only fault is the type of its input."""
    return model_of([helper.make_node("Abs", ["input"], ["output"])], SHAPE, TensorProto.DOUBLE)


def model_of(nodes, shape, elements, constants=()):
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("input", elements, shape)],
        [helper.make_tensor_value_info("output", elements, shape)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


class Crops:
    def __init__(self):
        draw = np.random.default_rng(2)
        self.left = iter([{"input": draw.random(SHAPE, dtype=np.float32)} for _ in range(2)])

    def get_next(self):
        return next(self.left, None)


def write_pair(folder):
    """Write the graph in float and quantized; give both paths."""
    plain, int8 = folder / "two.onnx", folder / "two.int8.onnx"
    save(two_convolutions(), plain)
    logging.getLogger().setLevel(logging.ERROR)
    quantize_static(str(plain), str(int8), Crops())
    return plain, int8
