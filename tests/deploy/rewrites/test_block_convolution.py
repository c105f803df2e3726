from functools import partial

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import assert_same_output, assert_untouched, drawn, ops, rewritten, small_graph

from deploy.rewrites.block_convolution import use_block_convolution
from deploy.rewrites.ends import use_padded_ends
from deploy.rewrites.pixel_shuffle import use_pixel_shuffle

use_blocks = partial(use_block_convolution, form="blocks")


def network(
    outputs: int = 3,
    kernel: tuple[int, int] = (3, 3),
    sides: tuple[int, int] = (8, 4),
    pads: tuple[int, int, int, int] = (1, 1, 1, 1),
    *,
    more: str = "",
    bias: bool = True,
) -> ir.Model:
    height, width = sides
    text = f"""g (float[1,5,{height},{width}] x) => (float[1,{outputs},h,w] y) {{
        y = Conv <pads = {list(pads)}{more}> (x, w{", b" * bias})
    }}"""
    arrays = {"w": drawn(outputs, 5, *kernel), "b": drawn(outputs)}
    return small_graph(text, **(arrays if bias else {"w": arrays["w"]}))


@settings(max_examples=30, deadline=None)
@given(
    outputs=st.integers(1, 4),
    kernel=st.tuples(st.integers(2, 5), st.integers(1, 5)),
    blocks=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    before=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    bias=st.booleans(),
)
def test_blocks_of_pixels_are_the_same_image(outputs, kernel, blocks, before, bias):
    sides = 4 * blocks[0], 4 * blocks[1]
    after = [max(0, side - 1 - pad) for side, pad in zip(kernel, before, strict=True)]
    # an input of such a size that the output has `sides`
    given = [
        side + size - 1 - first - last
        for side, size, first, last in zip(sides, kernel, before, after, strict=True)
    ]
    model = network(outputs, kernel, tuple(given), (*before, *after), bias=bias)
    copy, outcome = rewritten(model, use_blocks)
    assert len(outcome.applied) == 1
    assert_same_output(model, copy, drawn(1, 5, *given))


@pytest.mark.parametrize(("outputs", "block"), [(1, 4), (2, 2), (3, 2), (4, 2)])
def test_a_block_has_sixteen_outputs(outputs, block):
    copy, outcome = rewritten(network(outputs), use_blocks)
    (conv,) = [node for node in copy.graph if node.op_type == "Conv"]
    assert tuple(conv.inputs[1].shape) == (16, 5, 2 + block, 2 + block)
    assert list(outcome.forms.values()) == [f"blocks of {block}x{block} pixels"]
    assert ops(copy)["Slice"] == (outputs in (2, 3))


def test_its_shuffle_becomes_rows_like_any_other_and_its_outputs_are_padded_already():
    model = network(sides=(4, 4))
    blocks, _ = rewritten(model, use_blocks)
    rows, _ = rewritten(blocks, use_pixel_shuffle)
    assert "DepthToSpace" not in ops(rows)
    copy, outcome = rewritten(rows, use_padded_ends)
    assert list(outcome.forms.values()) == ["padded: 5 input channels to 8"]
    assert_same_output(model, copy, drawn(1, 5, 4, 4))


def test_a_batch_of_open_size_stays_open():
    model = small_graph(
        "g (float[n,5,4,4] x) => (float[n,3,4,4] y) { y = Conv <pads = [1, 1, 1, 1]> (x, w) }",
        w=drawn(3, 5, 3, 3),
    )
    copy, _ = rewritten(model, use_blocks)
    for batch in (1, 3):
        assert_same_output(model, copy, drawn(batch, 5, 4, 4))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"sides": (5, 4)}, "no multiple of 2"),
        ({"sides": (4, 6), "outputs": 1}, "no multiple of 4"),
        ({"more": ", strides = [2, 2]"}, "it has a stride"),
        ({"more": ", dilations = [2, 2]", "pads": (2, 2, 2, 2)}, "is dilated"),
        ({"sides": ("a", 4)}, "open"),
    ],
)
def test_what_has_no_blocks_is_left_with_its_reason(options, reason):
    outcome = assert_untouched(network(**options), use_blocks)
    assert reason in next(iter(outcome.skipped.values()))


def test_depthwise_is_left_with_the_reason():
    model = small_graph(
        """g (float[1,3,4,4] x) => (float[1,3,4,4] y) {
            y = Conv <group = 3, pads = [1, 1, 1, 1]> (x, w)
        }""",
        w=drawn(3, 1, 3, 3),
    )
    outcome = assert_untouched(model, use_blocks)
    assert "it has groups" in next(iter(outcome.skipped.values()))


@pytest.mark.parametrize(
    "options", [{"outputs": 5}, {"kernel": (1, 1), "pads": (0, 0, 0, 0)}], ids=["five", "1x1"]
)
def test_many_outputs_and_single_pixels_are_left_alone(options):
    assert assert_untouched(network(**options), use_blocks).skipped == {}


@pytest.mark.parametrize("form", ["auto", "rows", "padded", "keep"])
def test_another_form_can_be_asked_for(form):
    outcome = assert_untouched(network(), partial(use_block_convolution, form=form))
    assert outcome.skipped == {}
