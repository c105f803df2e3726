import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import assert_same_output, assert_untouched, drawn, ops, rewritten, small_graph

from deploy.rewrites.fold_affine import fold_affines

CHANNELS = 4
STEPS = {
    "scale": "z = Mul (v, k)",
    "scale from the left": "z = Mul (k, v)",
    "shift": "z = Add (v, k)",
    "minus": "z = Sub (v, k)",
    "minus from the left": "z = Sub (k, v)",
    "divided": "z = Div (v, k)",
    "normalized": "z = BatchNormalization <epsilon = 0.1> (v, n1, n2, n3, n4)",
}
SCALES = ("scale", "scale from the left", "divided")
SHAPES = {"channels": (1, CHANNELS, 1, 1), "without batch": (CHANNELS, 1, 1), "one number": ()}


def graph(body: str, **arrays: np.ndarray) -> ir.Model:
    text = f"g (float[1,{CHANNELS},5,6] x) => (float[n,c,h,w] y) {{\n{body}\n}}"
    made = {f"n{place}": np.abs(drawn(CHANNELS, seed=place)) + 0.5 for place in (1, 2, 3, 4)}
    made |= {"k": drawn(CHANNELS, 1, 1), **arrays}
    return small_graph(text, **{name: array for name, array in made.items() if name in text})


def folded(model: ir.Model, steps: int = 1) -> ir.Model:
    copy, outcome = rewritten(model, fold_affines)
    assert len(outcome.applied) == steps
    assert not {"Mul", "Add", "Sub", "Div", "BatchNormalization"} & set(ops(copy))
    assert_same_output(model, copy, drawn(1, CHANNELS, 5, 6))
    return copy


@settings(max_examples=40)
@given(
    step=st.sampled_from(sorted(STEPS)),
    shape=st.sampled_from(sorted(SHAPES)),
    kernel=st.sampled_from([1, 3]),
    group=st.sampled_from([1, 2, CHANNELS]),
    pad=st.integers(0, 1),
    bias=st.booleans(),
    before=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_the_algebra_holds_before_and_after_any_convolution(
    *, step, shape, kernel, group, pad, bias, before, seed
):
    pads = 0 if before and step not in SCALES else pad  # zeros would have to be shifted too
    conv = f"Conv <group = {group}, pads = [{pads}, {pads}, {pads}, {pads}]>"
    given_bias = ", b" if bias else ""
    body = STEPS[step].replace("(v", "(x").replace(", v)", ", x)") if before else STEPS[step]
    if before:
        body += f"\ny = {conv} (z, w{given_bias})"
    else:
        body = f"v = {conv} (x, w{given_bias})\n{body.replace('z =', 'y =')}"
    weight = drawn(CHANNELS, CHANNELS // group, kernel, kernel, seed=seed)
    constant = drawn(*SHAPES[shape], seed=seed)
    constant = np.where(np.abs(constant) < 0.1, np.float32(0.5), constant)
    folded(graph(body, w=weight, b=drawn(CHANNELS, seed=seed), k=constant))


def test_a_chain_folds_whole():
    body = """v = Conv (x, w)
        a = Mul (v, k)
        b = Add (a, k)
        y = BatchNormalization (b, n1, n2, n3, n4)"""
    model = graph(body, w=drawn(CHANNELS, CHANNELS, 3, 3))
    assert ops(folded(model, steps=3)) == {"Conv": 1}


def test_a_scale_before_a_padding_convolution_folds_and_a_shift_stays():
    conv = "y = Conv <pads = [1, 1, 1, 1]> (z, w)"
    weight = drawn(CHANNELS, CHANNELS, 3, 3)
    folded(graph(f"z = Mul (x, k)\n{conv}", w=weight))
    outcome = assert_untouched(graph(f"z = Add (x, k)\n{conv}", w=weight), fold_affines)
    assert "pads with zeros" in next(iter(outcome.skipped.values()))


def test_all_convolutions_that_read_it_take_it_or_none():
    both = "z = Mul (x, k)\np = Conv (z, w)\nq = Conv (z, w)\ny = Max (p, q)"
    weight = drawn(3, CHANNELS, 1, 1)
    folded(graph(both, w=weight))
    one = "z = Mul (x, k)\np = Conv (z, w)\nq = ReduceMax (z)\ny = Max (p, q)"
    outcome = assert_untouched(graph(one, w=weight), fold_affines)
    assert "ReduceMax" in next(iter(outcome.skipped.values()))


def test_weights_that_two_convolutions_share_are_changed_for_one_only():
    body = "p = Conv (x, w)\na = Mul (p, k)\nq = Conv (x, w)\ny = Max (a, q)"
    model = graph(body, w=drawn(CHANNELS, CHANNELS, 1, 1))
    assert ops(folded(model)) == {"Conv": 2, "Max": 1}


def test_what_another_node_reads_of_the_convolution_keeps_it_unscaled():
    body = "p = Conv (x, w)\na = Mul (p, k)\nr = Relu (a)\ny = Max (r, p)"
    model = graph(body, w=drawn(CHANNELS, CHANNELS, 1, 1))
    outcome = assert_untouched(model, fold_affines)
    assert "Conv node, which has other readers" in next(iter(outcome.skipped.values()))


def test_a_graph_output_keeps_its_name():
    model = graph("v = Conv (x, w)\ny = Add (v, k)", w=drawn(CHANNELS, CHANNELS, 1, 1))
    assert [value.name for value in folded(model).graph.outputs] == ["y"]


@pytest.mark.parametrize(
    "body",
    [
        "y = Mul (v, row)",
        "y = Mul (v, v)",
        "y = Pow (v, k)",
        "y = Div (k, v)",
        "y = Div (v, zero)",
        "m = ReduceMax (x)\ny = Mul (v, m)",
        "y = BatchNormalization (v, n1, n2, n3, m)",
    ],
    ids=[
        "a row",
        "a square",
        "a power",
        "an inverse",
        "over zero",
        "computed",
        "computed variance",
    ],
)
def test_what_is_no_affine_of_constants_is_left_alone(body):
    if "n3, m" in body:
        axes = "axes = Constant <value_ints = [0, 2, 3]> ()\n"
        body = f"{axes}m = ReduceMax <keepdims = 0> (x, axes)\n{body}"
    conv = "v = Conv (x, w)\n"
    arrays = {"row": drawn(1, 1, 1, 6), "zero": np.zeros((CHANNELS, 1, 1), np.float32)}
    model = graph(conv + body, w=drawn(CHANNELS, CHANNELS, 1, 1), **arrays)
    assert_untouched(model, fold_affines)


def test_a_constant_that_makes_channels_of_one_is_left_alone():
    body = "m = ReduceMax <keepdims = 1> (x, axis)\nz = Mul (m, k)\ny = Conv (z, w)"
    axis = "axis = Constant <value_ints = [1]> ()\n"
    assert_untouched(graph(axis + body, w=drawn(2, CHANNELS, 1, 1)), fold_affines)


def test_single_numbers_of_other_formulas_are_not_mentioned():
    body = "v = Relu (x)\ny = Mul (v, k)"
    assert assert_untouched(graph(body, k=np.array(2.0)), fold_affines).skipped == {}
