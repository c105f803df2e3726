import numpy as np
import onnx_ir as ir
import pytest
from small_graphs import drawn, small_graph

from deploy.rewrites.building import add_constant, new_node, read_conv


def conv(attributes: str = "", weights: str = "w") -> ir.Node:
    model = small_graph(
        f"""g (float[1,2,5,6] x, float[4] computed) => (float[n,c,h,w] y) {{
            y = Conv {attributes} (x, {weights})
        }}""",
        w=drawn(4, 2, 3, 3),
        b=drawn(4),
    )
    return next(iter(model.graph))


def test_attributes_that_are_not_written_have_their_defaults():
    found = read_conv(conv())
    assert (found.group, found.strides, found.dilations) == (1, (1, 1), (1, 1))
    assert found.pads == (0, 0, 0, 0)
    assert found.bias is None


def test_chosen_outputs_keep_their_biases():
    found = read_conv(conv(weights="w, b"))
    chosen = found.with_outputs(np.array([3, 1]))
    np.testing.assert_array_equal(chosen.bias, found.bias[[3, 1]])
    np.testing.assert_array_equal(chosen.weight, found.weight[[3, 1]])


@pytest.mark.parametrize(
    "node",
    [conv('<auto_pad = "SAME_LOWER">'), conv(weights="x"), conv(weights="w, computed")],
    ids=["automatic pads", "computed weights", "computed bias"],
)
def test_what_is_not_all_constant_is_not_read(node):
    assert read_conv(node) is None


def test_an_initializer_has_a_shape_and_a_type():
    model = small_graph("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    value = add_constant(model.graph, "k", np.zeros((2, 3), np.float32))
    assert model.graph.initializers["k"] is value
    assert (tuple(value.shape), str(value.dtype)) == ((2, 3), "FLOAT")


def test_a_new_node_names_its_output_and_takes_its_inputs_type():
    model = small_graph("g (float[2] x) => (float[2] y) { y = Relu (x) }")
    node = new_node("Relu", [model.graph.inputs[0]], name="again", shape=[2])
    (output,) = node.outputs
    assert (output.name, output.type, tuple(output.shape)) == (
        "again",
        model.graph.inputs[0].type,
        (2,),
    )
