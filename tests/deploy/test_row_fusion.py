"""What quantization and ONNX Runtime make of rows of pixels: one kernel, no change of layout."""

import numpy as np
import pytest
from float_graphs import (
    ARM,
    X86,
    drawn,
    float_graph,
    fused_ops,
    image,
    quantized,
    run,
)

from deploy.rewrites.row_convolution import use_row_convolution

PADS = "pads = [1, 1, 1, 1]"
PARTIAL = f"""
    a = Conv <{PADS}> (x, v)
    p, q = Split <axis = 1, num_outputs = 2> (a)
    c = Conv <{PADS}> (p, k)
    r = Relu (c)
    j = Concat <axis = 1> (r, q)
    y = Conv (j, w)
"""


def partial_convolution(*, rows: bool):
    """Give a 3x3 convolution of the first 4 of 8 channels, a Relu behind it."""
    arrays = {
        "v": drawn(8, 4, 3, 3) / 6,
        "k": drawn(4, 4, 3, 3, seed=1) / 6,
        "w": drawn(4, 8, 1, 1),
    }
    model = float_graph(PARTIAL, **arrays)
    if rows:
        assert use_row_convolution(model).applied == ["a", "c"]
    return model


@pytest.mark.parametrize("target", [X86, ARM], ids=lambda target: target.name)
def test_rows_fuse_like_the_convolutions_that_they_stand_for(target):
    found = [
        fused_ops(quantized(partial_convolution(rows=rows), target)[0], target)
        for rows in (False, True)
    ]
    assert found[0]["QLinearConv"] == found[1]["QLinearConv"] == 3
    for kind in ("Conv", "Relu", "QuantizeLinear", "DequantizeLinear", "Transpose"):
        assert found[1][kind] == found[0][kind], kind


def test_rows_have_the_parameters_of_the_pixels_that_they_hold():
    proto, placement = quantized(partial_convolution(rows=True))
    assert len(placement.merged) == 1
    groups = {placement.groups[name] for name in ("a", "p", "q", "r", "j")}
    assert len(groups) == 1
    named = [node for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    assert len({node.input[1] for node in named}) == 3  # the input, the body, the output


def test_integer_rows_give_what_integer_pixels_give():
    outputs = [run(quantized(partial_convolution(rows=rows))[0], image()) for rows in (False, True)]
    np.testing.assert_array_equal(*outputs)
