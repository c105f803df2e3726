from functools import partial

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import assert_same_output, assert_untouched, drawn, ops, rewritten, small_graph

from deploy.rewrites.ends import use_padded_ends

SUM = "y = Add (d, x)"
SHUFFLED = 'y = DepthToSpace <blocksize = 2, mode = "DCR"> (d)'


def network(
    channels: int = 3,
    outputs: int = 3,
    kernel: int = 3,
    tail: str = "y = Relu (d)",
    *,
    bias: bool = True,
    last: str = "",
) -> ir.Model:
    pads = f"pads = [{kernel // 2}, {kernel // 2}, {kernel // 2}, {kernel // 2}]"
    text = f"""g (float[1,{channels},4,6] x) => (float[n,c,h,w] y) {{
        f = Conv <{pads}> (x, v)
        r = Relu (f)
        d = Conv <{last or pads}> (r, w{", b" * bias})
        {tail}
    }}"""
    arrays = {"v": drawn(16, channels, kernel, kernel), "w": drawn(outputs, 16, kernel, kernel)}
    return small_graph(text, **arrays, **({"b": drawn(outputs)} if bias else {}))


def convs(model: ir.Model) -> list[tuple[int, ...]]:
    return [tuple(node.inputs[1].shape) for node in model.graph if node.op_type == "Conv"]


@settings(max_examples=20, deadline=None)
@given(
    channels=st.integers(1, 9),
    outputs=st.integers(1, 20),
    kernel=st.sampled_from([1, 3]),
    bias=st.booleans(),
)
def test_the_image_stays_the_same(channels, outputs, kernel, bias):
    model = network(channels, outputs, kernel, bias=bias)
    copy, _ = rewritten(model, use_padded_ends)
    assert_same_output(model, copy, drawn(1, channels, 4, 6))


def test_three_inputs_become_four_and_three_outputs_sixteen():
    copy, outcome = rewritten(network(tail=SUM), use_padded_ends)
    assert convs(copy) == [(16, 4, 3, 3), (16, 16, 3, 3)]
    assert ops(copy) == {"Pad": 1, "Conv": 2, "Relu": 1, "Slice": 1, "Add": 1}
    assert sorted(outcome.forms.values()) == [
        "padded: 3 input channels to 4",
        "padded: 3 output channels to 16",
    ]


@pytest.mark.parametrize("last", ["strides = [2, 3]", "dilations = [1, 2]", "pads = [0, 2, 1, 0]"])
def test_the_last_convolution_keeps_its_geometry(last):
    model = network(last=last)
    copy, _ = rewritten(model, use_padded_ends)
    assert_same_output(model, copy, drawn(1, 3, 4, 6))


def test_what_else_reads_the_input_reads_it_as_it_was():
    model = network(tail=SUM)
    copy, _ = rewritten(model, use_padded_ends)
    (total,) = [node for node in copy.graph if node.op_type == "Add"]
    assert copy.graph.inputs[0] in total.inputs
    assert_same_output(model, copy, drawn(1, 3, 4, 6))


def test_the_last_convolution_is_found_behind_a_shuffle():
    model = network(4, 12, tail=SHUFFLED)
    copy, _ = rewritten(model, use_padded_ends)
    assert convs(copy) == [(16, 4, 3, 3), (16, 16, 3, 3)]
    assert_same_output(model, copy, drawn(1, 4, 4, 6))


def test_a_last_convolution_that_is_the_output_keeps_its_name():
    model = small_graph(
        "g (float[1,4,4,6] x) => (float[1,3,4,6] y) { y = Conv (x, w) }", w=drawn(3, 4, 1, 1)
    )
    copy, _ = rewritten(model, use_padded_ends)
    assert copy.graph.outputs[0].name == "y"
    assert_same_output(model, copy, drawn(1, 4, 4, 6))


def test_one_convolution_can_be_both_ends():
    model = small_graph(
        "g (float[1,3,4,6] x) => (float[1,3,4,6] y) { y = Conv (x, w) }", w=drawn(3, 3, 1, 1)
    )
    copy, _ = rewritten(model, use_padded_ends)
    assert convs(copy) == [(16, 4, 1, 1)]
    assert_same_output(model, copy, drawn(1, 3, 4, 6))


def test_several_convolutions_of_the_input_share_its_padded_copy():
    model = small_graph(
        """g (float[1,3,4,6] x) => (float[1,16,4,6] y) {
            a = Conv (x, v)
            b = Conv (x, w)
            y = Add (a, b)
        }""",
        v=drawn(16, 3, 1, 1),
        w=drawn(16, 3, 1, 1, seed=1),
    )
    copy, _ = rewritten(model, use_padded_ends)
    assert ops(copy)["Pad"] == 1
    assert_same_output(model, copy, drawn(1, 3, 4, 6))


def test_open_sizes_stay_open():
    model = small_graph(
        "g (float[n,3,h,w] x) => (float[n,3,h,w] y) { y = Conv (x, k) }", k=drawn(3, 3, 1, 1)
    )
    copy, outcome = rewritten(model, use_padded_ends)
    assert len(outcome.applied) == 2
    assert_same_output(model, copy, drawn(2, 3, 5, 4))


def test_ends_that_fit_already_are_left_alone():
    assert assert_untouched(network(4, 16), use_padded_ends).skipped == {}


def test_more_outputs_than_sixteen_are_left_alone():
    assert assert_untouched(network(8, 24), use_padded_ends).skipped == {}


def test_they_can_be_kept():
    outcome = assert_untouched(network(), partial(use_padded_ends, form="keep"))
    assert outcome.skipped == {}


@pytest.mark.parametrize("where", ["first", "last"])
def test_depthwise_ends_are_left_with_the_reason(where):
    body = {
        "first": "f = Conv <group = 3> (x, v)\ny = Conv (f, w)",
        "last": "f = Conv (x, w)\ny = Conv <group = 3> (f, v)",
    }[where]
    weights = {"first": (16, 3, 1, 1), "last": (3, 4, 1, 1)}[where]
    model = small_graph(
        f"g (float[1,{3 if where == 'first' else 4},4,6] x) => (float[1,c,4,6] y) {{ {body} }}",
        v=drawn(3, 1, 1, 1),
        w=drawn(*weights),
    )
    outcome = assert_untouched(model, use_padded_ends)
    assert "it has groups" in next(iter(outcome.skipped.values()))
