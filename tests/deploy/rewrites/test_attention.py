from functools import partial

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import assert_same_output, assert_untouched, drawn, ops, rewritten, small_graph

from deploy.rewrites.attention import use_row_attention


def attention(
    op_type: str = "Mul",
    order: str = "x, f",
    sizes: tuple[int, int, int] = (4, 3, 5),
    batch: int | str = 1,
) -> ir.Model:
    channels, height, width = sizes
    shape = f"{batch},{channels},{height},{width}"
    return small_graph(
        f"""g (float[{shape}] x) => (float[{shape}] y) {{
            g = GlobalAveragePool (x)
            f = Conv (g, w)
            y = {op_type} ({order})
        }}""",
        w=drawn(channels, channels, 1, 1),
    )


@settings(max_examples=20, deadline=None)
@given(
    op_type=st.sampled_from(["Mul", "Add"]),
    order=st.sampled_from(["x, f", "f, x"]),
    sizes=st.tuples(st.integers(2, 5), st.integers(2, 5), st.integers(2, 5)),
)
def test_a_row_of_factors_gives_the_same_image(op_type, order, sizes):
    model = attention(op_type, order, sizes)
    copy, outcome = rewritten(model, use_row_attention)
    assert len(outcome.applied) == 1
    (product,) = [node for node in copy.graph if node.op_type == op_type]
    row = product.inputs[order.split(", ").index("f")]
    assert tuple(row.shape) == (1, sizes[0], 1, sizes[2])
    assert_same_output(model, copy, drawn(1, *sizes))


def test_batches_of_open_size_stay_open():
    model = attention(batch="n")
    copy, outcome = rewritten(model, use_row_attention)
    assert len(outcome.applied) == 1
    for batch in (1, 3):
        assert_same_output(model, copy, drawn(batch, 4, 3, 5))


def test_a_factor_that_is_used_twice_gets_one_row():
    model = small_graph(
        """g (float[1,4,3,5] x) => (float[1,4,3,5] y) {
            f = GlobalAveragePool (x)
            a = Mul (x, f)
            y = Mul (f, a)
        }"""
    )
    copy, outcome = rewritten(model, use_row_attention)
    assert len(outcome.applied) == 2
    assert ops(copy)["Expand"] == 1
    assert_same_output(model, copy, drawn(1, 4, 3, 5))


def test_an_open_width_is_a_reason_to_leave_it():
    model = small_graph(
        """g (float[1,4,3,w] x) => (float[1,4,3,w] y) {
            f = GlobalAveragePool (x)
            y = Mul (x, f)
        }"""
    )
    outcome = assert_untouched(model, use_row_attention)
    assert "its width is open" in next(iter(outcome.skipped.values()))


def test_it_can_be_kept():
    outcome = assert_untouched(attention(), partial(use_row_attention, form="keep"))
    assert outcome.skipped == {}


@pytest.mark.parametrize(
    "product",
    [
        "y = Mul (x, k)",
        "f = ReduceMean (x, rows)\ny = Mul (x, f)",
        "f = ReduceMean (x, channels)\ny = Mul (x, f)",
        "f = ReduceMean (x, all)\ny = Mul (x, f)",
        "f = Relu (x)\ny = Mul (x, f)",
        "f = GlobalAveragePool (x)\ny = Sub (x, f)",
        "f = ReduceMean (x, rows)\ng = GlobalAveragePool (x)\nr = Mul (f, g)\ny = Mul (x, r)",
    ],
    ids=["constant", "row", "pixel", "scalar", "full", "difference", "row of one"],
)
def test_other_products_are_left_alone(product):
    named = {"rows": [2], "channels": [1], "all": [1, 2, 3]}
    constants = "\n".join(f"{k} = Constant <value_ints = {v}> ()" for k, v in named.items())
    model = small_graph(
        f"""g (float[1,4,3,5] x) => (float[1,4,3,5] y) {{
            {constants}
            {product}
        }}""",
        k=drawn(1, 4, 1, 1),
    )
    assert assert_untouched(model, use_row_attention).skipped == {}
