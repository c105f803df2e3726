"""Which nodes of one graph become integer, and which tensors share parameters.

The rules are in `deploy.operators`, the hardware in `deploy.targets`; `deploy.qdq` writes what
`place` gives.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import onnx_ir as ir
from scipy.cluster.hierarchy import DisjointSet

from deploy.codes import Range
from deploy.errors import UsageError
from deploy.operators import Rule, rule_of
from deploy.residuals import (
    activations,
    global_residuals,
    input_readers,
    last_convolutions,
    node_name,
    residual_adds,
)
from deploy.rewrites.matching import constant_of, is_op, sole_user
from deploy.targets import TARGETS, Target, find_target, host_target

__all__ = [
    "IMAGE_RANGE",
    "PRESETS",
    "TARGETS",
    "Placement",
    "Target",
    "calibrated_tensors",
    "find_target",
    "host_target",
    "place",
]

PRESETS = {
    "fast": "every operator that has an integer kernel, but for a global residual: the sum of the "
    "input and the last convolution is as fast in float, and its rounding was 0.4 dB",
    "accurate": "the residual stream and the last convolution stay in float too",
}

# why an operator is float that could be integer; any other reason is an obstacle
WANTED_FLOAT = (
    *("asked for", "residual stream", "global residual", "last convolution"),
    *("input of over 8 bits", "between float operators"),
)

IMAGE_RANGE: Range = (0.0, 1.0)  # 8-bit images: steps of 1/255, so quantizing them loses nothing


@dataclass(frozen=True)
class Placement:
    """What becomes integer in one graph.

    Attributes:
        integer: names of the nodes that compute or move integers.
        merged: names of Relu and Clip nodes that the rounding behind them does.
        groups: tensor -> the group whose one set of parameters it has; only quantized tensors.
        sources: group -> the tensors whose values decide its range.
        fixed: tensor -> range that no calibration decides.
        bounds: tensor -> least and greatest value that a merged node lets through.
        float_because: node of an operator in OPERATORS -> why it is float all the same.
    """

    integer: frozenset[str]
    merged: frozenset[str]
    groups: Mapping[str, str]
    sources: Mapping[str, tuple[str, ...]]
    fixed: Mapping[str, Range]
    bounds: Mapping[str, Range]
    float_because: Mapping[str, str]


def place(
    model: ir.Model,
    target: Target,
    *,
    preset: str = "fast",
    float_nodes: Collection[str] = (),
    input_range: Range | None = IMAGE_RANGE,
) -> Placement:
    """Decide what becomes integer in a float graph.

    Args:
        model: nodes in topological order, with the rank and type of every value.
        preset: of PRESETS.
        float_nodes: names of nodes that stay in float whatever their operator.
        input_range: what an 8-bit input spans. None: it has more steps than 8 bits can tell
            apart, so it and what reads it stay in float.

    Raises:
        UsageError: no such preset, or a node in `float_nodes` is not in the graph.
    """
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}", f"use one of {', '.join(PRESETS)}")
    nodes = list(model.graph)
    missing = sorted(set(float_nodes) - {node_name(node) for node in nodes})
    if missing:
        raise UsageError(
            f"no node {missing[0]!r} to keep in float in the graph", "use the names that it has"
        )
    because = _always_float(model)
    because |= dict.fromkeys(float_nodes, "asked for")
    if preset == "accurate":
        because |= {node_name(node): "residual stream" for node in residual_adds(model)}
        because |= {node_name(node): "last convolution" for node in last_convolutions(model)}
    if input_range is None:
        because |= {node_name(node): "input of over 8 bits" for node in input_readers(model)}
    return _placement(model, _Choice(model, target, because), input_range)


def calibrated_tensors(model: ir.Model) -> list[str]:
    """Give every tensor whose range any target and preset may need, in the order of the graph.

    A target that takes fewer operators, a preset or a node kept in float only ever leave some
    of these out: ranges of moved values are found at the values that were moved.
    """
    placement = _placement(model, _Choice(model, TARGETS["x86"], _always_float(model)), None)
    needed = {name for sources in placement.sources.values() for name in sources}
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    return [str(value.name) for value in values if value.name in needed]


def _always_float(model: ir.Model) -> dict[str, str]:
    return {node_name(node): "global residual" for node in global_residuals(model)}


class _Choice:
    """Which nodes of a graph are integer, and why the others are not."""

    def __init__(self, model: ir.Model, target: Target, because: Mapping[str, str]) -> None:
        self.integer: dict[ir.Node, None] = {}
        self.merged: dict[ir.Node, None] = {}
        self.because = dict(because)
        self._target = target
        self._made: set[ir.Value] = set()  # by integer nodes
        self.nodes = [node for node in model.graph if rule_of(node) and activations(node)]
        for node in self.nodes:
            if self._may_be_integer(node):
                self._follow_what_it_reads(node)
        for node in reversed(self.nodes):
            if node_name(node) not in self.because:
                self._follow_its_readers(node)
        for node in self.nodes:
            if node not in self.integer and node not in self.merged:
                self.because.setdefault(node_name(node), "between float operators")

    def _may_be_integer(self, node: ir.Node) -> bool:
        name, operators = node_name(node), self._target.operators
        if name in self.because:
            return False
        if operators is not None and node.op_type not in operators and not _is_merging(node):
            self.because[name] = f"{self._target.name} takes no {node.op_type} in QDQ form"
            return False
        obstacle = _obstacle(node)
        if obstacle:
            self.because[name] = obstacle
        return obstacle is None

    def _follow_what_it_reads(self, node: ir.Node) -> None:
        made = [value in self._made for value in activations(node)]
        match rule_of(node):
            case Rule.SEEDS:
                self._take(node)
            case Rule.FOLLOWS if any(made):
                self._take(node)
            case Rule.MOVES if all(made):
                self._take(node)
            case Rule.MERGES if all(made):
                self._merge_or_take(node)

    def _merge_or_take(self, node: ir.Node) -> None:
        value = activations(node)[0]
        producer = value.producer()
        moved = producer is not None and rule_of(producer) is Rule.MOVES
        if sole_user(value) is node and not moved and producer not in self.merged:
            self.merged[node] = None
            self._made |= set(node.outputs)
        elif is_op(node, "Relu") and self._target.operators is None:
            self._take(node)  # as LeakyRelu of slope 0, which has a kernel
        else:
            self.because[node_name(node)] = "others read the value before it too"

    def _follow_its_readers(self, node: ir.Node) -> None:
        if node in self.integer or node in self.merged or not _all_read_by(node, self.integer):
            return
        if rule_of(node) is Rule.MOVES:
            self._take(node)
        elif _is_merging(node):
            value = activations(node)[0]
            if value.producer() is not None and sole_user(value) is node:
                self.merged[node] = None

    def _take(self, node: ir.Node) -> None:
        self.integer[node] = None
        self._made |= set(node.outputs)


def _is_merging(node: ir.Node) -> bool:
    return rule_of(node) is Rule.MERGES


def _all_read_by(node: ir.Node, readers: Collection[ir.Node]) -> bool:
    uses = [use.node for value in node.outputs for use in value.uses()]
    inside = not any(value.is_graph_output() for value in node.outputs)
    return inside and bool(uses) and all(reader in readers for reader in uses)


def _obstacle(node: ir.Node) -> str | None:
    """Give why a node of an operator in OPERATORS cannot be integer; None where it can."""
    if node.op_type == "Conv":
        weights = [constant_of(value) for value in node.inputs[1:] if value is not None]
        ok, why = all(one is not None for one in weights), "its weights are computed"
    elif node.op_type == "MaxPool":
        ok, why = len(node.outputs) == 1, "it gives indices"
    elif node.op_type == "Resize":
        ok = node.attributes.get_string("mode", "nearest") == "nearest"
        why = "interpolation has no integer kernel that gives the same"
    elif node.op_type == "Pad":
        ok, why = _pads_zeros(node), "it pads with other than zeros"
    elif node.op_type == "Clip":
        least, greatest = clip_bounds(node)
        ok, why = least <= 0 <= greatest, "zero is outside its bounds"
    else:
        return None
    return None if ok else why


def _pads_zeros(node: ir.Node) -> bool:
    if node.attributes.get_string("mode", "constant") != "constant":
        return False
    value = node.inputs[2] if len(node.inputs) > 2 else None
    constant = constant_of(value)
    return value is None or (constant is not None and not constant.any())


def clip_bounds(node: ir.Node) -> Range:
    """Give the least and greatest value behind a Relu or Clip; NaN where it is computed."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    bounds = [-math.inf, math.inf]
    for place, value in enumerate(node.inputs[1:3]):
        if value is not None:
            constant = constant_of(value)
            bounds[place] = math.nan if constant is None else float(constant.item())
    return bounds[0], bounds[1]


def _placement(model: ir.Model, choice: _Choice, input_range: Range | None) -> Placement:
    groups, sources = _groups(choice)
    inputs = {str(value.name) for value in model.graph.inputs}
    used = {name for names in sources.values() for name in names}
    return Placement(
        integer=frozenset(map(node_name, choice.integer)),
        merged=frozenset(map(node_name, choice.merged)),
        groups=groups,
        sources=sources,
        fixed={name: input_range for name in sorted(inputs & used) if input_range},
        bounds={str(node.outputs[0].name): clip_bounds(node) for node in choice.merged},
        float_because=choice.because,
    )


def _groups(choice: _Choice) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Give tensor -> group and group -> the tensors that decide its range, in graph order."""
    tied: DisjointSet[str] = DisjointSet()
    origins: dict[str, list[str]] = {}  # of what no integer node moved there
    for node in choice.nodes:
        if node not in choice.integer:
            continue
        before = activations(node)
        behind = [_rounded(value, choice) for value in node.outputs]
        names = [str(value.name) for value in (*before, *behind)]
        for name in names:
            tied.add(name)
        for value in before:
            if value.producer() not in choice.integer:
                origins[str(value.name)] = _origins(value)
        if rule_of(node) is Rule.MOVES:
            for name in names[1:]:
                tied.merge(names[0], name)
        else:
            origins |= {str(value.name): [str(value.name)] for value in behind}
    groups = {name: tied[name] for name in tied}
    sources: dict[str, dict[str, None]] = {group: {} for group in groups.values()}
    for name, found in origins.items():
        sources[groups[name]] |= dict.fromkeys(found)
    return groups, {group: tuple(found) for group, found in sources.items()}


def _rounded(value: ir.Value, choice: _Choice) -> ir.Value:
    """Give the value that is rounded: behind a merged node, where one reads this value."""
    reader = sole_user(value)
    return reader.outputs[0] if reader is not None and reader in choice.merged else value


def _origins(value: ir.Value) -> list[str]:
    """Give the values that were moved here, from where they were computed."""
    producer = value.producer()
    if producer is None or rule_of(producer) is not Rule.MOVES:
        return [str(value.name)]
    return [name for before in activations(producer) for name in _origins(before)]
