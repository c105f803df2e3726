import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from calib.stream import stream_statistics
from calib.thresholds import ranges
from deploy.bias_correction import channel_means, correct_bias
from deploy.inference import open_run
from deploy.placement import TARGETS, place
from deploy.qdq import write_qdq
from deploy.quantize import float_model

SIDE = 24


def conv_graph(groups: int) -> onnx.ModelProto:
    """One 3x3 convolution whose rounding errors have a mean: inputs far from zero."""
    rng = np.random.default_rng(groups)
    weight = rng.normal(size=(8, 8 // groups, 3, 3)).astype(np.float32)
    weight[:, 0, 1, 1] = 9.0  # a coarse step for all the others
    constants = {"w": weight, "b": rng.normal(size=8).astype(np.float32)}
    shape = [1, 8, SIDE, SIDE]
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x"], ["y"], name="first"),
            helper.make_node(
                "Conv", ["y", "w", "b"], ["z"], name="conv", pads=[1] * 4, group=groups
            ),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model


def crops() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    mean = np.linspace(0.2, 3, 8).reshape(1, 8, 1, 1)
    noise = rng.normal(scale=0.1, size=(4, 1, 8, SIDE, SIDE))
    return list((mean + noise).astype(np.float32))


def moved_mean(graph: onnx.ModelProto, quantized: onnx.ModelProto) -> np.ndarray:
    inside = np.s_[:, :, 1:-1, 1:-1]  # borders are neglected, as the docstring says
    before, behind = (open_run(one.SerializeToString()) for one in (graph, quantized))
    differences = [(behind(crop) - before(crop))[inside].mean(axis=(0, 2, 3)) for crop in crops()]
    return np.abs(np.mean(differences, axis=0))


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_the_mean_that_rounding_moved_is_given_back(groups, tmp_path):
    graph = conv_graph(groups)
    path = tmp_path / "net.onnx"
    onnx.save(graph, path)
    model, target = float_model(graph), TARGETS["x86"]
    found = ranges(stream_statistics(path, crops()), "minmax")
    placement = place(model, target, input_range=(-1.0, 4.0))
    quantized = write_qdq(model, placement, found, target)
    corrected = correct_bias(model, quantized, channel_means(graph, crops()))
    again = write_qdq(corrected, placement, found, target)
    assert moved_mean(graph, again).mean() < 0.5 * moved_mean(graph, quantized).mean()


def test_means_are_those_of_what_convolutions_read():
    means = channel_means(conv_graph(1), crops())
    expected = np.mean([np.maximum(crop, 0).mean(axis=(0, 2, 3)) for crop in crops()], axis=0)
    assert list(means) == ["y"]
    np.testing.assert_allclose(means["y"], expected, rtol=1e-5)


def test_the_float_graph_stays_as_it_is():
    graph = conv_graph(1)
    model = float_model(graph)
    before = ir.to_proto(model).SerializeToString()
    correct_bias(model, graph, {})
    assert ir.to_proto(model).SerializeToString() == before
