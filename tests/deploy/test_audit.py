from pathlib import Path

import numpy as np
import pytest
from qdq_examples import Graph

from deploy.audit import audit, kept_in_float
from deploy.errors import GraphError
from deploy.fusion import REASONS
from deploy.integer_ops import form_of
from deploy.onnx_file import load_graph
from deploy.optimize import save_optimized
from deploy.placement import TARGETS
from deploy.quantize import quantize
from deploy.recipe import Recipe

X86, ARM = TARGETS["x86"], TARGETS["arm-cpu"]


def graph_output(g: Graph) -> str:
    return g.conv(g.qdq("image"))


def several_readers(g: Graph) -> str:
    made = g.conv(g.qdq("image"))
    return g.add("Sub", g.qdq(made), g.add("Tanh", made))


def several_q(g: Graph) -> str:
    made = g.conv(g.qdq("image"))
    return g.add("Sub", g.qdq(made), g.qdq(made, scale=0.1))


def computed_scale(g: Graph) -> str:
    scale = g.add("ReduceMax", g.add("Abs", "image"), keepdims=0)
    zero = g.constant(128, "uint8")
    codes = g.add("QuantizeLinear", "image", scale, zero)
    return g.qdq(g.conv(g.add("DequantizeLinear", codes, scale, zero)))


def computed_bias(g: Graph) -> str:
    total = g.add("ReduceSum", g.add("Tanh", "image"), keepdims=0)
    made = g.conv(g.qdq("image"), bias="none")
    g.nodes[-1].input.append(g.before_last("Expand", total, g.constant([8], "int64")))
    return g.qdq(made)


def clip_to_six(g: Graph) -> str:
    ends = g.constant(0.0), g.constant(6.0)
    return g.qdq(g.add("Clip", g.conv(g.qdq("image")), *ends), zero=0, scale=0.05)


def int8_fan_out(g: Graph) -> str:
    shared = g.qdq("image", kind="int8")
    return g.qdq(g.add("Add", shared, g.qdq(g.conv(shared), kind="int8")), kind="int8")


def int8_with_float_bias(g: Graph) -> str:
    shared = g.qdq("image", kind="int8")
    return g.add("Sub", g.qdq(g.conv(shared, bias="float"), kind="int8"), shared)


def int8_pool(g: Graph) -> str:
    shared = g.qdq("image", kind="int8")
    return g.add("Sub", g.qdq(g.add("GlobalAveragePool", shared), kind="int8"), shared)


# what is built -> operator, reason, and what the detail has to name
CASES = {
    "an output of the graph": (graph_output, "Conv", "graph-output", "conv"),
    "a float reader besides the Q": (several_readers, "Conv", "several-readers", "Tanh tanh"),
    "two Q": (several_q, "Conv", "several-readers", "QuantizeLinear quantizelinear"),
    "no Q": (
        lambda g: g.qdq(g.add("Sub", g.conv(g.qdq("image")), g.qdq("image"))),
        *("Conv", "not-quantized", "Sub sub"),
    ),
    "the graph's input without a Q": (
        lambda g: g.qdq(g.conv("image")),
        *("Conv", "float-input", "image is an input"),
    ),
    "an input made in float": (
        lambda g: g.qdq(g.conv(g.add("Tanh", g.qdq("image")))),
        *("Conv", "float-input", "Tanh tanh"),
    ),
    "a product with one float side": (
        lambda g: g.qdq(g.add("Mul", g.qdq("image"), g.add("Tanh", "image"))),
        *("Mul", "float-input", "Tanh tanh"),
    ),
    "a float constant": (
        lambda g: g.qdq(g.add("Add", g.qdq("image"), g.constant([0.1]))),
        *("Add", "float-constant", "constant"),
    ),
    "a computed scale": (computed_scale, "Conv", "computed-parameters", "reducemax"),
    "a scale for each channel": (
        lambda g: g.qdq(g.conv(g.qdq("image", scale=[0.05] * 8))),
        *("Conv", "channel-parameters", "has 8 values"),
    ),
    "Relu above the least code": (
        lambda g: g.qdq(g.add("Relu", g.conv(g.qdq("image")))),
        *("Conv", "activation-kept", "Relu"),
    ),
    "Clip narrower than the codes": (clip_to_six, "Conv", "activation-kept", "Clip"),
    "Relu behind a sum": (
        lambda g: g.qdq(g.add("Relu", g.add("Add", g.qdq("image"), g.qdq("image", scale=0.02)))),
        *("Add", "activation-between", "Relu relu"),
    ),
    "another activation": (
        lambda g: g.qdq(g.add("Sigmoid", g.conv(g.qdq("image")))),
        *("Conv", "activation-between", "Sigmoid"),
    ),
    "a computed bias": (computed_bias, "Conv", "float-bias", "expand"),
    "a bias of another scale": (
        lambda g: g.qdq(g.conv(g.qdq("image", scale=0.04))),
        *("Conv", "bias-scale", "dequantizelinear"),
    ),
    "a pool that changes parameters": (
        lambda g: g.qdq(g.add("MaxPool", g.qdq("image"), kernel_shape=[2, 2]), scale=0.1),
        *("MaxPool", "other-parameters", "maxpool"),
    ),
    "an operator without a kernel": (
        lambda g: g.qdq(g.add("GlobalMaxPool", g.qdq("image"))),
        *("GlobalMaxPool", "no-kernel", "GlobalMaxPool"),
    ),
    "a transposed convolution": (
        lambda g: g.qdq(
            g.add(
                "ConvTranspose", g.qdq("image"), g.constant(np.ones((8, 8, 2, 2))), strides=[2, 2]
            )
        ),
        *("ConvTranspose", "no-kernel", "ConvTranspose"),
    ),
    "int8 that several read": (int8_fan_out, "Add", "int8-not-allowed", "int8"),
    "int8 with a float bias": (
        int8_with_float_bias,
        *("Conv", "int8-not-allowed", "int8"),
    ),
    "a pool of int8": (int8_pool, "GlobalAveragePool", "int8-not-allowed", "int8"),
}
MIXED = {
    "a sum of two types": (
        lambda g: g.qdq(g.add("Add", g.qdq("image"), g.qdq("image", kind="int8"))),
        *("Add", "mixed-types", "uint8"),
    ),
    "a convolution that changes the type": (
        lambda g: g.qdq(g.conv(g.qdq("image")), kind="int8"),
        *("Conv", "mixed-types", "int8"),
    ),
}


def write(build, path: Path) -> Path:
    """Build a graph, and beside it a convolution that fuses."""
    g = Graph()
    fusing = g.qdq(g.conv(g.qdq("image", zero=120)), zero=120)
    return g.save(path, build(g), fusing)


def check(path, target, operator, reason, named):
    (found,) = [one for one in audit(path, target=target).unfused if one.operator == operator]
    assert (found.reason, named in found.detail) == (reason, True), found


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_unfused_operator_has_its_reason(case, tmp_path):
    build, *expected = case
    check(write(build, tmp_path / "net.onnx"), X86, *expected)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_reason_is_seen_in_the_saved_file_too(case, tmp_path):
    build, *expected = case
    save_optimized(write(build, tmp_path / "net.onnx"), X86, tmp_path / "saved.onnx")
    assert form_of(load_graph(tmp_path / "saved.onnx")) == "integer"
    check(tmp_path / "saved.onnx", X86, *expected)


@pytest.mark.parametrize("case", MIXED.values(), ids=MIXED)
def test_types_that_meet_are_named_where_onnx_runtime_converts_none(case, tmp_path):
    build, *expected = case
    check(write(build, tmp_path / "net.onnx"), ARM, *expected)


def test_sixteen_bit_activations_have_no_kernel(tmp_path):
    g = Graph("uint16")
    path = g.save(tmp_path / "net.onnx", g.qdq(g.conv(g.qdq("image"))), opset=21)
    check(path, X86, "Conv", "wide-types", "uint16")


def test_every_reason_but_the_last_resort_has_a_test():
    tested = {case[2] for case in (*CASES.values(), *MIXED.values())}
    others = {"wide-types", "on-purpose", "dynamic", "float-weights", "unknown"}
    assert tested | others == set(REASONS)


def test_a_convolution_with_float_weights_at_an_end_is_nobodys_mistake(tmp_path):
    found = audit(three_convolutions(tmp_path, in_float="last"), target=X86)
    (last,) = found.unfused
    assert (last.where, last.reason) == ("last", "float-weights")
    assert found.violations() == []


def test_a_convolution_with_float_weights_in_the_body_is_a_violation(tmp_path):
    found = audit(three_convolutions(tmp_path, in_float="body"), target=X86)
    (body,) = found.unfused
    (violation,) = found.violations()
    assert (body.where, body.reason) == ("body", "float-weights")
    assert f"1 of the convolutions in float: {body.node} (body: float-weights)" == violation


def test_what_is_in_float_on_purpose_is_no_violation(tmp_path):
    path = three_convolutions(tmp_path, in_float="body")
    (body,) = audit(path, target=X86).unfused
    found = audit(path, target=X86, kept={body.node: "asked for"})
    assert [(one.reason, one.detail) for one in found.unfused] == [("on-purpose", "asked for")]
    assert found.violations() == []


def three_convolutions(folder: Path, in_float: str) -> Path:
    g = Graph()
    x = g.qdq("image")
    for where in ("first", "body", "last"):
        if where == in_float:
            made = g.add("Conv", x, g.constant(np.ones((8, 8, 1, 1))))
            x = made if where == "last" else g.qdq(g.add("Elu", made))
        else:
            x = g.qdq(g.conv(x))
    return g.save(folder / "net.onnx", x)


@pytest.mark.parametrize(
    ("norms", "conversions", "fails"), [(0, 4, False), (0, 6, True), (1, 6, False), (1, 8, True)]
)
def test_two_conversions_a_normalization_and_four_are_left_at_most(
    norms, conversions, fails, tmp_path
):
    g = Graph()
    x = g.qdq(g.conv(g.qdq("image")))
    for index in range(conversions // 2 - 1):
        # a shape that no rule fuses, and whose Q and DQ differ from the others
        name = "LayerNormalization" if index < norms else "Elu"
        scale = (g.constant(np.ones(8)),) if index < norms else ()
        x = g.qdq(g.add(name, x, *scale), scale=0.05 + index / 100)
    found = audit(g.save(tmp_path / "net.onnx", x), target=X86)
    assert (found.norms, found.conversions) == (norms, conversions)
    assert bool(found.violations()) == fails


@pytest.mark.parametrize(
    ("target", "channels", "group", "odd"),
    [
        (X86, 24, 24, ("depthwise channels", 16)),
        (ARM, 24, 24, None),
        (ARM, 12, 12, ("depthwise channels", 8)),
        (X86, 12, 1, ("outputs", 16)),
        (ARM, 12, 1, None),
        (ARM, 3, 1, ("outputs", 4)),
        (X86, 32, 1, None),
    ],
)
def test_channels_off_the_multiples_of_the_kernels_are_told(target, channels, group, odd, tmp_path):
    kind = "int8" if target is ARM else "uint8"
    g = Graph(kind)
    inputs = channels if group > 1 else 8
    made = g.qdq(g.conv(g.qdq("image"), (inputs, channels), group=group))
    path = g.save(tmp_path / "net.onnx", made, shape=(1, inputs, 8, 8))
    found = audit(path, target=target).odd_channels
    expected = [] if odd is None else [(odd[0], channels, odd[1])]
    assert [(one.what, one.channels, one.multiple) for one in found] == expected


def test_a_float_graph_has_nothing_to_fuse(line):
    found = audit(line.fp32.path)
    assert (found.form, found.unfused, found.violations()) == ("float", (), [])
    assert found.in_float["Conv"] > 0


def test_all_of_a_quantized_network_fuses_but_what_is_wanted_in_float(line):
    for artifact, target in ((line.int8_x86, X86), (line.int8_arm, ARM)):
        found = audit(artifact.path, kept=kept_in_float(artifact))
        assert found.target == target.name
        assert [(one.operator, one.detail) for one in found.unfused] == [("Add", "global residual")]
        assert found.violations() == []


def test_the_accurate_preset_is_wanted_in_float(line, folder):
    recipe = Recipe(preset="accurate", method="minmax")
    artifact, _ = quantize(line.fp32, line.base, X86, folder, line.probe, recipe=recipe, crops={})
    found = audit(artifact.path, kept=kept_in_float(artifact))
    assert {one.reason for one in found.unfused} == {"on-purpose"}
    assert {one.where for one in found.unfused if one.operator == "Conv"} == {"last"}
    assert found.violations() == []


def test_signed_activations_without_the_option_lose_every_sum_of_several_readers(line):
    """Quantization facts, 1.1: the option alone is why."""
    kept = kept_in_float(line.int8_arm)
    with_option = audit(line.int8_arm.path, target=ARM, kept=kept).counts()
    without = audit(line.int8_arm.path, target=X86, kept=kept)
    assert with_option["Add"] == (7, 1)
    assert without.counts()["Add"] == (0, 8)
    assert {one.reason for one in without.unfused} == {"int8-not-allowed", "on-purpose"}
    assert "Q and DQ left" in without.violations()[-1]


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("no model")
    with pytest.raises(GraphError, match=r"text\.onnx is no ONNX file"):
        audit(path)
