"""Small graphs of each architecture, by structure alone: node names are those of their outputs."""

import pytest
from float_graphs import conv_weights, drawn, float_graph

from deploy.residuals import (
    global_residuals,
    input_readers,
    last_convolutions,
    node_name,
    residual_adds,
)

RESNET = """
    a = Conv(x, w)  b = Conv(a, w)  c = Relu(b)  d = Conv(c, w)  sum = Add(a, d)  e = Relu(sum)
    y = Conv(e, w)
"""
U_NET = """
    a = Conv(x, w)  down = MaxPool <kernel_shape=[2,2], strides=[2,2]> (a)  b = Conv(down, w)
    up = Conv(b, wide)  shuffled = DepthToSpace <blocksize=2> (up)  skip = Add(shuffled, a)
    last = Conv(skip, w)  cut = Slice(last, zero, all, one)  y = Add(cut, x)
"""
PARALLEL = "a = Conv(x, w)  b = Conv(a, w)  c = Conv(a, w)  sum = Add(b, c)  y = Conv(sum, w)"
SUBTRACTED = "a = Conv(x, w)  b = Conv(a, w)  y = Sub(x, b)"
LONG_SKIP = "a = Conv(x, w)  b = Conv(a, w)  c = Conv(b, w)  y = Add(a, c)"


def graph(body):
    import numpy as np

    arrays = conv_weights("w") | {
        "wide": drawn(16, 4, 1, 1),
        "zero": np.array([0]),
        "all": np.array([4]),
        "one": np.array([1]),
        "scale": drawn(1, 4, 1, 1),
    }
    return float_graph(body, **{name: one for name, one in arrays.items() if name in body})


def names(nodes):
    return [node_name(node) for node in nodes]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (RESNET, ["sum"]),
        (U_NET, ["skip", "y"]),
        (PARALLEL, []),
        (LONG_SKIP, ["y"]),
        ("a = Conv(x, w)  y = Add(a, scale)", []),
        ("a = Conv(x, w)  b = Add(x, a)  c = Conv(b, w)  y = Add(c, b)", ["b", "y"]),
    ],
)
def test_a_residual_joins_a_value_with_what_was_computed_from_it(body, found):
    assert names(residual_adds(graph(body))) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (RESNET, ["y"]),
        (U_NET, ["last"]),
        (SUBTRACTED, ["b"]),
        (LONG_SKIP, ["c"]),
        ("a = Conv(x, w)  b = Conv(a, w)  c = Conv(a, w)  y = Mul(b, c)", []),
        ("a = Conv(x, w)  b = Conv(a, w)  c = Conv(a, w)  y = Add(b, c)", ["b", "c"]),
    ],
)
def test_the_last_convolutions_have_only_sums_and_moves_behind_them(body, found):
    assert sorted(names(last_convolutions(graph(body)))) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (U_NET, ["y"]),
        (RESNET, []),
        (LONG_SKIP, []),
        ("a = Conv(x, w)  b = Add(x, a)  y = Conv(b, w)", []),
        ("a = Conv(x, w)  i = Identity(x)  b = Add(a, i)  y = Relu(b)", ["b"]),
    ],
)
def test_a_global_residual_adds_the_input_at_the_very_end(body, found):
    assert names(global_residuals(graph(body))) == found


def test_what_reads_the_input_is_found_behind_moves():
    body = "i = Identity(x)  t = Transpose <perm=[0,1,3,2]> (i)  a = Conv(t, w)  y = Add(a, x)"
    assert names(input_readers(graph(body))) == ["a", "y"]


def test_a_node_without_a_name_goes_by_its_output():
    model = graph(LONG_SKIP)
    for node in model.graph:
        node.name = None
    assert names(residual_adds(model)) == ["y"]
