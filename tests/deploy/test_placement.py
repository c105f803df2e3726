"""What becomes integer: small graphs, node names are those of their outputs."""

import numpy as np
import pytest
from float_graphs import ARM, X86, conv_weights, drawn, float_graph
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.errors import UsageError
from deploy.operators import FLOAT_OPERATORS, OPERATORS, Rule
from deploy.placement import PRESETS, calibrated_tensors, place
from deploy.targets import TARGETS

ARRAYS = conv_weights("w", "v") | {
    "half": np.array([2, 2]),
    "more": np.array([0, 0, 0, 0, 0, 1, 0, 0]),
    "w5": drawn(4, 5, 1, 1),
    "eps": np.full((1, 1, 1, 1), 1e-6, np.float32),
    "low": np.array(-1, np.float32),
    "high": np.array(1, np.float32),
    "axis": np.array([1]),
}
BLOCK = """
    first = Conv(x, w)  a, b = Split <axis=1> (first, half)  gate = Concat <axis=1> (b, a)
    c = Conv(gate, v)  sum = Add(first, c)  d = Conv(sum, v)  sum2 = Add(sum, d)
    last = Conv(sum2, w)  y = Add(last, x)
"""
LAYER_NORM = """
    first = Conv(x, w)  mean = ReduceMean(first, axis)  centered = Sub(first, mean)
    squared = Mul(centered, centered)  variance = ReduceMean(squared, axis)
    shifted = Add(variance, eps)  root = Sqrt(shifted)  normal = Div(centered, root)
    y = Conv(normal, v)
"""


def graph(body, **arrays):
    known = ARRAYS | arrays
    return float_graph(body, **{name: one for name, one in known.items() if name in body})


@pytest.mark.parametrize("table", [OPERATORS, FLOAT_OPERATORS], ids=["integer", "float"])
def test_every_operator_has_its_reason(table):
    whys = [getattr(entry, "why", entry) for entry in table.values()]
    assert all(len(why) >= 10 for why in whys)


def test_no_operator_is_in_both_tables():
    assert not set(OPERATORS) & set(FLOAT_OPERATORS)


def test_a_plain_body_is_integer_but_for_the_global_residual():
    placement = place(graph(BLOCK), X86)
    assert placement.float_because == {"y": "global residual"}
    assert placement.integer == {"first", "a", "gate", "c", "sum", "d", "sum2", "last"}


def test_what_only_moves_values_shares_parameters():
    groups = place(graph(BLOCK), X86).groups
    assert len({groups[name] for name in ("first", "a", "b", "gate")}) == 1
    assert len({groups[name] for name in ("first", "c", "sum", "d", "sum2", "last", "x")}) == 7


def test_a_moved_value_s_range_comes_from_where_it_was_computed():
    placement = place(graph(BLOCK), X86)
    assert placement.sources[placement.groups["gate"]] == ("first",)


def test_the_insides_of_a_layer_norm_stay_in_float():
    placement = place(graph(LAYER_NORM), X86)
    assert placement.integer == {"first", "y"}
    assert placement.float_because["shifted"] == "between float operators"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("a = Conv(x, w)  b = GlobalAveragePool(a)  k = Transpose <perm=[1,0,2,3]> (b)"
         "  y = Conv(a, k)", "its weights are computed"),
        ('a = Conv(x, w)  y = Resize <mode="linear"> (a, , scales)',
         "interpolation has no integer kernel that gives the same"),
        ('a = Conv(x, w)  y = Pad <mode="reflect"> (a, sides)', "it pads with other than zeros"),
        ("a = Conv(x, w)  y = Clip(a, high, high)", "zero is outside its bounds"),
        ("a = Conv(x, w)  y, i = MaxPool <kernel_shape=[1,1]> (a)", "it gives indices"),
    ],
)  # fmt: skip
def test_what_has_no_integer_form_says_why(body, why):
    scales, sides = np.array([1, 1, 2, 2], np.float32), np.array([0, 0, 1, 1, 0, 0, 1, 1])
    assert place(graph(body, scales=scales, sides=sides), X86).float_because["y"] == why


@pytest.mark.parametrize(
    ("body", "merged"),
    [
        ("a = Conv(x, w)  r = Relu(a)  y = Conv(r, v)", {"r"}),
        ("a = Conv(x, w)  b = Conv(a, v)  s = Add(a, b)  r = Relu(s)  y = Conv(r, v)", {"r"}),
        ("a = Conv(x, w)  r = Clip(a, low, high)  y = Conv(r, v)", {"r"}),
        ("a = Conv(x, w)  r = Relu(a)  y = Add(a, r)", set()),
        ("a = Conv(x, w)  t = Transpose(a)  r = Relu(t)  y = Transpose(r)", set()),
    ],
)
def test_a_bound_merges_into_the_rounding_behind_it_where_no_one_else_looks(body, merged):
    placement = place(graph(body), X86)
    assert placement.merged == merged
    assert not placement.merged & placement.integer
    assert set(placement.bounds) == merged


def test_a_float_operator_s_bound_merges_where_all_that_read_it_are_integer():
    body = "a = Sqrt(x)  r = Relu(a)  y = Conv(r, w)"
    assert place(graph(body), X86).merged == {"r"}


def test_a_move_between_float_operators_stays_in_float():
    body = "a = Conv(x, w)  b = Sqrt(a)  t = Transpose(b)  y = Sqrt(t)"
    assert place(graph(body), X86).float_because == {"t": "between float operators"}


def test_a_move_before_an_integer_operator_moves_integers():
    body = "a = Sqrt(x)  t = Transpose <perm=[0,1,3,2]> (a)  y = Conv(t, w)"
    placement = place(graph(body), X86)
    assert placement.integer == {"t", "y"}
    assert placement.groups["a"] == placement.groups["t"]


def test_padding_of_the_input_keeps_its_steps():
    body = "padded = Pad(x, more)  y = Conv(padded, w5)"
    placement = place(graph(body), X86)
    assert placement.integer == {"padded", "y"}
    assert placement.groups["padded"] == placement.groups["x"]
    assert placement.fixed == {"x": (0.0, 1.0)}


def test_an_input_of_more_bits_keeps_what_reads_it_in_float():
    placement = place(graph(BLOCK), X86, input_range=None)
    assert "x" not in placement.groups
    assert placement.float_because == {"first": "input of over 8 bits", "y": "input of over 8 bits"}


def test_the_accurate_preset_keeps_the_stream_and_the_last_convolution():
    placement = place(graph(BLOCK), X86, preset="accurate")
    assert placement.float_because == {
        "sum": "residual stream",
        "sum2": "residual stream",
        "last": "last convolution",
        "y": "residual stream",
    }
    assert placement.integer == {"first", "a", "gate", "c", "d"}


def test_named_nodes_stay_in_float():
    placement = place(graph(BLOCK), X86, float_nodes=["c"])
    assert placement.float_because["c"] == "asked for"
    assert "c" not in placement.integer


def test_a_node_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="no node 'nowhere' to keep in float"):
        place(graph(BLOCK), X86, float_nodes=["c", "nowhere"])


def test_an_unknown_preset_lists_all():
    with pytest.raises(UsageError, match="unknown preset 'best': use one of fast, accurate"):
        place(graph(BLOCK), X86, preset="best")


def test_a_provider_gets_only_the_operators_that_it_takes():
    placement = place(graph(BLOCK), TARGETS["nnapi"])
    assert placement.float_because["a"] == "nnapi takes no Split in QDQ form"
    assert {"first", "c", "d", "last"} <= placement.integer


def test_signed_and_unsigned_targets_place_alike():
    assert place(graph(BLOCK), X86) == place(graph(BLOCK), ARM)


NODES = ("first", "a", "gate", "c", "sum", "d", "sum2", "last", "y")


@settings(max_examples=60, deadline=None)
@given(
    target=st.sampled_from(sorted(TARGETS)),
    preset=st.sampled_from(sorted(PRESETS)),
    float_nodes=st.sets(st.sampled_from(NODES)),
    input_range=st.sampled_from([None, (0.0, 1.0)]),
)
def test_one_calibration_serves_every_choice(target, preset, float_nodes, input_range):
    model = graph(BLOCK)
    placement = place(
        model,
        TARGETS[target],
        preset=preset,
        float_nodes=float_nodes,
        input_range=input_range,
    )
    needed = {name for names in placement.sources.values() for name in names}
    assert needed <= set(calibrated_tensors(model))


def test_only_computed_values_are_calibrated():
    assert calibrated_tensors(graph(BLOCK)) == ["x", "first", "c", "sum", "d", "sum2", "last"]


def test_the_rules_are_few():
    assert {entry.rule for entry in OPERATORS.values()} == set(Rule)
