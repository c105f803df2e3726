"""A convolution to few channels -> one that makes neighbouring pixels of a row at a time.

For y = conv(x; W) of horizontal stride 1, the B pixels of a row from B w on read a common window
as wide as W's and B - 1 more, so one convolution of horizontal stride B makes them all:

    y[n, o, h, B w + b] = z[n, b O + o, h, w]
    z = conv(x; V, stride (s, B))          V[b O + o, c, u, b + v] = W[o, c, u, v], else 0

Channels last, z is (N, H, W / B, B O): the very values of y, (N, H, W, O), in the same order. So

    y = Transpose of z to (N, H, W / B, B O), Reshape to (N, H, W, O), Transpose to (N, O, H, W)

and nothing moves at all: integer convolutions run channels last, where both Transposes vanish.
`block_convolution` makes blocks of several rows, whose pixels have to be shuffled.

It pays because integer kernels write 16 outputs at a time, and gather what a pixel reads, all of
its window, before they multiply: with B pixels at a time fewer values are gathered, in longer
pieces. More is multiplied, by zeros. So B O is 16 for what has up to 8 outputs (with 3, 5, 6 or 7
filled up by zeros, which are cut off again), and B is 2 for the first convolution, whose windows
have few channels. Kernels of one column share nothing and are left alone.

A NAFNet of width 16 executed on ARM with dotprod, in million instructions at 64x64, and took on x86
with VNNI, against blocks, at 256x256 (1 thread, medians of 50 alternating runs):

                                 ARM int8    ARM float    x86 int8    x86 float
    padded ends                    33.4         50.6
    blocks                         32.1         49.9         1            1
    rows, the last convolution     32.0         50.3        1.01         0.98
    rows, the first one too        31.5         51.1        0.99         1.04

In float the Transposes behind the first convolution are real. So `auto` leaves it, and
`deploy.integer_forms` gives it rows when the graph is quantized.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from deploy.rewrites.building import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    ELEMENTWISE,
    Convolution,
    LayoutStep,
    cut_channels,
    layout_steps,
    new_conv,
    new_node,
    read_conv,
)
from deploy.rewrites.forms import EndsForm
from deploy.rewrites.matching import is_op, replace_value, sole_user
from deploy.rewrites.outcome import Outcome

OUTPUTS = 16  # of a row of pixels: what the kernels write at a time
MOST_CHANNELS = 8  # that leave room for two pixels
MOST_INPUTS, FIRST_OUTPUTS, FIRST_BLOCK = 4, 16, 2


@dataclass(frozen=True)
class Row:
    """How many pixels are made at a time, and of how many channels.

    Attributes:
        pixels: B above.
        filled: O above, with channels of zeros.
    """

    pixels: int
    filled: int


def use_row_convolution(model: ir.Model, form: EndsForm = "auto") -> Outcome:
    """Rewrite in place: `auto` what has few outputs, `rows` the first convolution too."""
    outcome = Outcome()
    if form not in ("auto", "rows"):
        return outcome
    for node in list(model.graph):
        conv = read_conv(node)
        if conv is None or conv.weight.shape[3] == 1:
            continue
        shape = node.outputs[0].shape
        width = shape[3] if shape is not None and len(shape) == 4 else None
        row = row_of(conv, width, first=form == "rows" and _reads_input(conv))
        if row is None:
            continue
        name = node.name or ""
        if isinstance(row, str):
            outcome.skipped[name] = row
            continue
        put_rows(model.graph, conv, row)
        outcome.applied.append(name)
        outcome.forms[name] = f"rows of {row.pixels} pixels"
    return outcome


def _reads_input(conv: Convolution) -> bool:
    image = conv.node.inputs[0]
    return image is not None and image.is_graph_input()


def row_of(conv: Convolution, width: object, *, first: bool) -> Row | str | None:
    """Give the row that pays for a convolution; why there is none, or None where none would.

    Args:
        width: of what it makes.
        first: it reads the image, and its kernels are integer.
    """
    outputs, inputs = conv.weight.shape[:2]
    if outputs <= MOST_CHANNELS:
        filled = 1 << (outputs - 1).bit_length()
    elif first and inputs <= MOST_INPUTS and outputs == FIRST_OUTPUTS:
        filled = outputs
    else:
        return None
    if conv.group != 1:
        return "it has groups: rows of a depthwise convolution would not be depthwise"
    if conv.strides[1] != 1 or conv.dilations[1] != 1:
        return "it has a stride or is dilated: the windows of neighbours hardly overlap"
    if not isinstance(width, int):
        return "its width is open"
    pixels = max(OUTPUTS // filled, FIRST_BLOCK)
    while width % pixels:
        pixels //= 2
    if pixels == 1:
        return f"its width is odd: {width}"
    return Row(pixels, max(OUTPUTS // pixels, filled))


def put_rows(graph: ir.Graph, conv: Convolution, row: Row) -> list[tuple[ir.Value, ir.Node]]:
    """Put rows in the place of a convolution, and of what works on each value of it alone.

    That stays beside the convolution, which takes a Relu in.

    Returns:
        Each value that was there, and the node that now makes its values in rows; that of the
        convolution first.
    """
    name, image, shape = conv.node.name, conv.node.inputs[0], conv.node.outputs[0].shape
    assert image is not None and shape is not None
    batch, channels, height, width = shape
    assert isinstance(channels, int) and isinstance(width, int)
    outputs, across = row.pixels * row.filled, width // row.pixels
    nodes = [new_conv(graph, _of_rows(conv, row), name=f"{name}_rows", image=image)]
    nodes[0].outputs[0].shape = ir.Shape([batch, outputs, height, across])
    old = _with_elementwise(conv.node)
    nodes += _copies(old[1:], nodes[0].outputs[0])
    made = list(zip((node.outputs[0] for node in old), nodes, strict=True))
    steps: list[LayoutStep] = [
        ("Transpose", "to_last", CHANNELS_LAST, [batch, height, across, outputs]),
        ("Reshape", "pixels", (0, 0, width, row.filled), [batch, height, width, row.filled]),
        ("Transpose", "to_first", CHANNELS_FIRST, [batch, row.filled, height, width]),
    ]
    nodes += layout_steps(graph, nodes[-1].outputs[0], steps, name=f"{name}_rows")
    if channels < row.filled:
        nodes.append(cut_channels(graph, nodes[-1].outputs[0], channels, name=f"{name}_cut"))
    replace_value(graph, old[-1], nodes)
    graph.remove(old[:-1], safe=True)
    return made


def _with_elementwise(node: ir.Node) -> list[ir.Node]:
    """Give a node and the elementwise ones that follow it, each the sole reader of the other."""
    found = [node]
    while True:
        reader = sole_user(found[-1].outputs[0])
        if reader is None or not any(is_op(reader, op_type) for op_type in ELEMENTWISE):
            return found
        found.append(reader)


def _copies(nodes: Sequence[ir.Node], value: ir.Value) -> list[ir.Node]:
    """Give the same elementwise operators behind another value."""
    made: list[ir.Node] = []
    for node in nodes:
        assert value.shape is not None
        inputs = [value, *node.inputs[1:]]
        attributes = dict(node.attributes)
        name = f"{node.name}_rows"
        made.append(new_node(node.op_type, inputs, attributes, name=name, shape=value.shape))
        value = made[-1].outputs[0]
    return made


def _of_rows(conv: Convolution, row: Row) -> Convolution:
    """Give the convolution whose outputs are the pixels of a row, all channels of one first."""
    channels, inputs, height, width = conv.weight.shape
    shape = (row.pixels, row.filled, inputs, height, width + row.pixels - 1)
    weight = np.zeros(shape, conv.weight.dtype)
    for pixel in range(row.pixels):
        weight[pixel, :channels, :, :, pixel : pixel + width] = conv.weight
    bias = conv.bias
    if bias is not None:
        bias = np.tile(np.pad(bias, (0, row.filled - channels)), row.pixels)
    strides = conv.strides[0], row.pixels
    return replace(conv, weight=weight.reshape(-1, *shape[2:]), bias=bias, strides=strides)
