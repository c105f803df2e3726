"""Graphs of a few nodes, written as ONNX text, and what every rewrite has to keep of them."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper
from onnx_ir.passes.common import RemoveUnusedNodesPass

from deploy.inference import open_run
from deploy.prepare import readable
from deploy.rewrites.outcome import Outcome

HEADER = '<ir_version: 8, opset_import: ["" : %d]>\n'


def small_graph(text: str, opset: int = 18, **arrays: np.ndarray) -> ir.Model:
    """Give a graph from its text, such as `g (float[1,3,8,8] x) => (float[1,4,8,8] y) { ... }`.

    Args:
        arrays: the initializers that the text names; float64 ones become float32.
    """
    proto = onnx.parser.parse_model(HEADER % opset + text)
    for name, array in arrays.items():
        as_stored = array.astype(np.float32) if array.dtype == np.float64 else array
        proto.graph.initializer.append(numpy_helper.from_array(as_stored, name))
    onnx.checker.check_model(proto)
    return readable(proto)


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    """Give normal values, float32."""
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def rewritten(model: ir.Model, rewrite: Callable[[ir.Model], Outcome]) -> tuple[ir.Model, Outcome]:
    """Give a rewritten copy of a graph, valid, each of its values with a true shape and a type."""
    copy = model.clone()
    outcome = rewrite(copy)
    RemoveUnusedNodesPass()(copy)
    names = [node.name for node in copy.graph]
    assert len(set(names)) == len(names)
    for node in copy.graph:
        for value in node.outputs:
            assert value.shape is not None, f"{value.name} has no shape"
            assert value.type is not None, f"{value.name} has no type"
    proto = ir.to_proto(copy)
    onnx.checker.check_model(proto)
    onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    return copy, outcome


def run(model: ir.Model, image: np.ndarray) -> np.ndarray:
    return open_run(ir.to_proto(model).SerializeToString())(image)


def assert_same_output(before: ir.Model, after: ir.Model, image: np.ndarray) -> None:
    expected = run(before, image)
    got = run(after, image)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))


def ops(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def assert_untouched(model: ir.Model, rewrite: Callable[[ir.Model], Outcome]) -> Outcome:
    """Check that a rewrite leaves a graph as it is, to the byte; give its outcome."""
    copy = model.clone()
    outcome = rewrite(copy)
    assert outcome.applied == []
    assert ir.to_proto(copy).SerializeToString(deterministic=True) == (
        ir.to_proto(model).SerializeToString(deterministic=True)
    )
    return outcome
