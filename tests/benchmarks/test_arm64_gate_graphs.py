"""Edits of graphs do what they say: none changes the function but those that say so."""

from collections import Counter

import arm64_graph_edits as graphs
import numpy as np
import onnx
import pytest
from arm64_gate_edits import EDITS, edited
from gate_examples import SHAPE, quantized_network

from deploy.inference import open_run, open_session

EXACT = [
    graphs.wider_first,
    graphs.depthwise_in_parts,
    graphs.turned_around,
    graphs.float_weights,
    graphs.renamed,
    graphs.initializers_reversed,
    graphs.annotated,
    graphs.nodes_reordered,
    graphs.attributes_reversed,
]
HARMLESS = [edit.graph for edit in EDITS if edit.graph is not None and not edit.worse]
WORSE = [edit.graph for edit in EDITS if edit.graph is not None and edit.worse]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return quantized_network(tmp_path_factory.mktemp("network"))


def changed(network, graph):
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    return edited(copy, graph)


def restored(model):
    image = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    return open_run(model.SerializeToString(), level="disable")(image)


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


def optimized(model, path):
    """Give what ONNX Runtime makes of a graph, with the option that ARM has by default."""
    config = {"session.qdqisint8allowed": "1"}
    open_session(model.SerializeToString(), config=config, save_to=path)
    return onnx.load(path)


@pytest.mark.parametrize("graph", EXACT, ids=lambda graph: graph.__name__)
def test_the_output_is_the_same_to_the_bit(network, graph):
    model = changed(network, graph)
    assert model.SerializeToString() != network.SerializeToString()
    np.testing.assert_array_equal(restored(model), restored(network))


@pytest.mark.parametrize("graph", [graphs.without_a_pair, graphs.float_island])
def test_what_is_no_longer_fused_rounds_otherwise_and_no_more(network, graph):
    model = changed(network, graph)
    difference = np.abs(restored(model) - restored(network))
    assert 0 < difference.max() < 0.1 * np.ptp(restored(network))


@pytest.mark.parametrize("graph", HARMLESS, ids=lambda graph: graph.__name__)
def test_a_harmless_edit_has_the_same_operators(network, graph):
    assert operators(changed(network, graph)) == operators(network)


def test_other_weights_are_other_ones_of_the_same_shape_and_zeros(network):
    model = changed(network, graphs.other_weights)
    before, after = (
        {one.name: onnx.numpy_helper.to_array(one) for one in some.graph.initializer}
        for some in (network, model)
    )
    moved = [name for name in before if not np.array_equal(before[name], after[name])]
    assert len(moved) == operators(network)["Conv"]
    for name in moved:
        assert before[name].shape == after[name].shape
        assert not after[name][before[name] == 0].any()
    assert not np.array_equal(restored(model), restored(network))


def test_every_regression_of_a_graph_is_more_work_or_less_fused(network, tmp_path):
    base = operators(optimized(network, tmp_path / "base.onnx"))
    for graph in WORSE:
        model = changed(network, graph)
        now = operators(optimized(model, tmp_path / f"{graph.__name__}.onnx"))
        larger = model.ByteSize() > network.ByteSize()
        assert now != base or (graph is graphs.wider_first and larger)


@pytest.mark.parametrize("graph", [graphs.without_a_pair, graphs.float_island])
def test_a_lost_fusion_leaves_a_float_convolution(network, graph, tmp_path):
    fused = optimized(changed(network, graph), tmp_path / "fused.onnx")
    assert {"Conv", "FusedConv"} & set(operators(fused))


def test_float_weights_between_integers_are_quantized_at_load_with_one_scale(network, tmp_path):
    fused = optimized(changed(network, graphs.float_weights), tmp_path / "fused.onnx")
    dims = {one.name: list(one.dims) for one in fused.graph.initializer}
    scales = [dims[node.input[4]] for node in fused.graph.node if node.op_type == "QLinearConv"]
    assert scales == [[16], [32], [], [4]]


def test_turned_rows_and_columns_stay_in_the_optimized_graph(network, tmp_path):
    fused = optimized(changed(network, graphs.turned_around), tmp_path / "fused.onnx")
    perms = [
        list(node.attribute[0].ints) for node in fused.graph.node if node.op_type == "Transpose"
    ]
    turned = ([0, 1, 3, 2], [0, 2, 1, 3])  # channels first, and last
    assert sum(perm in turned for perm in perms) == 2
