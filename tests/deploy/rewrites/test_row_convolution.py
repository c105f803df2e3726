from functools import partial

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import assert_same_output, assert_untouched, drawn, ops, rewritten, small_graph

from deploy.rewrites.ends import use_padded_ends
from deploy.rewrites.pixel_shuffle import use_pixel_shuffle
from deploy.rewrites.row_convolution import use_row_convolution

SINGLE = {"kernel": (3, 1), "pads": (1, 0, 1, 0)}
DILATED = {"more": ", dilations = [2, 2]", "pads": (2, 2, 2, 2)}


def network(
    outputs: int = 3,
    kernel: tuple[int, int] = (3, 3),
    sides: tuple[object, object] = (5, 8),
    pads: tuple[int, int, int, int] = (1, 1, 1, 1),
    *,
    inputs: int = 5,
    more: str = "",
    bias: bool = True,
    tail: str = "y = Identity (d)",
) -> ir.Model:
    height, width = sides
    text = f"""g (float[1,{inputs},{height},{width}] x) => (float[1,c,h,w] y) {{
        d = Conv <pads = {list(pads)}{more}> (x, w{", b" * bias})
        {tail}
    }}"""
    arrays = {"w": drawn(outputs, inputs, *kernel), "b": drawn(outputs)}
    return small_graph(text, **(arrays if bias else {"w": arrays["w"]}))


def conv_shapes(model: ir.Model) -> list[tuple[int, ...]]:
    return [tuple(node.inputs[1].shape) for node in model.graph if node.op_type == "Conv"]


@settings(max_examples=40, deadline=None)
@given(
    outputs=st.integers(1, 8),
    kernel=st.tuples(st.integers(1, 4), st.integers(2, 5)),
    across=st.integers(1, 5),
    before=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    stride=st.integers(1, 2),
    bias=st.booleans(),
)
def test_rows_of_pixels_are_the_same_image(*, outputs, kernel, across, before, stride, bias):
    width = 2 * across
    after = [max(0, side - 1 - pad) for side, pad in zip(kernel, before, strict=True)]
    # an input of such a width that the output has `width`
    given = 6, width + kernel[1] - 1 - before[1] - after[1]
    more = f", strides = [{stride}, 1]"
    model = network(outputs, kernel, given, (*before, *after), more=more, bias=bias)
    copy, outcome = rewritten(model, use_row_convolution)
    assert len(outcome.applied) == 1
    assert_same_output(model, copy, drawn(1, 5, *given))


@pytest.mark.parametrize(
    ("outputs", "pixels"), [(1, 16), (2, 8), (3, 4), (4, 4), (5, 2), (7, 2), (8, 2)]
)
def test_a_row_has_sixteen_outputs(outputs, pixels):
    copy, outcome = rewritten(network(outputs, sides=(5, 16)), use_row_convolution)
    assert conv_shapes(copy) == [(16, 5, 3, 2 + pixels)]
    assert list(outcome.forms.values()) == [f"rows of {pixels} pixels"]
    assert ops(copy)["Slice"] == (outputs in (3, 5, 7))


def test_a_width_that_rows_of_four_do_not_divide_has_rows_of_two():
    model = network(sides=(4, 6))
    copy, outcome = rewritten(model, use_row_convolution)
    assert conv_shapes(copy) == [(16, 5, 3, 4)]
    assert list(outcome.forms.values()) == ["rows of 2 pixels"]
    assert_same_output(model, copy, drawn(1, 5, 4, 6))


def test_the_first_convolution_makes_two_pixels_where_rows_are_asked_for():
    model = network(16, inputs=3)
    assert assert_untouched(model, use_row_convolution).skipped == {}
    rows, outcome = rewritten(model, partial(use_row_convolution, form="rows"))
    assert conv_shapes(rows) == [(32, 3, 3, 4)]
    assert len(outcome.applied) == 1
    copy, _ = rewritten(rows, use_padded_ends)
    assert conv_shapes(copy) == [(32, 4, 3, 4)]
    assert_same_output(model, copy, drawn(1, 3, 5, 8))


def test_its_outputs_are_padded_already():
    model = network(inputs=4)
    rows, _ = rewritten(model, use_row_convolution)
    assert assert_untouched(rows, use_padded_ends).skipped == {}


def test_layouts_cancel_beside_a_shuffle():
    model = network(8, tail='y = DepthToSpace <blocksize = 2, mode = "CRD"> (d)')
    shuffled, _ = rewritten(model, use_pixel_shuffle)
    copy, _ = rewritten(shuffled, use_row_convolution)
    found = [node.op_type for node in copy.graph]
    assert found[:5] == ["Conv", "Transpose", "Reshape", "Transpose", "Transpose"]
    assert_same_output(model, copy, drawn(1, 5, 5, 8))


def test_activations_stay_beside_the_convolution():
    model = network(tail="e = Relu (d)\nl = Constant <value_float = 1.0> ()\ny = Clip (e, , l)")
    copy, _ = rewritten(model, use_row_convolution)
    assert [node.op_type for node in copy.graph][:3] == ["Conv", "Relu", "Clip"]
    assert_same_output(model, copy, drawn(1, 5, 5, 8))


def test_what_several_read_is_one_image_to_all():
    model = network(tail="e = Relu (d)\ny = Mul (d, e)")
    copy, _ = rewritten(model, use_row_convolution)
    assert ops(copy)["Conv"] == 1
    assert_same_output(model, copy, drawn(1, 5, 5, 8))


def test_a_batch_and_a_height_of_open_size_stay_open():
    model = small_graph(
        "g (float[n,5,h,8] x) => (float[n,3,h,8] y) { y = Conv <pads = [1, 1, 1, 1]> (x, w) }",
        w=drawn(3, 5, 3, 3),
    )
    copy, outcome = rewritten(model, use_row_convolution)
    assert len(outcome.applied) == 1
    for batch, height in ((1, 4), (3, 5)):
        assert_same_output(model, copy, drawn(batch, 5, height, 8))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sides": (4, 5)}, "its width is odd: 5"),
        ({"sides": (4, '"w"')}, "its width is open"),
        ({"more": ", strides = [2, 2]"}, "it has a stride"),
        (DILATED, "is dilated"),
    ],
)
def test_what_has_no_rows_is_left_with_its_reason(options, reason):
    outcome = assert_untouched(network(**options), use_row_convolution)
    assert reason in next(iter(outcome.skipped.values()))


def test_rows_of_depthwise_convolutions_are_left_with_the_reason():
    model = small_graph(
        """g (float[1,3,4,4] x) => (float[1,3,4,4] y) {
            y = Conv <group = 3, pads = [1, 1, 1, 1]> (x, w)
        }""",
        w=drawn(3, 1, 3, 3),
    )
    outcome = assert_untouched(model, use_row_convolution)
    assert "it has groups" in next(iter(outcome.skipped.values()))


@pytest.mark.parametrize(
    "options",
    [{"outputs": 9}, {"outputs": 16}, {"outputs": 32, "inputs": 3}, SINGLE],
    ids=["nine", "sixteen of the body", "many first", "one column"],
)
def test_what_would_not_gain_by_rows_is_left_alone(options):
    asked = partial(use_row_convolution, form="rows")
    assert assert_untouched(network(**options), asked).skipped == {}


@pytest.mark.parametrize("form", ["blocks", "padded", "keep"])
def test_another_form_than_rows_can_be_asked_for(form):
    outcome = assert_untouched(network(), partial(use_row_convolution, form=form))
    assert outcome.skipped == {}
