from functools import partial

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import assert_same_output, assert_untouched, drawn, ops, rewritten, small_graph

from deploy.rewrites.gate import LEAST_OUTPUTS, use_gate_convolutions

SPLIT = "p, q = Split <axis = 1, num_outputs = 2> (c)"
UNEVEN = "parts = Constant <value_ints = [8, 24]> ()\np, q = Split <axis = 1> (c, parts)"
GATE = "y = Mul (p, q)"


def slices(half: int, whole: int, last: int | None = None) -> str:
    """Write the halves as two Slices, as older exporters do."""
    ints = {"zero": 0, "two": 2, "half": half, "end": last or whole, "axis": 1}
    constants = "\n".join(f"{k} = Constant <value_ints = [{v}]> ()" for k, v in ints.items())
    return f"{constants}\np = Slice (c, zero, half, axis)\nq = Slice (c, half, end, axis)"


def gated(
    halves: str = SPLIT,
    gate: str = GATE,
    *,
    outputs: int = 32,
    kernel: int = 1,
    group: int = 1,
    bias: bool = True,
) -> ir.Model:
    pad = kernel // 2
    text = f"""g (float[1,4,3,5] x) => (float[n,c,h,w] y) {{
        c = Conv <group = {group}, pads = [{pad}, {pad}, {pad}, {pad}]> (x, w{", b" * bias})
        {halves}
        {gate}
    }}"""
    arrays = {"w": drawn(outputs, 4 // group, kernel, kernel), "b": drawn(outputs)}
    return small_graph(text, **(arrays if bias else {"w": arrays["w"]}))


@settings(max_examples=20, deadline=None)
@given(
    half=st.integers(1, 9),
    kernel=st.sampled_from([1, 3]),
    written=st.sampled_from(["split", "slices", "slices to the end"]),
    gate=st.sampled_from([GATE, "y = Mul (q, p)", "s = Sigmoid (q)\ny = Mul (p, s)"]),
    bias=st.booleans(),
)
def test_a_convolution_for_each_half_gives_the_same_product(half, kernel, written, gate, bias):
    halves = SPLIT
    if written != "split":
        halves = slices(half, 2 * half, 2**31 - 1 if "end" in written else None)
    model = gated(halves, gate, outputs=2 * half, kernel=kernel, bias=bias)
    copy, outcome = rewritten(model, partial(use_gate_convolutions, form="convs"))
    assert len(outcome.applied) == 1
    assert ops(copy)["Conv"] == 2
    assert not {"Split", "Slice"} & set(ops(copy))
    assert_same_output(model, copy, drawn(1, 4, 3, 5))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kernel": 3}, "larger than 1x1"),
        ({"outputs": 2 * LEAST_OUTPUTS - 2}, f"fewer than {LEAST_OUTPUTS} channels"),
        ({"group": 4, "kernel": 3}, "it has groups"),
        ({"group": 2}, "it has groups"),
    ],
)
def test_by_itself_it_takes_only_what_gets_faster(options, reason):
    outcome = assert_untouched(gated(**options), use_gate_convolutions)
    assert reason in next(iter(outcome.skipped.values()))


def test_a_wide_dense_1x1_is_taken():
    copy, outcome = rewritten(gated(), use_gate_convolutions)
    assert ops(copy) == {"Conv": 2, "Mul": 1}
    assert list(outcome.forms.values()) == ["convs"]


def test_depthwise_is_never_taken_apart():
    model = gated(group=4, kernel=3)
    outcome = assert_untouched(model, partial(use_gate_convolutions, form="convs"))
    assert "it has groups" in next(iter(outcome.skipped.values()))


def test_it_can_be_kept():
    outcome = assert_untouched(gated(), partial(use_gate_convolutions, form="keep"))
    assert outcome.skipped == {}


@pytest.mark.parametrize(
    ("halves", "gate"),
    [
        (SPLIT, "y = Add (p, q)"),
        (UNEVEN, "y = Mul (q, q)"),
        (UNEVEN.replace("8, 24", "1, 31"), GATE),
        (slices(16, 32) + "\nr = Slice (c, zero, end, axis)", GATE),
        (slices(16, 32).replace("axis)", "axis, two)"), GATE),
        (SPLIT, "y = Mul (p, x1)\nr = Relu (q)"),
        ("p, q = Split <axis = 3, num_outputs = 2> (d)", GATE),
        (slices(16, 24), "s = Constant <value_floats = [2.0]> ()\ny = Mul (p, s)\nr = Relu (q)"),
        (slices(16, 32), "r = Relu (c)\nm = Mul (p, q)\ny = Concat <axis = 1> (m, r)"),
    ],
    ids=[
        "sum",
        "uneven",
        "one beside the others",
        "a third part",
        "every second",
        "only one half",
        "another axis",
        "not halves",
        "whole read too",
    ],
)
def test_what_is_no_product_of_halves_is_left_alone(halves, gate):
    extra = "x1 = Identity (p)\n" if "x1" in gate else ""
    if "(d)" in halves:
        halves = (
            f"column = Constant <value_ints = [0,0,0,0,0,0,0,1]> ()\nd = Pad (c, column)\n{halves}"
        )
    model = gated(halves, extra + gate)
    assert assert_untouched(model, use_gate_convolutions).skipped == {}


def test_halves_that_are_outputs_too_keep_their_names():
    model = small_graph(
        """g (float[1,4,3,5] x) => (float[1,16,3,5] p, float[1,16,3,5] y) {
            c = Conv (x, w)
            p, q = Split <axis = 1, num_outputs = 2> (c)
            y = Mul (p, q)
        }""",
        w=drawn(32, 4, 1, 1),
    )
    copy, _ = rewritten(model, use_gate_convolutions)
    assert [output.name for output in copy.graph.outputs] == ["p", "y"]
    assert_same_output(model, copy, drawn(1, 4, 3, 5))
