import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy.inference import open_run
from deploy.rewrites.global_pool import use_global_pool

SHAPE = (1, 4, 6, 8)


def mean_model(axes: list[int], keepdims: int = 1, opset: int = 18) -> ir.Model:
    initializers = []
    if opset >= 18:  # axes became an input
        initializers = [numpy_helper.from_array(np.array(axes, np.int64), "axes")]
        node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=keepdims)
    else:
        node = helper.make_node("ReduceMean", ["x"], ["y"], keepdims=keepdims, axes=axes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "mean", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return ir.from_proto(model)


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    return open_run(ir.to_proto(model).SerializeToString())(x)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("axes", [[2, 3], [-2, -1], [3, 2]])
def test_a_mean_over_height_and_width_becomes_a_pool(axes, opset):
    model = mean_model(axes, opset=opset)
    x = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    before = run(model, x)
    assert len(use_global_pool(model).applied) == 1
    assert [node.op_type for node in model.graph] == ["GlobalAveragePool"]
    np.testing.assert_allclose(run(model, x), before, atol=1e-6)


@pytest.mark.parametrize(("axes", "keepdims"), [([1], 1), ([2], 1), ([1, 2, 3], 1), ([2, 3], 0)])
def test_another_mean_is_left_alone(axes, keepdims):
    model = mean_model(axes, keepdims)
    assert len(use_global_pool(model).applied) == 0
    assert [node.op_type for node in model.graph] == ["ReduceMean"]
