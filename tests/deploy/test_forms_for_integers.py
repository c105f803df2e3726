"""Forms written for integers alone: the same bits, the same fusion, fewer changes of layout."""

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from float_graphs import ARM, X86, drawn, float_graph, fused_ops, image, measured, run

from deploy.integer_forms import use_integer_forms
from deploy.placement import place
from deploy.qdq import write_qdq
from deploy.quantize import float_model
from deploy.rewrites.pixel_shuffle import use_pixel_shuffle
from deploy.targets import TARGETS, Target

PADS = "pads = [1, 1, 1, 1]"
CROSSED = "r = Reshape (a, four)\nt = Transpose <perm = [0, 2, 1, 3]> (r)\ny = Conv (t, w)"
NETWORK = f"""
    a = Conv <{PADS}> (x, v, b)
    r = Relu (a)
    c = Conv (r, k)
    s = DepthToSpace <blocksize = 2, mode = "DCR"> (c)
    d = Conv <strides = [2, 2]> (s, l)
    y = Add (r, d)
"""


def network(body: str = NETWORK) -> ir.Model:
    """Give a first convolution with a Relu, a shuffle, and a sum of what is before and behind."""
    shapes = {"v": (16, 4, 3, 3), "k": (32, 16, 1, 1), "l": (16, 8, 2, 2)}
    arrays = {name: drawn(*shape) / 4 for name, shape in shapes.items()}
    model = float_graph(body, **arrays, b=drawn(16))
    use_pixel_shuffle(model)
    return float_model(ir.to_proto(model))


def integer(model: ir.Model, target: Target, **options: object) -> onnx.ModelProto:
    """Give the QDQ form, with the ranges of the graph as it was before."""
    ranges = measured(model)
    same = use_integer_forms(model, place(model, target, **options), target)
    ranges |= {new: ranges[old] for new, old in same.items() if old in ranges}
    proto = write_qdq(model, place(model, target, **options), ranges, target)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def as_it_is(model: ir.Model, target: Target, **options: object) -> onnx.ModelProto:
    return write_qdq(model, place(model, target, **options), measured(model), target)


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize("target", [X86, ARM], ids=lambda target: target.name)
def test_not_one_code_changes(target):
    outputs = [
        run(make(network(), target), image(), level="disable") for make in (as_it_is, integer)
    ]
    np.testing.assert_array_equal(*outputs)


@pytest.mark.parametrize("target", [X86, ARM], ids=lambda target: target.name)
def test_all_fuse_as_before_and_the_shuffle_s_transpose_is_gone(target):
    before, after = (fused_ops(make(network(), target), target) for make in (as_it_is, integer))
    assert after["Transpose"] == before["Transpose"] - 1
    for kind in ("QLinearConv", "QLinearAdd", "Conv", "QuantizeLinear", "DequantizeLinear"):
        assert after[kind] == before[kind], kind


def test_the_float_graph_computes_the_same():
    model = network()
    expected = run(model, image())
    use_integer_forms(model, place(model, ARM), ARM)
    assert operators(model)["Concat"] == operators(model)["Split"] == 1
    np.testing.assert_allclose(run(model, image()), expected, atol=1e-5)


def test_new_tensors_take_the_ranges_of_those_whose_values_they_hold():
    model = network()
    same = use_integer_forms(model, place(model, ARM), ARM)
    assert same == {"a_rows": "a", "r_rows": "r"}
    placement = place(model, ARM)
    assert placement.sources[placement.groups["r"]] == ("r_rows",)


def test_the_first_convolution_keeps_its_name():
    model = network()
    use_integer_forms(model, place(model, ARM), ARM)
    (first,) = [node for node in model.graph if node.name == "a"]
    assert tuple(first.inputs[1].shape) == (32, 4, 3, 4)


def test_what_stays_in_float_keeps_its_form():
    model = network()
    shuffle = [node.name for node in model.graph if "_s_" in f"_{node.name}" or node.name[0] == "s"]
    before = operators(model)
    placement = place(model, ARM, float_nodes=["a", *shuffle])
    assert use_integer_forms(model, placement, ARM) == {}
    assert operators(model) == before


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"arm-cpu", "arm-cpu-u8", "x86"}))
def test_providers_get_the_form_that_float_has(name):
    model = network()
    before = operators(model)
    assert use_integer_forms(model, place(model, TARGETS[name]), TARGETS[name]) == {}
    assert operators(model) == before


def test_a_transpose_of_rows_that_are_no_shuffle_is_left_alone():
    arrays = {"w": drawn(8, 2, 1, 1), "four": np.array([1, 4, 2, 32], np.int64)}
    model = float_graph(f"a = Relu (x)\n{CROSSED}", **arrays)
    before = operators(model)
    use_integer_forms(model, place(model, ARM), ARM)
    assert operators(model) == before


NORM = """
    a = Conv (x, k)
    t = Transpose <perm = [0, 2, 3, 1]> (a)
    n = LayerNormalization <axis = -1, epsilon = 0.01> (t, ones, zeros)
    f = Transpose <perm = [0, 3, 1, 2]> (n)
    y = Conv (f, l)
"""


def normalized(scale: float = 1.0) -> ir.Model:
    arrays = {"k": drawn(8, 4, 1, 1), "l": drawn(4, 8, 1, 1)}
    ones = np.full(8, scale, np.float32)
    return float_graph(NORM, **arrays, ones=ones, zeros=np.zeros(8, np.float32))


def test_on_arm_every_pixel_is_an_instance():
    model = normalized()
    expected = run(model, image())
    same = use_integer_forms(model, place(model, ARM), ARM)
    assert same == {"n_instances": "n"}
    assert "LayerNormalization" not in operators(model)
    np.testing.assert_allclose(run(model, image()), expected, atol=1e-5)


def test_a_norm_of_instances_fuses_like_that_of_a_layer():
    before, after = (fused_ops(make(normalized(), ARM), ARM) for make in (as_it_is, integer))
    assert after["InstanceNormalization"] == before["LayerNormalization"] == 1
    for kind in ("QLinearConv", "Transpose", "QuantizeLinear", "DequantizeLinear"):
        assert after[kind] == before[kind], kind
    outputs = [run(make(normalized(), ARM), image()) for make in (as_it_is, integer)]
    assert np.abs(outputs[0] - outputs[1]).max() < 0.02 * np.abs(outputs[0]).max()


@pytest.mark.parametrize(("target", "scale"), [(X86, 1.0), (ARM, 2.0)], ids=["x86", "scaled"])
def test_other_layer_norms_stay(target, scale):
    model = normalized(scale)
    use_integer_forms(model, place(model, target), target)
    assert operators(model)["LayerNormalization"] == 1
