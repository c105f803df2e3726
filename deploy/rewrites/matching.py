"""What every rewrite asks of a graph: which operator made a value, from which constants."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir


def is_op(node: ir.Node | None, op_type: str) -> bool:
    """Say whether a node is this operator of the standard domain."""
    return node is not None and node.domain in ("", "ai.onnx") and node.op_type == op_type


def maker(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Give the node that makes a value, if it is this operator."""
    node = value.producer() if value is not None else None
    return node if is_op(node, op_type) else None


def constant_of(value: ir.Value | None) -> np.ndarray | None:
    """Give the value of an initializer or a Constant; None where it is computed or an input."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def constant_ints(value: ir.Value | None) -> list[int] | None:
    """Give a constant as a list of integers; None where it is no constant."""
    array = constant_of(value)
    return None if array is None else [int(one) for one in array.reshape(-1)]


def constant_beside(node: ir.Node) -> tuple[ir.Value, np.ndarray] | None:
    """Split a two-input node into its computed input and its constant one, in either order."""
    first, second = node.inputs
    for computed, other in ((first, second), (second, first)):
        array = constant_of(other)
        if computed is not None and array is not None and constant_of(computed) is None:
            return computed, array
    return None


def per_channel(array: np.ndarray, channels: int, axis: int = -3) -> np.ndarray | None:
    """Give a constant that is one value a channel, or one in all, as (C,); None for others.

    Args:
        axis: that of the channels, counted from the end; -3 for an image (N, C, H, W).
    """
    if array.ndim > 4:
        return None
    full = (1,) * (4 - array.ndim) + array.shape
    wanted = [1, 1, 1, 1]
    wanted[axis] = channels
    if full not in (tuple(wanted), (1, 1, 1, 1)):
        return None
    return np.ascontiguousarray(np.broadcast_to(array.reshape(-1), (channels,)))


def sole_user(value: ir.Value) -> ir.Node | None:
    """Give the one node that reads a value; None where several do, or it is a graph output."""
    users = list(value.uses())
    return users[0].node if len(users) == 1 and not value.is_graph_output() else None


def replace_value(graph: ir.Graph, old: ir.Node, new: Sequence[ir.Node]) -> None:
    """Put `new` where `old` stands; its readers then read the last one's output.

    What only `old` needed stays behind, unused; `drop_unused` removes it.
    """
    output, made = old.outputs[0], new[-1].outputs[0]
    made.shape, made.type = output.shape, output.type
    ir.convenience.replace_nodes_and_values(graph, old, [old], list(new), [output], [made])
