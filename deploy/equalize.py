"""Scale the channels between two convolutions to like ranges; the function stays the same.

A tensor in 8 bits has one step for all its channels, so a channel that is small beside the others
is told apart coarsely. Where convolution A makes a tensor that only convolutions B read, with at
most a Relu or LeakyRelu between (f(x / s) = f(x) / s for s > 0), any s_i > 0 can be divided out:

    A'[i] = A[i] / s_i,    a'_i = a_i / s_i,    B'[o, i] = B[o, i] * s_i

exact also at borders, where zeros stay zeros. A's weights have a step for each output channel and
lose nothing. Nor do B's if B is depthwise, so there every channel is scaled to the widest's range.
A dense B has one step for each output over all its inputs i, and what its weights lose grows with
s_i; both losses are alike with

    s_i = sqrt(r_i / w_i) / (greatest of them over i)

of the channel's range r_i and the greatest weight w_i that reads it.

Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction,
ICCV 2019, section 4.1, with measured ranges r_i instead of those of A's weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deploy.residuals import node_name
from deploy.rewrites.building import Convolution, add_constant, read_conv
from deploy.rewrites.matching import is_op, sole_user
from deploy.rewrites.outcome import Outcome

ChannelLimits = Mapping[str, tuple[np.ndarray, np.ndarray]]  # tensor -> least, greatest, (C,) each
HOMOGENEOUS = ("Relu", "LeakyRelu")
MOST_SCALING = 64.0  # of a channel against the widest: what hardly lives shall not be blown up


@dataclass(frozen=True)
class _Pair:
    first: Convolution
    between: str  # name of the tensor that the second ones read
    seconds: tuple[Convolution, ...]


def equalize(model: ir.Model, limits: ChannelLimits) -> Outcome:
    """Scale channels in place, in the order of the graph.

    Args:
        model: a float graph.
        limits: least and greatest value of each channel, of the tensors of exactly this graph.
    """
    outcome = Outcome()
    for node in list(model.graph):
        pair = _pair(node)
        if pair is None:
            continue
        name = node_name(node)
        if pair.between not in limits:
            outcome.skipped[name] = "its output was not calibrated"
            continue
        scales = _scales(pair, *limits[pair.between])
        if np.ptp(scales) == 0:
            outcome.skipped[name] = "its channels have one range"
            continue
        _scale(model.graph, pair, scales)
        outcome.applied.append(name)
    return outcome


def _pair(node: ir.Node) -> _Pair | None:
    """Give a convolution with those that alone read it; None where others do."""
    first = read_conv(node)
    if first is None:
        return None
    value = node.outputs[0]
    reader = sole_user(value)
    while reader is not None and any(is_op(reader, kind) for kind in HOMOGENEOUS):
        value = reader.outputs[0]
        reader = sole_user(value)
    if value.is_graph_output() or not list(value.uses()):
        return None
    seconds = [read_conv(use.node) if use.idx == 0 else None for use in value.uses()]
    known = tuple(one for one in seconds if one is not None and _takes(one, first))
    return _Pair(first, str(value.name), known) if len(known) == len(seconds) else None


def _takes(second: Convolution, first: Convolution) -> bool:
    """Say whether a convolution is dense or depthwise over all that the first one makes."""
    channels = len(first.weight)
    return second.group == 1 or second.group == channels == len(second.weight)


def _scales(pair: _Pair, least: np.ndarray, greatest: np.ndarray) -> np.ndarray:
    """Give s of each channel, float64, at most 1; 1 for a channel that is always zero."""
    ranges = np.maximum(np.maximum(greatest, 0) - np.minimum(least, 0), 0).astype(np.float64)
    dense = [one.weight for one in pair.seconds if one.group == 1]
    wanted = ranges
    if dense:
        of_inputs = np.max([np.abs(one).max(axis=(0, 2, 3)) for one in dense], axis=0)
        wanted = np.sqrt(ranges / np.maximum(of_inputs.astype(np.float64), 1e-12))
    alive = ranges > 0
    if not alive.any():
        return np.ones_like(ranges)
    relative = wanted / wanted[alive].max()
    return np.where(alive, np.clip(relative, 1 / MOST_SCALING, 1), 1.0)


def _scale(graph: ir.Graph, pair: _Pair, scales: np.ndarray) -> None:
    divided = pair.first.weight / scales.reshape(-1, 1, 1, 1)
    bias = None if pair.first.bias is None else pair.first.bias / scales
    _set_weights(graph, pair.first, divided, bias)
    for second in pair.seconds:
        shape = (1, -1, 1, 1) if second.group == 1 else (-1, 1, 1, 1)
        _set_weights(graph, second, second.weight * scales.reshape(shape), second.bias)


def _set_weights(
    graph: ir.Graph, conv: Convolution, weight: np.ndarray, bias: np.ndarray | None
) -> None:
    """Give a convolution new constants; one that others share stays for them."""
    for place, (what, array) in enumerate((("weight", weight), ("bias", bias)), start=1):
        if array is None or array is (conv.weight, conv.bias)[place - 1]:
            continue
        old = conv.node.inputs[place]
        name = f"{node_name(conv.node)}_{what}_equalized"
        name = name if name not in graph.initializers else f"{name}_{old.name if old else ''}"
        conv.node.replace_input_with(place, add_constant(graph, name, array.astype(np.float32)))
