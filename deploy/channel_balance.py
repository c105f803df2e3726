"""Divide the channels of every tensor of a graph so that 8 bits waste least; same function.

A tensor in 8 bits has one step for all its channels, (max of greatest - min of least) / 255. With
each channel c divided by s_c (`deploy.channel_scales` says which s leave the function as it is),
rounding puts noise of s_c times that step on the channel's own scale. So each tensor has

    noise(s) = mean(s_c^2) * (max(greatest_c / s_c) - min(least_c / s_c))^2      over channels c

which `balance_channels` makes small for all tensors at once: it minimizes the sum of log noise.
Every term is convex in log s, and log s is linear in the free numbers, so there is one minimum.
Where only two convolutions meet, it is the known s_c = range of c; sums, gates and residual streams
get the best compromise of all that is tied together.

Weights need no part in it: those of each output channel have their own step, and what rounding them
costs stayed 15 dB below what rounding activations costs (PMRID, before and after).

Source: cross-layer equalization, Nagel et al., Data-Free Quantization (ICCV 2019), section 4.1; the
objective, and equalizing sums, gates and shuffles with it, are this module's own.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from scipy.optimize import minimize

from deploy.channel_scales import Scales, read_scales
from deploy.channel_ties import Linear, static_shape
from deploy.inference import open_session
from deploy.residuals import node_name
from deploy.rewrites.building import add_constant
from deploy.rewrites.matching import constant_of
from deploy.rewrites.outcome import Outcome

ChannelLimits = Mapping[str, tuple[np.ndarray, np.ndarray]]  # tensor -> least, greatest, (C,) each

SPREAD = 6.0  # standard deviations; what lies beyond sets no scale
LEAST_SHARE = 1 / 64  # of the widest channel: one that hardly lives shall not be blown up
_NORM = 24  # stands in for the maximum, which has no gradient
_RIDGE = 1e-3  # holds numbers that no tensor asks for at 1
_ROUNDING = 64  # log s in steps of 1/64: last bits of another machine's sums change nothing


@dataclass(frozen=True)
class _Tensor:
    labels: np.ndarray  # (C,)
    below: np.ndarray  # -least, at least 0
    above: np.ndarray  # greatest, at least 0


def balance_channels(model: ir.Model, limits: ChannelLimits) -> Outcome:
    """Scale channels in place, of all tensors whose limits are given.

    Only constants change, so names, shapes and operators stay; activations do not, so ranges have
    to be taken anew.

    Args:
        model: a float graph of static shapes.
        limits: least and greatest value of each channel of the tensors that become 8-bit.
    """
    outcome = Outcome()
    scales = read_scales(model)
    tensors = _tensors(scales, limits)
    if not tensors or not scales.basis.shape[1]:
        return outcome
    divisors = np.exp(scales.basis @ _balanced(scales, tensors))
    for linear in scales.linears:
        if _is_scaled(linear, divisors):
            _scale_linear(model.graph, linear, divisors)
            outcome.applied.append(node_name(linear.node))
        else:
            outcome.skipped[node_name(linear.node)] = "all around it keeps its scale"
    for one in scales.divided:
        if (divisors[one.labels] != 1).any():
            array = constant_of(one.node.inputs[one.index])
            assert array is not None
            _exchange(model.graph, one.node, one.index, array / divisors[one.labels])
    return outcome


def typical_limits(
    graph: onnx.ModelProto, crops: Iterable[np.ndarray], limits: ChannelLimits
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Narrow limits to SPREAD standard deviations around each channel's mean.

    A channel's one extreme value would else decide its scale, though ranges chosen for the bulk
    cut it off later.

    Args:
        graph: whose tensors these are, with one input; left as it is.
        crops: each (1, C, H, W) float32; one at a time is in memory.
        limits: of tensors (N, C, H, W).
    """
    image = graph.graph.input[0].name
    names = [name for name in limits if name != image]
    session = open_session(_with_moments(graph, names).SerializeToString())
    outputs = [f"{name}{suffix}" for name in names for suffix in ("_mean", "_square")]
    total, count = np.zeros(0), 0
    for crop in crops:
        found = session.run(outputs, {image: crop})
        values = np.concatenate([one.mean(axis=0).reshape(-1) for one in found]).astype(np.float64)
        total, count = values + (total if count else 0), count + 1
    narrowed = dict(limits)
    at = 0
    for name in names:
        least, greatest = limits[name]
        mean, square = (total / count)[at : at + 2 * len(least)].reshape(2, -1)
        at += 2 * len(least)
        reach = SPREAD * np.sqrt(np.maximum(square - mean**2, 0))
        narrowed[name] = np.maximum(least, mean - reach), np.minimum(greatest, mean + reach)
    return narrowed


def _with_moments(graph: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """Give a graph whose outputs are NAME_mean and NAME_square of tensors, (N, C, 1, 1) each."""
    made = onnx.ModelProto()
    made.CopyFrom(graph)
    del made.graph.output[:]
    for name in names:
        product = onnx.helper.make_node("Mul", [name, name], [f"{name}_squared"])
        made.graph.node.append(product)
        for value, output in ((name, f"{name}_mean"), (f"{name}_squared", f"{name}_square")):
            made.graph.node.append(onnx.helper.make_node("GlobalAveragePool", [value], [output]))
            made.graph.output.append(onnx.ValueInfoProto(name=output))
    return made


def _tensors(scales: Scales, limits: ChannelLimits) -> list[_Tensor]:
    free = np.diff(scales.basis.indptr) > 0
    found = []
    for value in scales.labels:
        labels = scales.of_channels(value)
        if labels is None or value.name not in limits or not free[labels].any():
            continue
        if math.prod(static_shape(value)[2:]) == 1:  # type: ignore[index]
            continue  # pooled: letting these decide cost NAFNet 0.1 to 1.4 dB
        least, greatest = (np.asarray(one, np.float64) for one in limits[str(value.name)])
        below, above = np.maximum(-least, 0), np.maximum(greatest, 0)
        floor = LEAST_SHARE * np.max([below, above])
        if floor > 0:
            dead = np.maximum(below, above) < floor
            found.append(_Tensor(labels, below, np.where(dead, floor, above)))
    return found


def _balanced(scales: Scales, tensors: list[_Tensor]) -> np.ndarray:
    """Give the free numbers at the minimum, rounded."""

    def objective(free: np.ndarray) -> tuple[float, np.ndarray]:
        logs = scales.basis @ free
        total, gradient = 0.0, np.zeros(len(logs))
        for one in tensors:
            noise, slopes = _log_noise(one, logs[one.labels])
            total += noise
            gradient += np.bincount(one.labels, slopes, len(logs))
        ridge = _RIDGE * free
        return total + float(free @ ridge), scales.basis.T @ gradient + 2 * ridge

    start = np.zeros(scales.basis.shape[1])
    options = {"maxiter": 300, "maxcor": 20, "ftol": 1e-5}
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=options)
    return np.rint(found.x * _ROUNDING) / _ROUNDING


def _log_noise(tensor: _Tensor, logs: np.ndarray) -> tuple[float, np.ndarray]:
    """Give log noise of a tensor, and its slope along each channel's log s."""
    squares = np.exp(2 * logs)
    width, slopes = 0.0, np.zeros(len(logs))
    for side in (tensor.below, tensor.above):
        divided = side * np.exp(-logs)
        greatest = divided.max()
        if greatest > 0:
            powers = (divided / greatest) ** _NORM
            extent = greatest * powers.sum() ** (1 / _NORM)
            width += extent
            slopes -= extent * powers / powers.sum()
    return (
        float(np.log(squares.mean()) + 2 * np.log(width)),
        2 * squares / squares.sum() + 2 * slopes / width,
    )


def _is_scaled(linear: Linear, divisors: np.ndarray) -> bool:
    return any((divisors[one] != 1).any() for one in (linear.inputs, linear.outputs))


def _scale_linear(graph: ir.Graph, linear: Linear, divisors: np.ndarray) -> None:
    node, into, out = linear.node, divisors[linear.inputs], divisors[linear.outputs]
    weight = constant_of(node.inputs[1])
    assert weight is not None
    groups = node.attributes.get_int("group", 1)
    # (groups, outputs or inputs of one, inputs or outputs of one, kernel)
    parts = weight.astype(np.float64).reshape(groups, -1, *weight.shape[1:])
    kernel = (1,) * (weight.ndim - 2)
    first, second = (into, 1 / out) if node.op_type == "ConvTranspose" else (1 / out, into)
    parts = parts * first.reshape(groups, -1, 1, *kernel) * second.reshape(groups, 1, -1, *kernel)
    _exchange(graph, node, 1, parts.reshape(weight.shape))
    bias = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is not None:
        _exchange(graph, node, 2, bias / out)


def _exchange(graph: ir.Graph, node: ir.Node, index: int, array: np.ndarray) -> None:
    """Give a node another constant; the old one stays for its other readers."""
    name = f"{node_name(node)}_balanced_{index}"
    node.replace_input_with(index, add_constant(graph, name, array.astype(np.float32)))
