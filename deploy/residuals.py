"""Where the residual stream of a graph is, and its two ends: by structure, never by names."""

from collections.abc import Iterator

import onnx_ir as ir

from deploy.rewrites.matching import constant_of, is_op

# what copies, selects or bounds values; a value behind them is the one before them
_PASSING = (
    *("DepthToSpace", "Flatten", "Identity", "Pad", "Reshape", "Slice", "Squeeze", "Transpose"),
    *("Unsqueeze", "Relu", "Clip"),
)


def node_name(node: ir.Node) -> str:
    """Give a node's name; that of its first output where an exporter gave it none."""
    return node.name or str(node.outputs[0].name)


def activations(node: ir.Node) -> list[ir.Value]:
    """Give the inputs of a node that are computed and float."""
    return [
        value
        for value in node.inputs
        if value is not None and value.dtype == ir.DataType.FLOAT and constant_of(value) is None
    ]


def residual_adds(model: ir.Model) -> list[ir.Node]:
    """Give the Adds that join a value with what was computed from it.

    That is what a residual block, a skip connection of a U-Net and a global residual are in any
    graph: one operand is an ancestor of the other. Their sums are the stream that passes every
    error in it on to the output, while what one block adds to it is small.
    """
    ancestors = _Ancestors(model)
    return [
        node
        for node in model.graph
        if is_op(node, "Add") and len(activations(node)) == 2 and ancestors.older(node) is not None
    ]


def global_residuals(model: ir.Model) -> list[ir.Node]:
    """Give the Adds of the input itself behind which nothing is computed any more."""
    at_input, at_output = set(input_readers(model)), set(_last_nodes(model))
    return [node for node in residual_adds(model) if node in at_input and node in at_output]


def last_convolutions(model: ir.Model) -> list[ir.Node]:
    """Give the convolutions behind which no other one comes on the way to the output.

    Of a sum with an older value (a residual), only the newer operand is followed.
    """
    return [node for node in _last_nodes(model) if is_op(node, "Conv")]


def _last_nodes(model: ir.Model) -> list[ir.Node]:
    """Give what lies between the output and the last convolutions, and these."""
    ancestors = _Ancestors(model)
    found: dict[ir.Node, None] = {}
    waiting = [value.producer() for value in model.graph.outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in found:
            continue
        older = None
        if is_op(node, "Add") or is_op(node, "Sub"):
            older = ancestors.older(node)
        elif not any(is_op(node, op_type) for op_type in ("Conv", *_PASSING)):
            continue
        found[node] = None
        if not is_op(node, "Conv"):
            waiting += [value.producer() for value in activations(node) if value is not older]
    return list(found)


def input_readers(model: ir.Model) -> list[ir.Node]:
    """Give the nodes that compute something from a graph input itself, moved or not."""
    moved = set(model.graph.inputs)
    found = []
    for node in model.graph:
        if not moved & set(node.inputs):
            continue
        if any(is_op(node, op_type) for op_type in _PASSING):
            moved |= set(node.outputs)
        else:
            found.append(node)
    return found


class _Ancestors:
    """Which values each value of a graph is computed from: one bit a value."""

    def __init__(self, model: ir.Model) -> None:
        self._bits = dict(_numbered(model))
        self._known: dict[ir.Value, int] = {}
        for node in model.graph:
            known = 0
            for value in node.inputs:
                if value is not None:
                    known |= self._known.get(value, 0) | self._bits[value]
            self._known.update(dict.fromkeys(node.outputs, known))

    def older(self, node: ir.Node) -> ir.Value | None:
        """Give the operand of a node that its other one is computed from, if there is one."""
        first, second = node.inputs[:2]
        if first is None or second is None:
            return None
        for one, other in ((first, second), (second, first)):
            if self._known.get(other, 0) & self._bits[_before_moves(one)]:
                return one
        return None


def _before_moves(value: ir.Value) -> ir.Value:
    """Give the value that was copied, cut or bounded to make this one."""
    producer = value.producer()
    if producer is None or not any(is_op(producer, op_type) for op_type in _PASSING):
        return value
    moved = activations(producer)
    return _before_moves(moved[0]) if moved else value


def _numbered(model: ir.Model) -> Iterator[tuple[ir.Value, int]]:
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values()]
    values += [value for node in graph for value in node.outputs]
    return ((value, 1 << place) for place, value in enumerate(values))
