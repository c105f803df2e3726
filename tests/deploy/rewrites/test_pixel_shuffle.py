from functools import partial

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import assert_same_output, assert_untouched, drawn, ops, rewritten, small_graph

from deploy.rewrites.pixel_shuffle import use_pixel_shuffle

SIX = {"CRD": ("{c}, {b}, {b}", "0, 1, 4, 2, 5, 3"), "DCR": ("{b}, {b}, {c}", "0, 3, 4, 1, 5, 2")}


def shuffle_text(written: str, mode: str, block: int, sizes: tuple[int, int, int]) -> str:
    """Write the shuffle of z, with `kept` channels, to y: as an operator, or over six axes."""
    kept, height, width = sizes
    if written == "operator":
        return f'y = DepthToSpace <blocksize = {block}, mode = "{mode}"> (z)'
    axes, perm = SIX[mode]
    six = axes.format(c=kept, b=block)
    large = f"1, {kept}, {block * height}, {block * width}"
    return f"""
        to_six = Constant <value_ints = [1, {six}, {height}, {width}]> ()
        six = Reshape (z, to_six)
        mixed = Transpose <perm = [{perm}]> (six)
        to_four = Constant <value_ints = [{large}]> ()
        y = Reshape (mixed, to_four)"""


def conv_and_shuffle(
    written: str = "operator",
    mode: str = "CRD",
    block: int = 2,
    sizes: tuple[int, int, int] = (2, 3, 4),
    bias: bool = True,
) -> ir.Model:
    kept, height, width = sizes
    outputs = kept * block**2
    text = f"""g (float[1,3,{height},{width}] x)
        => (float[1,{kept},{block * height},{block * width}] y) {{
        c = Conv (x, w{", b" if bias else ""})
        z = Relu (c)
        {shuffle_text(written, mode, block, sizes)}
    }}"""
    arrays = {"w": drawn(outputs, 3, 1, 1), "b": drawn(outputs)}
    return small_graph(text, **(arrays if bias else {"w": arrays["w"]}))


@settings(max_examples=40, deadline=None)
@given(
    written=st.sampled_from(["operator", "six axes"]),
    mode=st.sampled_from(["CRD", "DCR"]),
    form=st.sampled_from(["auto", "nhwc", "dcr"]),
    block_and_sizes=st.tuples(st.integers(2, 3), *[st.integers(1, 4)] * 3),
    bias=st.booleans(),
)
def test_any_shuffle_gives_the_same_image_in_any_form(written, mode, form, block_and_sizes, bias):
    block, *sizes = block_and_sizes
    model = conv_and_shuffle(written, mode, block, tuple(sizes), bias=bias)
    copy, _ = rewritten(model, partial(use_pixel_shuffle, form=form))
    assert_same_output(model, copy, drawn(1, 3, *sizes[1:]))


@pytest.mark.parametrize("written", ["operator", "six axes"])
@pytest.mark.parametrize("mode", ["CRD", "DCR"])
def test_rows_are_moved_by_transposes_of_rank_four(written, mode):
    copy, outcome = rewritten(conv_and_shuffle(written, mode), use_pixel_shuffle)
    assert ops(copy) == {"Conv": 1, "Relu": 1, "Transpose": 3, "Reshape": 2}
    assert set(outcome.forms.values()) == {"nhwc"}
    assert all(len(node.outputs[0].shape) == 4 for node in copy.graph)


@pytest.mark.parametrize(("written", "mode"), [("operator", "CRD"), ("six axes", "DCR")])
def test_depth_to_space_in_dcr_order_can_be_asked_for(written, mode):
    copy, _ = rewritten(conv_and_shuffle(written, mode), partial(use_pixel_shuffle, form="dcr"))
    (shuffle,) = [node for node in copy.graph if node.op_type == "DepthToSpace"]
    assert shuffle.attributes.get_string("mode") == "DCR"


def test_an_operator_in_dcr_order_is_dcr_already():
    assert_untouched(conv_and_shuffle(mode="DCR"), partial(use_pixel_shuffle, form="dcr"))


@pytest.mark.parametrize("written", ["operator", "six axes"])
def test_it_can_be_kept(written):
    outcome = assert_untouched(conv_and_shuffle(written), partial(use_pixel_shuffle, form="keep"))
    assert outcome.skipped == {}


def test_a_second_time_finds_nothing():
    once, _ = rewritten(conv_and_shuffle(), use_pixel_shuffle)
    assert assert_untouched(once, use_pixel_shuffle).skipped == {}


def test_the_same_graph_gives_the_same_bytes():
    first, second = (ir.to_proto(rewritten(conv_and_shuffle(), use_pixel_shuffle)[0]) for _ in "ab")
    assert first.SerializeToString(deterministic=True) == (
        second.SerializeToString(deterministic=True)
    )


def test_weights_that_another_convolution_shares_stay_for_it():
    model = small_graph(
        """g (float[1,4,3,5] x) => (float[1,1,6,10] y) {
            a = Conv (x, w)
            c = Conv (a, w)
            y = DepthToSpace <blocksize = 2, mode = "CRD"> (c)
        }""",
        w=drawn(4, 4, 1, 1),
    )
    copy, _ = rewritten(model, use_pixel_shuffle)
    assert_same_output(model, copy, drawn(1, 4, 3, 5))


def test_a_dcr_shuffle_needs_no_convolution_before_it():
    model = small_graph(
        """g (float[1,8,3,5] x) => (float[1,2,6,10] y) {
            y = DepthToSpace <blocksize = 2, mode = "DCR"> (x)
        }"""
    )
    copy, outcome = rewritten(model, use_pixel_shuffle)
    assert len(outcome.applied) == 1
    assert_same_output(model, copy, drawn(1, 8, 3, 5))


@pytest.mark.parametrize(
    "before",
    [
        "c = Add (x, x)",
        "c = Conv <group = 2> (x, w)",
        "c = Conv (x, v)\nread = Softmax (c)",
    ],
    ids=["no convolution", "groups", "read by others"],
)
def test_channels_that_cannot_be_reordered_are_a_reason_to_leave_it(before):
    outputs = "float[1,2,6,10] y" + (", float[1,8,3,5] read" if "read" in before else "")
    model = small_graph(
        f"""g (float[1,8,3,5] x) => ({outputs}) {{
            {before}
            y = DepthToSpace <blocksize = 2, mode = "CRD"> (c)
        }}""",
        w=drawn(8, 4, 1, 1),
        v=drawn(8, 8, 1, 1),
    )
    outcome = assert_untouched(model, use_pixel_shuffle)
    assert "no dense convolution" in next(iter(outcome.skipped.values()))


def test_an_open_height_is_a_reason_to_leave_it():
    model = small_graph(
        """g (float[1,3,h,5] x) => (float[1,2,t,10] y) {
            c = Conv (x, w)
            y = DepthToSpace <blocksize = 2, mode = "CRD"> (c)
        }""",
        w=drawn(8, 3, 1, 1),
    )
    outcome = assert_untouched(model, use_pixel_shuffle)
    assert "height or width is open" in next(iter(outcome.skipped.values()))
    copy, _ = rewritten(model, partial(use_pixel_shuffle, form="dcr"))
    assert_same_output(model, copy, drawn(1, 3, 4, 5))


def test_batches_of_open_size_stay_open():
    model = small_graph(
        """g (float[n,3,4,5] x) => (float[n,2,8,10] y) {
            c = Conv (x, w)
            y = DepthToSpace <blocksize = 2, mode = "CRD"> (c)
        }""",
        w=drawn(8, 3, 1, 1),
    )
    copy, _ = rewritten(model, use_pixel_shuffle)
    for batch in (1, 3):
        assert_same_output(model, copy, drawn(batch, 3, 4, 5))


@pytest.mark.parametrize("perm", ["0, 1, 4, 3, 5, 2", "0, 2, 4, 1, 5, 3", "0, 1, 2, 4, 3, 5"])
def test_another_order_of_six_axes_is_no_shuffle(perm):
    model = small_graph(
        f"""g (float[1,8,4,4] x) => (float[1,2,8,8] y) {{
            to_six = Constant <value_ints = [1, 2, 2, 2, 4, 4]> ()
            six = Reshape (x, to_six)
            mixed = Transpose <perm = [{perm}]> (six)
            to_four = Constant <value_ints = [1, 2, 8, 8]> ()
            y = Reshape (mixed, to_four)
        }}"""
    )
    assert assert_untouched(model, use_pixel_shuffle).skipped == {}


def test_axes_of_other_sizes_are_no_shuffle():
    model = small_graph(
        """g (float[1,8,2,3] x) => (float[1,2,4,6] y) {
            to_six = Constant <value_ints = [1, 2, 2, 1, 4, 3]> ()
            six = Reshape (x, to_six)
            mixed = Transpose <perm = [0, 1, 4, 2, 5, 3]> (six)
            to_four = Constant <value_ints = [1, 2, 4, 6]> ()
            y = Reshape (mixed, to_four)
        }"""
    )
    assert assert_untouched(model, use_pixel_shuffle).skipped == {}


def test_what_the_rewrite_gives_is_dcr_of_the_reordered_channels():
    model = conv_and_shuffle(sizes=(2, 1, 1))
    copy, _ = rewritten(model, use_pixel_shuffle)
    weights = [
        next(node for node in one.graph if node.op_type == "Conv").inputs[1].const_value.numpy()
        for one in (model, copy)
    ]
    np.testing.assert_array_equal(weights[1], weights[0][[0, 4, 1, 5, 2, 6, 3, 7]])
