"""What is written around integer operators, and what ONNX Runtime makes of it."""

import json
from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from float_graphs import (
    ARM,
    X86,
    conv_weights,
    drawn,
    float_graph,
    fused_ops,
    image,
    measured,
    quantized,
    run,
)
from onnx import numpy_helper

from deploy.errors import GraphError
from deploy.fidelity import psnr_between_db
from deploy.operators import OPERATORS
from deploy.placement import place
from deploy.qdq import WIDENED, write_qdq
from deploy.targets import TARGETS

ARRAYS = conv_weights("w", "v") | {
    "half": np.array([2, 2]),
    "from0": np.array([0]),
    "to2": np.array([2]),
    "axis": np.array([1]),
    "batch": np.array([0]),
    "w1": drawn(4, 1, 1, 1),
    "w2": drawn(4, 2, 1, 1),
    "w8": drawn(4, 8, 1, 1),
    "twice": np.array([1, 1, 2, 2]),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "margins": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "sizes": np.array([1, 4, 8, 8]),
    "each": drawn(1, 4, 1, 1),
    "low": np.array(-0.5, np.float32),
    "high": np.array(1, np.float32),
}

# operator under test -> a graph where it lies between two convolutions, which operators are left
KERNELS = {
    "Conv": ("y = Conv(a, v)", {}),
    "Add": ("b = Conv(a, v)  c = Add(a, b)  y = Conv(c, v)", {"QLinearAdd": 1}),
    "Mul": ("b = Conv(a, v)  c = Mul(a, b)  y = Conv(c, v)", {"QLinearMul": 1}),
    "GlobalAveragePool": (
        "b = GlobalAveragePool(a)  y = Conv(b, v)",
        {"QLinearGlobalAveragePool": 1},
    ),
    "AveragePool": (
        "b = AveragePool <kernel_shape=[2,2], strides=[2,2]> (a)  y = Conv(b, v)",
        {"QLinearAveragePool": 1},
    ),
    "LeakyRelu": ("b = LeakyRelu <alpha=0.2> (a)  y = Conv(b, v)", {"QLinearLeakyRelu": 1}),
    "Sigmoid": ("b = Sigmoid(a)  y = Conv(b, v)", {"QLinearSigmoid": 1}),
    "Concat": ("b = Conv(a, v)  c = Concat <axis=1> (a, b)  y = Conv(c, w8)", {"QLinearConcat": 1}),
    "DepthToSpace": (
        'b = DepthToSpace <blocksize=2, mode="CRD"> (a)  y = Conv(b, w1)',
        {"DepthToSpace": 1},
    ),
    "Expand": ("b = GlobalAveragePool(a)  c = Expand(b, sizes)  y = Conv(c, v)", {"Expand": 1}),
    "Flatten": (
        "b = Flatten <axis=2> (a)  c = Reshape(b, sizes)  y = Conv(c, v)",
        {"Flatten": 1, "Reshape": 1},
    ),
    "Identity": ("b = Identity(a)  y = Conv(b, v)", {}),
    "MaxPool": (
        "b = MaxPool <kernel_shape=[2,2], strides=[2,2]> (a)  y = Conv(b, v)",
        {"NhwcMaxPool": 1},
    ),
    "Pad": ("b = Pad(a, margins)  y = Conv(b, v)", {"Pad": 1}),
    "Reshape": ("b = Reshape(a, sizes)  y = Conv(b, v)", {}),
    "Resize": ('b = Resize <mode="nearest"> (a, , scales)  y = Conv(b, v)', {"Resize": 1}),
    "Slice": ("b = Slice(a, from0, to2, axis)  y = Conv(b, w2)", {"Slice": 1}),
    "Split": ("b, c = Split <axis=1> (a, half)  d = Mul(b, c)  y = Conv(d, w2)", {"Split": 1}),
    "Squeeze": ("b = Squeeze(a, batch)  c = Unsqueeze(b, batch)  y = Conv(c, v)", {"Squeeze": 1}),
    "Tile": ("b = Tile(a, twice)  y = Conv(b, v)", {"Tile": 1}),
    "Transpose": ("b = Transpose <perm=[0,1,3,2]> (a)  y = Conv(b, v)", {}),
    "Unsqueeze": ("b = Squeeze(a, batch)  c = Unsqueeze(b, batch)  y = Conv(c, v)", {}),
    "Relu": ("b = Relu(a)  y = Conv(b, v)", {}),
    "Clip": ("b = Clip(a, low, high)  y = Conv(b, v)", {}),
}
FLOAT = {"Conv", "FusedConv", "Add", "Mul", "Relu", "Clip", "Sigmoid", "LeakyRelu", "AveragePool"}
FLOAT |= {"GlobalAveragePool", "Concat", "MaxPool"}


def graph(body, **arrays):
    known = ARRAYS | arrays
    return float_graph(body, **{name: one for name, one in known.items() if name in body})


def nodes(proto, op_type):
    return [node for node in proto.graph.node if node.op_type == op_type]


def constant(proto, name):
    return numpy_helper.to_array(next(one for one in proto.graph.initializer if one.name == name))


def db(model, proto, target=X86, **options):
    given = [image(seed=seed) for seed in range(4)]
    reference = [run(model, one) for one in given]
    outputs = [run(proto, one, config=target.config, **options) for one in given]
    return psnr_between_db(reference, outputs, peak=float(np.ptp(reference)))


def test_every_operator_of_the_table_is_tried():
    assert set(KERNELS) == set(OPERATORS)


@pytest.mark.parametrize("target", [X86, ARM], ids=["x86", "arm-cpu"])
@pytest.mark.parametrize("name", KERNELS)
def test_an_operator_of_the_table_has_an_integer_kernel(name, target):
    body, kernels = KERNELS[name]
    model = graph(f"a = Conv(x, w)  {body}")
    proto, placement = quantized(model, target)
    assert not placement.float_because
    found = fused_ops(proto, target)
    assert not FLOAT & set(found)
    assert kernels.items() <= found.items()
    assert (found["QuantizeLinear"], found["DequantizeLinear"]) == (1, 1)
    assert db(model, proto, target) > 30


@pytest.mark.parametrize("target", [X86, ARM], ids=["x86", "arm-cpu"])
def test_a_convolution_kept_in_float_between_integers_stays_float_at_load(target):
    model = graph("a = Conv(x, w)  b = Conv(a, v)  y = Conv(b, w)")
    proto, _ = quantized(model, target, float_nodes=["b"])
    found = fused_ops(proto, target)
    assert found["QLinearConv"] == 2
    assert found["Conv"] + found["FusedConv"] == 1


def test_a_relu_that_is_read_beside_its_input_has_a_kernel_too():
    model = graph("a = Conv(x, w)  b = Relu(a)  c = Add(a, b)  y = Conv(c, v)")
    proto, _ = quantized(model)
    assert fused_ops(proto)["QLinearLeakyRelu"] == 1
    assert db(model, proto) > 30


def test_a_sum_with_a_bound_behind_it_is_one_kernel():
    model = graph("a = Conv(x, w)  b = Conv(a, v)  c = Add(a, b)  d = Relu(c)  y = Conv(d, v)")
    proto, _ = quantized(model)
    found = fused_ops(proto)
    assert (found["QLinearAdd"], found["Relu"]) == (1, 0)
    assert db(model, proto) > 30


def test_a_bound_behind_a_float_sum_is_done_by_the_rounding():
    body = "a = Conv(x, w)  b = Conv(a, v)  c = Add(a, b)  d = Relu(c)  e = Conv(d, v)"
    model = graph(f"{body}  y = Conv(e, w)")
    proto, _ = quantized(model, preset="accurate")
    assert constant(proto, "d_zero_point") == 0
    assert not nodes(proto, "Relu")
    assert db(model, proto) > 30


def test_constant_operands_are_rounded_too():
    model = graph("a = Conv(x, w)  b = Mul(a, each)  c = Add(each, b)  y = Conv(c, v)")
    proto, _ = quantized(model)
    found = fused_ops(proto)
    assert (found["QLinearMul"], found["QLinearAdd"]) == (1, 1)
    assert db(model, proto) > 30


GATED = """
    a = Conv(x, w)  b, c = Split <axis=1> (a, half)  d = Mul(b, c)  e = Conv(d, w2)
    f = Add(a, e)  g = Conv(f, v)  y = Add(g, x)
"""


def test_a_tensor_is_rounded_once_and_read_back_once():
    proto, placement = quantized(graph(GATED))
    for op_type in ("QuantizeLinear", "DequantizeLinear"):
        read = Counter(node.input[0] for node in nodes(proto, op_type))
        assert set(read.values()) == {1}
    assert len(nodes(proto, "QuantizeLinear")) == len(placement.groups)


def test_parameters_are_shared_through_moves():
    proto, placement = quantized(graph(GATED))
    scales = {node.input[0]: node.input[1] for node in nodes(proto, "QuantizeLinear")}
    assert scales["a"] == scales["b"] == scales["c"]
    assert len(set(scales.values())) == len(placement.sources)


def test_weights_have_one_scale_a_channel_and_no_zero_point():
    proto, _ = quantized(graph(GATED))
    weights = constant(proto, "e_weight_quantized")
    assert weights.dtype == np.int8
    assert np.abs(weights.astype(int)).max(axis=(1, 2, 3)).tolist() == [127] * 4
    assert constant(proto, "e_weight_scale").shape == (4,)
    assert not constant(proto, "e_weight_zero_point").any()


def test_a_bias_is_int32_in_the_scale_of_the_products():
    bias = drawn(4)
    proto, _ = quantized(graph("a = Conv(x, w, bias)  y = Conv(a, v)", bias=bias))
    codes, scales = constant(proto, "a_bias_quantized"), constant(proto, "a_bias_scale")
    assert codes.dtype == np.int32
    np.testing.assert_array_equal(
        scales, constant(proto, "x_scale") * constant(proto, "a_weight_scale")
    )
    np.testing.assert_allclose(codes * scales, bias, atol=scales.max())


def test_a_bias_that_32_bits_cannot_hold_widens_its_channel_and_says_so():
    tiny, bias = drawn(4, 4, 1, 1), np.full(4, 1000, np.float32)
    tiny[1:3] *= 1e-9
    model = graph("a = Conv(x, tiny, bias)  y = Conv(a, v)", tiny=tiny, bias=bias)
    proto, _ = quantized(model)
    entries = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert entries[WIDENED] == {"a": [1, 2]}
    assert db(model, proto) > 30


def test_nothing_is_said_of_biases_that_fit():
    proto, _ = quantized(graph(GATED))
    assert not proto.metadata_props


def test_weights_that_two_convolutions_share_are_rounded_for_each():
    model = graph("a = Conv(x, w)  b = Relu(a)  y = Conv(b, w)")
    proto, _ = quantized(model)
    np.testing.assert_array_equal(
        constant(proto, "a_weight_quantized"), constant(proto, "y_weight_quantized")
    )


def test_the_rounded_input_is_read_by_the_global_residual():
    proto, _ = quantized(graph(GATED))
    (last,) = [node for node in nodes(proto, "Add") if node.name == "y"]
    assert last.input[1] == "x_dequantized"


def test_an_8_bit_image_is_rounded_to_itself():
    proto, _ = quantized(graph(GATED))
    assert constant(proto, "x_scale") == np.float32(1 / 255)
    assert constant(proto, "x_zero_point") == 0
    signed, _ = quantized(graph(GATED), ARM)
    assert constant(signed, "x_zero_point") == -128


def test_float_operators_read_each_other_unrounded():
    body = "a = Conv(x, w)  b = Sqrt(a)  c = Sqrt(b)  d = Conv(b, v)  y = Mul(c, d)"
    proto, _ = quantized(graph(body))
    (root,) = [node for node in nodes(proto, "Sqrt") if node.name == "c"]
    (conv,) = [node for node in nodes(proto, "Conv") if node.name == "d"]
    assert (root.input[0], conv.input[0]) == ("b", "b_dequantized")


def test_the_float_stream_of_the_accurate_preset_has_rounded_copies():
    model = graph(GATED)
    proto, _ = quantized(model, preset="accurate")
    fast, _ = quantized(model)
    (stream,) = [node for node in nodes(proto, "Add") if node.name == "f"]
    assert stream.output[0] == "f"
    found = fused_ops(proto)
    assert (found["QLinearAdd"], found["Add"]) == (0, 2)
    assert db(model, proto) > db(model, fast)


@pytest.mark.parametrize(
    "body",
    [
        "a = Conv(x, w)  y = Relu(a)",
        "a = Conv(x, w)  y = Transpose <perm=[0,1,3,2]> (a)",
        "y = Conv(x, w)  a = Sqrt(y)",
        "a = Conv(x, w)  y = Clip(a, low, high)",
        "a = Conv(x, w)  y = Sqrt(a)",
        "y = Conv(x, w)",
    ],
)
def test_the_output_keeps_its_name_its_shape_and_its_type(body):
    model = graph(body)
    proto, _ = quantized(model)
    before, (after,) = ir.to_proto(model).graph.output[0], proto.graph.output
    assert (after.name, after.type) == (before.name, before.type)
    assert fused_ops(proto)["QLinearConv"] == 1


def test_the_float_graph_stays_as_it_was():
    model = graph(GATED)
    before = ir.to_proto(model).SerializeToString()
    quantized(model)
    assert ir.to_proto(model).SerializeToString() == before


def test_the_same_graph_gives_the_same_bytes():
    first, second = (quantized(graph(GATED))[0].SerializeToString() for _ in range(2))
    assert first == second


def test_no_float_weights_are_left_behind():
    proto, _ = quantized(graph(GATED))
    assert not {one.name for one in proto.graph.initializer} & {"w", "v", "w2"}


@pytest.mark.parametrize("limits", [None, (0.0, float("nan")), (-float("inf"), 1.0)])
def test_a_tensor_without_a_range_is_named(limits):
    model = graph(GATED)
    ranges = measured(model)
    if limits is None:
        del ranges["e"]
    else:
        ranges["e"] = limits
    with pytest.raises(GraphError, match="tensor 'e' has no range: calibrate this very file"):
        write_qdq(model, place(model, X86), ranges, X86)


@pytest.mark.parametrize("name", ["nnapi", "xnnpack", "qnn", "qnn-u16"])
def test_what_is_for_a_provider_runs_on_the_cpu_too(name):
    target, model = TARGETS[name], graph(GATED)
    proto, _ = quantized(model, target)
    assert db(model, proto, target, level=target.level) > 30


def test_16_bits_come_closer():
    model = graph(GATED)
    eight, sixteen = (quantized(model, TARGETS[name])[0] for name in ("qnn", "qnn-u16"))
    assert db(model, sixteen, level="basic") > db(model, eight, level="basic") + 1
    assert {node.domain for node in nodes(sixteen, "QuantizeLinear")} == {"com.microsoft"}


def test_padding_is_a_unit_of_its_own_for_providers_that_take_it():
    model = graph("a = Conv(x, w)  b = Pad(a, margins)  y = Conv(b, v)")
    reads = {}
    for name in ("x86", "qnn"):
        proto, _ = quantized(model, TARGETS[name])
        reads[name] = nodes(proto, "Pad")[0].input[0]
    assert reads == {"x86": "a_quantized", "qnn": "a_dequantized"}


def test_a_graph_that_was_written_is_valid_with_every_shape_known():
    proto, _ = quantized(graph(GATED))
    onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    described = {value.name for value in proto.graph.value_info} | {"x", "y"}
    assert {name for node in proto.graph.node for name in node.output} <= described
