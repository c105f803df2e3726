"""What of an integer graph can go to float to an effect: groups of nodes, and what each costs.

A tensor is rounded as long as anything integer reads or makes it, so a single operator in float
between integer ones gives back next to nothing: on the demo network 0.00 dB for each residual sum
alone, 1.6 dB for the five of full resolution together. So what hands on one value goes together.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from scipy.cluster.hierarchy import DisjointSet

from deploy.placement import Placement
from deploy.residuals import activations, last_convolutions, node_name, residual_adds
from deploy.rewrites.matching import is_op

# An element that a float operator reads or writes costs as much as these multiply-adds: a
# conversion takes 0.2 ns an element, float takes 0.016 ns longer a multiply-add than integers
# (1x1 convolutions, x86 with VNNI, 2 threads). On ARM elements are cheaper; the order is alike.
MACS_PER_ELEMENT = 12
MOST_CONVOLUTIONS = 4  # in one layer, so that a plain chain of them is not one layer
_CANDIDATES = ("Conv", "Add", "Mul")  # all else is float by itself between float operators


@dataclass(frozen=True)
class Layer:
    """Integer nodes that go to float together.

    Attributes:
        name: of its first node, and of its last where there are several; unique in a graph.
        nodes: names for `Recipe.float_nodes`.
        op: its operators, with how many of each where there are several.
        cost: estimate of what float costs, in multiply-adds: those of its convolutions, and
            MACS_PER_ELEMENT for each element of an activation read or written.
        costs: of each of its nodes; empty where they only make sense together.
    """

    name: str
    nodes: tuple[str, ...]
    op: str
    cost: float
    costs: tuple[float, ...] = ()

    def parts(self) -> "list[Layer]":
        """Give its nodes as layers of their own; itself where they only make sense together."""
        if not self.costs:
            return [self]
        pairs = zip(self.nodes, self.costs, strict=True)
        return [Layer(name, (name,), "", cost) for name, cost in pairs]


def layers_of(model: ir.Model, placement: Placement) -> list[Layer]:
    """Give every integer Conv, Add and Mul of a graph, in layers that share no node.

    First the residual streams (the sums that hand one value on, one stream a resolution), then
    each last convolution, then what lies between: operators that hand each other integers, such as
    a branch of a residual block, in pieces of at most MOST_CONVOLUTIONS.

    Args:
        model: as `deploy.quantize.float_model` gives it.
        placement: of this graph.
    """
    integer = [node for node in model.graph if node_name(node) in placement.integer]
    sums = [node for node in residual_adds(model) if node in integer]
    last = [node for node in last_convolutions(model) if node in integer]
    between = [node for node in integer if node not in sums and node not in last]
    groups = [*_connected(sums), *([node] for node in last)]
    for group in _connected(between):
        groups += _pieces(node for node in group if node.op_type in _CANDIDATES)
    return [_layer(group) for group in groups]


def _connected(nodes: Sequence[ir.Node]) -> list[list[ir.Node]]:
    """Group nodes that share a computed value, made or read, in the order of the graph."""
    tied: DisjointSet[ir.Node | ir.Value] = DisjointSet()
    for node in nodes:
        tied.add(node)
        for value in (*activations(node), *node.outputs):
            tied.add(value)
            tied.merge(node, value)
    groups: dict[ir.Node | ir.Value, list[ir.Node]] = {}
    for node in nodes:
        groups.setdefault(tied[node], []).append(node)
    return list(groups.values())


def _pieces(nodes: Iterable[ir.Node]) -> Iterator[list[ir.Node]]:
    """Cut a run of nodes before every convolution that would be one too many."""
    piece: list[ir.Node] = []
    for node in nodes:
        convolutions = sum(is_op(other, "Conv") for other in (*piece, node))
        if convolutions > MOST_CONVOLUTIONS:
            yield piece
            piece = []
        piece.append(node)
    if piece:
        yield piece


def _layer(nodes: Sequence[ir.Node]) -> Layer:
    counted = Counter(node.op_type for node in nodes)
    costs = tuple(float(_cost(node)) for node in nodes)
    return Layer(
        name=_span(node_name(nodes[0]), node_name(nodes[-1])),
        nodes=tuple(map(node_name, nodes)),
        op=", ".join(op if count == 1 else f"{count} {op}" for op, count in counted.items()),
        cost=sum(costs),
        costs=costs if "Conv" in counted else (),
    )


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def joined(layers: Sequence[Layer]) -> Layer:
    """Give neighbours as one layer."""
    if len(layers) == 1:
        return layers[0]
    return Layer(
        name=_span(layers[0].nodes[0], layers[-1].nodes[-1]),
        nodes=tuple(name for layer in layers for name in layer.nodes),
        op=", ".join(dict.fromkeys(layer.op for layer in layers)),
        cost=sum(layer.cost for layer in layers),
    )


def _cost(node: ir.Node) -> int:
    touched = sum(_elements(value) for value in (*activations(node), *node.outputs))
    macs = 0
    if is_op(node, "Conv") and node.inputs[1] is not None:
        a_value = _elements(node.inputs[1]) // _sizes(node.inputs[1])[0]
        macs = _elements(node.outputs[0]) * a_value
    return macs + MACS_PER_ELEMENT * touched


def _sizes(value: ir.Value) -> list[int]:
    """Give the shape, with 1 for what is not known: an estimate has to rank, no more."""
    return [size if isinstance(size, int) else 1 for size in value.shape or ()]


def _elements(value: ir.Value) -> int:
    return math.prod(_sizes(value))
