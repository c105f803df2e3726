"""The first and the last convolution -> the same ones with as many channels as the kernels like.

A channel of zeros times anything adds nothing, and outputs that nobody reads may be anything:

    conv(x; W) = conv([x, 0]; [W, 0])        conv(x; W)[:, o] = conv(x; [W; 0])[:, o]  for o < O

ONNX Runtime's integer kernels read 4 input values at a time and write 16 output channels at a
time. On x86 with VNNI, a 3x3 convolution of 3 input channels took 1.3 times as long as one of 4,
and one of 3 outputs 1.4 times as long as one of 16 (Pad and Slice counted). From 16 outputs on,
more only cost more. In float both forms took the same within 2 %, and on ARM they need as many
instructions within 1 %. What `row_convolution` can take is cheaper still.

The input is padded by Pad, in float, before anything is quantized: one small copy. What else reads
the input, such as the sum at the end, reads it as it was.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from deploy.rewrites.building import (
    ELEMENTWISE,
    Convolution,
    add_constant,
    cut_channels,
    exchange_weights,
    new_conv,
    new_node,
    read_conv,
)
from deploy.rewrites.forms import EndsForm
from deploy.rewrites.matching import is_op, replace_value
from deploy.rewrites.outcome import Outcome

INPUTS_MULTIPLE = 4
OUTPUTS = 16

# what may stand between the last convolution and the output
_BEHIND_LAST = (*ELEMENTWISE, "Add", "DepthToSpace", "Reshape", "Transpose", "Slice")


def use_padded_ends(model: ir.Model, form: EndsForm = "auto") -> Outcome:
    """Rewrite in place; every form but `keep` pads what is not padded yet."""
    outcome = Outcome()
    if form == "keep":
        return outcome
    for image in model.graph.inputs:
        _pad_first(model.graph, image, outcome)
    for output in model.graph.outputs:
        for conv in list(_last(output)):
            _pad_last(model.graph, conv, outcome)
    return outcome


def _pad_first(graph: ir.Graph, image: ir.Value, outcome: Outcome) -> None:
    """Give every convolution that reads an input (N, C, H, W) a multiple of 4 channels."""
    readers = [use.node for use in image.uses() if use.idx == 0 and is_op(use.node, "Conv")]
    channels = image.shape[1] if image.shape is not None and len(image.shape) == 4 else None
    if not readers or not isinstance(channels, int) or channels % INPUTS_MULTIPLE == 0:
        return
    missing = -channels % INPUTS_MULTIPLE
    padded = None
    for node in readers:
        conv = read_conv(node)
        if conv is None or conv.group != 1:
            outcome.skipped[node.name or ""] = _why_not(conv)
            continue
        if padded is None:
            padded = _padded(graph, image, missing, node)
        shape = conv.weight.shape
        zeros = np.zeros((shape[0], missing, *shape[2:]), conv.weight.dtype)
        wider = replace(conv, weight=np.concatenate([conv.weight, zeros], axis=1))
        exchange_weights(graph, wider, "padded_in")
        node.replace_input_with(0, padded)
        _applied(outcome, node, f"{channels} input channels to {channels + missing}")


def _padded(graph: ir.Graph, image: ir.Value, missing: int, reader: ir.Node) -> ir.Value:
    """Add channels of zeros behind those of an image."""
    assert image.shape is not None
    batch, channels, height, width = image.shape
    assert isinstance(channels, int)
    name = f"{reader.name}_pad_in"
    pads = add_constant(graph, f"{name}.pads", np.array([0, 0, 0, 0, 0, missing, 0, 0], np.int64))
    pad = new_node(
        "Pad", [image, pads], name=name, shape=[batch, channels + missing, height, width]
    )
    graph.insert_before(reader, [pad])
    return pad.outputs[0]


def _last(value: ir.Value) -> Iterator[ir.Node]:
    """Give the convolutions that an output is made of with no other convolution behind them."""
    node = value.producer()
    if node is None:
        return
    if is_op(node, "Conv"):
        yield node
    elif any(is_op(node, op_type) for op_type in _BEHIND_LAST):
        for source in node.inputs:
            if source is not None:
                yield from _last(source)


def _pad_last(graph: ir.Graph, node: ir.Node, outcome: Outcome) -> None:
    """Give a convolution 16 outputs, and cut off those that were not there."""
    conv = read_conv(node)
    outputs = conv.weight.shape[0] if conv is not None else 0
    if outputs >= OUTPUTS:
        return
    image, shape = node.inputs[0], node.outputs[0].shape
    if conv is None or conv.group != 1 or image is None or shape is None:
        outcome.skipped[node.name or ""] = _why_not(conv)
        return
    zeros = np.zeros((OUTPUTS - outputs, *conv.weight.shape[1:]), conv.weight.dtype)
    bias = conv.bias
    if bias is not None:
        bias = np.concatenate([bias, np.zeros(OUTPUTS - outputs, bias.dtype)])
    wider = replace(conv, weight=np.concatenate([conv.weight, zeros]), bias=bias)
    name = f"{node.name}_padded"
    padded = new_conv(graph, wider, name=name, image=image)
    crop = cut_channels(graph, padded.outputs[0], outputs, name=f"{name}_cut")
    replace_value(graph, node, [padded, crop])
    _applied(outcome, node, f"{outputs} output channels to {OUTPUTS}")


def _why_not(conv: Convolution | None) -> str:
    if conv is None:
        return "its weights are computed, or its pads are not written out"
    return "it has groups, each of few channels: none of them can be padded"


def _applied(outcome: Outcome, node: ir.Node, what: str) -> None:
    name = node.name or ""
    outcome.applied.append(name)
    outcome.forms[name] = f"padded: {what}"
