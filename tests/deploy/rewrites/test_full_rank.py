import numpy as np
import onnx_ir as ir
import pytest
from small_graphs import assert_same_output, assert_untouched, drawn, rewritten, small_graph

from deploy.rewrites.full_rank import use_full_rank
from deploy.rewrites.matching import constant_beside


def beside(body: str, constant: np.ndarray) -> ir.Model:
    text = f"g (float[1,3,4,5] x) => (float[n,c,h,w] y) {{\n{body}\n}}"
    return small_graph(text, k=constant)


@pytest.mark.parametrize("step", ["Add (x, k)", "Sub (k, x)", "Mul (x, k)", "Div (x, k)"])
@pytest.mark.parametrize("shape", [(), (5,), (1, 5), (3, 1, 1), (4, 5)])
def test_a_constant_gets_as_many_axes_as_what_it_meets(step, shape):
    model = beside(f"y = {step}", drawn(*shape))
    copy, outcome = rewritten(model, use_full_rank)
    assert len(outcome.applied) == 1
    found = constant_beside(next(iter(copy.graph)))
    assert found is not None
    assert found[1].shape == (1,) * (4 - len(shape)) + shape
    assert_same_output(model, copy, drawn(1, 3, 4, 5))


def test_one_constant_of_two_readers_serves_both():
    model = beside("a = Add (x, k)\nb = Mul (x, k)\ny = Max (a, b)", drawn(5))
    copy, outcome = rewritten(model, use_full_rank)
    assert len(outcome.applied) == 2
    assert_same_output(model, copy, drawn(1, 3, 4, 5))


@pytest.mark.parametrize(
    ("body", "shape"),
    [("y = Add (x, k)", (1, 3, 1, 1)), ("y = Pow (x, k)", ()), ("y = PRelu (x, k)", (3, 1, 1))],
    ids=["full already", "a power", "a slope"],
)
def test_others_are_left_alone(body, shape):
    assert_untouched(beside(body, drawn(*shape)), use_full_rank)
