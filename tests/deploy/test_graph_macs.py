import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy.commands.graph_macs import count_macs, count_weights


def graph(node, given, weights, made):
    """Give a model of one node with weights of a shape."""
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", given), ("y", made))
    ]
    constant = numpy_helper.from_array(np.zeros(weights, np.float32), "w")
    made_of = helper.make_graph([node], "g", ends[:1], ends[1:], [constant])
    return helper.make_model(made_of, opset_imports=[helper.make_opsetid("", 18)])


def node(name, **attributes):
    return helper.make_node(name, ["x", "w"], ["y"], **attributes)


@pytest.mark.parametrize(
    ("what", "given", "weights", "made", "macs"),
    [
        (node("Conv", pads=[1] * 4), (1, 8, 10, 6), (4, 8, 3, 3), (1, 4, 10, 6), 17_280),
        (node("Conv", group=8), (1, 8, 10, 6), (8, 1, 1, 1), (1, 8, 10, 6), 480),
        (node("Conv", strides=[2, 2]), (1, 2, 4, 4), (3, 2, 2, 2), (1, 3, 2, 2), 96),
        (node("ConvTranspose", strides=[2, 2]), (1, 2, 4, 4), (2, 3, 2, 2), (1, 3, 8, 8), 384),
        (node("Gemm"), (5, 7), (7, 3), (5, 3), 105),
        (node("MatMul"), (2, 5, 7), (7, 3), (2, 5, 3), 210),
        (node("Add"), (1, 8), (1, 8), (1, 8), 0),
    ],
)
def test_a_node_s_multiplications_are_counted_by_hand(what, given, weights, made, macs):
    assert count_macs(graph(what, given, weights, made)) == macs


def test_a_shape_that_is_not_known_gives_no_count():
    assert count_macs(graph(node("Conv"), (1, 8, "h", "w"), (4, 8, 1, 1), (1, 4, "h", "w"))) is None


def test_an_operator_of_the_runtime_gives_no_count():
    fused = helper.make_node("FusedConv", ["x", "w"], ["y"], domain="com.microsoft")
    assert count_macs(graph(fused, (1, 8, 4, 4), (4, 8, 1, 1), (1, 4, 4, 4))) is None


def test_a_quantized_graph_gives_no_count():
    rounded = helper.make_node("QuantizeLinear", ["x", "w"], ["y"])
    assert count_macs(graph(rounded, (1, 8), (), (1, 8))) is None


def test_weights_are_counted_and_constants_are_not():
    model = graph(node("Conv"), (1, 8, 4, 4), (4, 8, 1, 1), (1, 4, 4, 4))
    for value, name in ((np.float32(2), "one"), (np.zeros(4, np.int64), "shape")):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    assert count_weights(model) == 32
