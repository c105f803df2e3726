"""What the kernels of one graph cost, whichever of its nodes stay in float: an estimate.

Float is not always dearer than integers. ONNX Runtime's int8 depthwise kernels on x86 take up to
four times as long as its blocked float ones, so that a few depthwise layers of full resolution are
as fast in float; on ARM it is the other way round. What costs is going to and fro between the two,
and that depends on the neighbours: a layer that is dear alone can be free beside another one.

So the whole graph is summed up. The constants of x86 are from times of single operators, one
thread, AVX-512 with VNNI, of PMRID's plain and integer graphs at 256x256 (`mofa-deploy bench
--profile`); those of ARM are from executed instructions with dotprod, one thread
(`benchmarks/arm_instructions.py`). Beside what was measured, for PMRID at 256x256:

    x86, ms: all integers, five mixes, both upper levels in float      0 to 6 % below
    ARM, M instructions: all integers, all in float                    337 for 333, 862 for 890
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

import onnx_ir as ir

from deploy.operators import Rule, rule_of
from deploy.placement import Placement
from deploy.residuals import activations, node_name
from deploy.rewrites.matching import is_op


@dataclass(frozen=True)
class Kernels:
    """What operators cost, in multiply-adds of a float 1x1 convolution on the same hardware.

    Attributes:
        block: channels that float convolutions compute at a time, in a layout of their own.
        float_depthwise: a multiply-add of a float depthwise convolution.
        int_mac: a multiply-add of an integer convolution.
        int_gathered: a value that an integer convolution of a larger kernel reads, once a pixel.
        int_output: rounding an output of an integer convolution.
        int_depthwise: a multiply-add of an integer depthwise convolution.
        int_tap: a place of its kernel, once a pixel, whatever the channels.
        float_sum, blocked_sum, int_sum: an element of an Add, Mul or the like; in the layout of
            float convolutions it is done by one of these.
        float_moved: an element that a Transpose or the like copies in float.
        rounding: an element that goes from float to integers, or back.
        layout: an element that goes into or out of the layout of float convolutions.
    """

    block: int
    float_depthwise: float
    int_mac: float
    int_gathered: float
    int_output: float
    int_depthwise: float
    int_tap: float
    float_sum: float
    blocked_sum: float
    int_sum: float
    float_moved: float
    rounding: float
    layout: float


X86 = Kernels(
    block=16,
    float_depthwise=1.6,
    int_mac=0.25,
    int_gathered=2,
    int_output=7,
    int_depthwise=2,
    int_tap=36,
    float_sum=12,
    blocked_sum=4,
    int_sum=8,
    float_moved=12,
    rounding=18,
    layout=12,
)
ARM = Kernels(
    block=1,
    float_depthwise=7,
    int_mac=0.25,
    int_gathered=1,
    int_output=7,
    int_depthwise=2.3,
    int_tap=0,
    float_sum=3,
    blocked_sum=3,
    int_sum=8,
    float_moved=3,
    rounding=6,
    layout=0,
)
KERNELS = {"x86": X86, "arm": ARM}  # by `deploy.targets.Target.hardware`
_BEHIND = (Rule.FOLLOWS, Rule.MOVES)  # in float where nothing integer makes what they read
_ONLY_NAMED = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")  # nothing is copied


class GraphCost:
    """What a graph costs with more or fewer of its nodes in float."""

    def __init__(self, model: ir.Model, placement: Placement, kernels: Kernels) -> None:
        """Look at a graph once.

        Args:
            placement: of this graph; what it has in float stays there.
        """
        self._kernels = kernels
        # a Relu or Clip is done by what makes its value
        computing = [node for node in model.graph if rule_of(node) is not Rule.MERGES]
        places = {node: place for place, node in enumerate(computing)}
        self._nodes = [_Node(node, placement, kernels) for node in computing]
        self._made = {value: place for node, place in places.items() for value in node.outputs}
        for node, place in places.items():
            for value in activations(node):
                self._read(place, _unbounded(value))
        for value in map(_unbounded, model.graph.outputs):
            if value in self._made:
                self._nodes[self._made[value]].is_output = True

    def _read(self, reader: int, value: ir.Value) -> None:
        if value in self._made:
            self._nodes[reader].makers.append(self._made[value])
            self._nodes[self._made[value]].readers.append(reader)

    def of(self, float_nodes: Collection[str]) -> float:
        """Give what the graph costs, in float multiply-adds, with these nodes in float too."""
        asked_for = frozenset(float_nodes)
        integer: list[bool] = []
        blocked: list[bool] = []
        for node in self._nodes:
            # an Add between float operators is in float itself
            becomes = node.may_be_integer and node.name not in asked_for
            becomes &= not node.follows or any(integer[maker] for maker in node.makers)
            integer.append(becomes)
            behind_blocks = bool(node.makers) and all(blocked[maker] for maker in node.makers)
            in_blocks = node.is_conv or (node.is_sum and behind_blocks)
            blocked.append(not becomes and in_blocks)
        return sum(
            self._own(place, integer, blocked) + self._hand_over(place, integer, blocked)
            for place in range(len(self._nodes))
        )

    def _own(self, place: int, integer: list[bool], blocked: list[bool]) -> float:
        node, kernels = self._nodes[place], self._kernels
        if node.is_conv:
            return node.int_conv if integer[place] else node.float_conv
        if not node.is_sum:
            return 0 if integer[place] else node.float_moved
        if integer[place]:
            return kernels.int_sum * node.elements
        return (kernels.blocked_sum if blocked[place] else kernels.float_sum) * node.elements

    def _hand_over(self, place: int, integer: list[bool], blocked: list[bool]) -> float:
        node, kernels = self._nodes[place], self._kernels
        cost = 0.0
        to_float = node.is_output or any(not integer[one] for one in node.readers)
        to_integer = any(integer[one] for one in node.readers)
        if to_float if integer[place] else to_integer:
            cost += kernels.rounding
        to_blocks = any(blocked[one] for one in node.readers)
        out_of_blocks = node.is_output or any(not blocked[one] for one in node.readers)
        if out_of_blocks if blocked[place] else to_blocks:
            cost += kernels.layout
        return cost * node.elements


class _Node:
    """A node that computes, and what it costs by itself."""

    def __init__(self, node: ir.Node, placement: Placement, kernels: Kernels) -> None:
        self.name = node_name(node)
        self.may_be_integer = self.name in placement.integer
        self.follows = rule_of(node) in _BEHIND
        self.is_sum = rule_of(node) is Rule.FOLLOWS
        self.is_conv = is_op(node, "Conv")
        self.is_output = False
        self.makers: list[int] = []
        self.readers: list[int] = []
        self.elements = _elements(node.outputs[0])
        copies = rule_of(node) is Rule.MOVES and node.op_type not in _ONLY_NAMED
        self.float_moved = kernels.float_moved * self.elements if copies else 0
        self.int_conv, self.float_conv = _convolution(node, kernels) if self.is_conv else (0.0, 0.0)


def _convolution(node: ir.Node, kernels: Kernels) -> tuple[float, float]:
    """Give the cost of a convolution as integers, and in float."""
    weight, image = _sizes(node.inputs[1]), _sizes(node.inputs[0])
    outputs, each, *kernel = weight or [1, 1]
    taps = math.prod(kernel)
    pixels = _elements(node.outputs[0]) // outputs
    group = node.attributes.get_int("group", 1)
    if group > 1 and each == 1:
        macs = pixels * outputs * taps
        whole = pixels * taps * _filled(outputs, kernels.block)
        integer = kernels.int_depthwise * macs + kernels.int_tap * taps * pixels
        return integer, kernels.float_depthwise * whole
    inputs = image[1] if len(image) > 1 else each
    # what reads the image itself reads it as it is
    filled = each if inputs < kernels.block else _filled(each, kernels.block)
    gathered = pixels * taps * inputs if taps > 1 else 0
    integer = pixels * outputs * (each * taps * kernels.int_mac + kernels.int_output)
    in_float = pixels * _filled(outputs, kernels.block) * filled * taps
    return integer + kernels.int_gathered * gathered, float(in_float)


def _filled(channels: int, block: int) -> int:
    return -(-channels // block) * block


def _unbounded(value: ir.Value) -> ir.Value:
    """Give the value that was bounded to make this one; itself where none was."""
    producer = value.producer()
    if producer is None or rule_of(producer) is not Rule.MERGES:
        return value
    return _unbounded(activations(producer)[0])


def _sizes(value: ir.Value | None) -> list[int]:
    """Give the shape, with 1 for what is not known: an estimate has to rank, no more."""
    shape = value.shape if value is not None else None
    return [size if isinstance(size, int) else 1 for size in shape or ()]


def _elements(value: ir.Value) -> int:
    return math.prod(_sizes(value))
