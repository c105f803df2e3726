"""A convolution whose halves are multiplied -> a convolution for each half.

For y = conv(x) with 2 C outputs, the halves of y along its channels are convolutions themselves,

    y[:, :C] = conv(x; W[:C], b[:C])        y[:, C:] = conv(x; W[C:], b[C:])

so SimpleGate, y[:, :C] * y[:, C:], needs no Split: in integer form that copies both halves, and it
ties them to one scale. The two convolutions read x twice. For a dense 1x1 convolution that is
cheap. A larger kernel would gather its pixels twice, and depthwise kernels want many channels (on
ARM multiples of 8, the more the better), so they keep one convolution and the Split. So do halves
of fewer than 16 channels, which leave the lanes of the matrix kernels empty: on x86 with VNNI two
convolutions took 0.87 of the time of one and Split for halves of 16, in float 0.62, but 1.36 and
1.22 for halves of 8.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from deploy.rewrites.building import ELEMENTWISE, Convolution, new_conv, read_conv
from deploy.rewrites.forms import GateForm
from deploy.rewrites.matching import constant_ints, is_op
from deploy.rewrites.outcome import Outcome

LEAST_OUTPUTS = 16


@dataclass(frozen=True)
class _Halves:
    first: ir.Value  # (N, C, H, W)
    second: ir.Value


def use_gate_convolutions(model: ir.Model, form: GateForm = "auto") -> Outcome:
    """Rewrite in place: `convs` every dense convolution, `auto` those of 1x1 with wide halves."""
    outcome = Outcome()
    if form == "keep":
        return outcome
    for node in list(model.graph):
        halves = _halves(node.outputs[0]) if is_op(node, "Conv") else None
        if halves is None or not _multiplied(halves):
            continue
        conv = read_conv(node)
        name = node.name or ""
        reason = _obstacle(conv, form)
        if reason is not None:
            outcome.skipped[name] = reason
            continue
        assert conv is not None
        _replace(model.graph, conv, halves)
        outcome.applied.append(name)
        outcome.forms[name] = "convs"
    return outcome


def _obstacle(conv: Convolution | None, form: GateForm) -> str | None:
    if conv is None:
        return "its weights are computed, or its pads are not written out"
    if conv.group != 1:
        return "it has groups: halves of a depthwise convolution are slower than one and a Split"
    if form == "auto" and not conv.is_1x1:
        return "its kernel is larger than 1x1: each half would gather the same pixels again"
    if form == "auto" and conv.weight.shape[0] < 2 * LEAST_OUTPUTS:
        return f"its halves have fewer than {LEAST_OUTPUTS} channels: one and a Split is faster"
    return None


def _halves(value: ir.Value) -> _Halves | None:
    """Give the halves of a value's channels that are all that is read of it."""
    readers = [use.node for use in value.uses()]
    if value.is_graph_output() or value.shape is None or len(value.shape) != 4:
        return None
    channels = value.shape[1]
    if not isinstance(channels, int) or channels % 2:
        return None
    if len(readers) == 1 and is_op(readers[0], "Split"):
        return _split_halves(readers[0], channels)
    if len(readers) == 2 and all(is_op(reader, "Slice") for reader in readers):
        parts = {_slice_range(reader, channels): reader.outputs[0] for reader in readers}
        first, second = parts.get((0, channels // 2)), parts.get((channels // 2, channels))
        return _Halves(first, second) if first is not None and second is not None else None
    return None


def _split_halves(split: ir.Node, channels: int) -> _Halves | None:
    if split.attributes.get_int("axis", 0) not in (1, -3) or len(split.outputs) != 2:
        return None
    first, second = split.outputs
    size = first.shape[1] if first.shape is not None and len(first.shape) == 4 else None
    return _Halves(first, second) if size == channels // 2 else None


def _slice_range(node: ir.Node, channels: int) -> tuple[int, int] | None:
    """Give what a Slice of the channels alone takes, as first and last + 1."""
    given = [constant_ints(value) for value in node.inputs[1:]]
    starts, ends, axes, steps = (*given, None, None)[:4]
    if len(node.inputs) < 4 or starts is None or ends is None or axes not in ([1], [-3]):
        return None
    if len(node.inputs) > 4 and steps != [1]:
        return None
    first, last, _ = slice(starts[0], ends[0]).indices(channels)
    return first, last


def _multiplied(halves: _Halves) -> bool:
    """Say whether one Mul reads both halves, each as it is or after one elementwise step."""
    first, second = ({id(mul) for mul in _products(half)} for half in (halves.first, halves.second))
    return bool(first & second)


def _products(half: ir.Value) -> Iterator[ir.Node]:
    for use in half.uses():
        if is_op(use.node, "Mul"):
            yield use.node
        elif any(is_op(use.node, op_type) for op_type in ELEMENTWISE):
            yield from (
                after.node for after in use.node.outputs[0].uses() if is_op(after.node, "Mul")
            )


def _replace(graph: ir.Graph, conv: Convolution, halves: _Halves) -> None:
    image = conv.node.inputs[0]
    assert image is not None
    middle = conv.weight.shape[0] // 2
    splits = {value.producer(): None for value in (halves.first, halves.second)}
    for part, old, chosen in (
        ("first", halves.first, slice(None, middle)),
        ("second", halves.second, slice(middle, None)),
    ):
        half = new_conv(
            graph, conv.with_outputs(chosen), name=f"{conv.node.name}_{part}", image=image
        )
        graph.insert_before(conv.node, [half])
        half.outputs[0].name = old.name
        old.replace_all_uses_with(half.outputs[0], replace_graph_outputs=True)
    graph.remove([split for split in splits if split is not None], safe=True)
    graph.remove(conv.node, safe=True)
