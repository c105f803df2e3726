"""What of an integer graph can go to float to an effect: groups of nodes.

A tensor is rounded as long as anything integer reads or makes it, so a single operator in float
between integer ones gives back next to nothing: on the demo network 0.00 dB for each residual sum
alone, 1.6 dB for the five of full resolution together. So what hands on one value goes together.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from scipy.cluster.hierarchy import DisjointSet

from deploy.placement import Placement
from deploy.residuals import activations, last_convolutions, node_name, residual_adds
from deploy.rewrites.matching import is_op

MOST_CONVOLUTIONS = 4  # in one layer, so that a plain chain of them is not one layer
_CANDIDATES = ("Conv", "Add", "Mul")  # all else is float by itself between float operators


@dataclass(frozen=True)
class Layer:
    """Integer nodes that go to float together.

    Attributes:
        name: of its first node, and of its last where there are several; unique in a graph.
        nodes: names for `Recipe.float_nodes`.
        op: its operators, with how many of each where there are several.
        whole: its nodes only make sense together.
    """

    name: str
    nodes: tuple[str, ...]
    op: str
    whole: bool = False

    def parts(self) -> "list[Layer]":
        """Give its nodes as layers of their own; itself where they only make sense together."""
        if self.whole:
            return [self]
        return [Layer(name, (name,), "") for name in self.nodes]


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
    return Layer(
        name=_span(node_name(nodes[0]), node_name(nodes[-1])),
        nodes=tuple(map(node_name, nodes)),
        op=", ".join(op if count == 1 else f"{count} {op}" for op, count in counted.items()),
        whole="Conv" not in counted,
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
    )
