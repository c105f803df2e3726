"""Padding and cropping that an integer graph cannot fuse -> the pads of a convolution, or nothing.

    conv(Pad(x, zeros P), pads p) = conv(x, pads p + P)          on height and width, P >= 0

since both read the same zeros. Where a network pads its input to a multiple of what it needs, adds
that to its output and crops what it padded, the crop goes first, to both sides of the sum:

    crop(Pad(x) + y) = x + crop(y)          where the crop takes away exactly what was padded

Identity, Pad by nothing and Slice of everything go.
"""

import numpy as np
import onnx_ir as ir

from deploy.rewrites.building import bypass, new_node, read_conv
from deploy.rewrites.matching import (
    constant_ints,
    constant_of,
    is_op,
    maker,
    replace_value,
    sole_user,
)
from deploy.rewrites.outcome import Outcome

Sides = tuple[tuple[int, int], ...]  # of each axis: before its first value, after its last


def use_conv_pads(model: ir.Model) -> Outcome:
    """Rewrite in place."""
    outcome = Outcome()
    for node in list(model.graph):
        if _does_nothing(node) and bypass(model.graph, node):
            outcome.applied.append(node.name or "")
    for node in list(model.graph):
        if is_op(node, "Slice") and _crop_first(model.graph, node):
            outcome.applied.append(node.name or "")
    for node in list(model.graph):
        if not is_op(node, "Pad"):
            continue
        reason = _fold(model.graph, node)
        if reason is None:
            outcome.applied.append(node.name or "")
        else:
            outcome.skipped[node.name or ""] = reason
    return outcome


def _does_nothing(node: ir.Node) -> bool:
    if is_op(node, "Identity"):
        return True
    sides = _pad_sides(node) if is_op(node, "Pad") else _slice_sides(node)
    return sides is not None and not any(any(pair) for pair in sides)


def _pad_sides(node: ir.Node) -> Sides | None:
    """Give by how much a Pad extends each axis; None where that is computed."""
    image = node.inputs[0]
    pads = constant_ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if pads is None or image is None or image.shape is None:
        return None
    rank = len(image.shape)
    axes: list[int] | None = list(range(rank))
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        axes = constant_ints(node.inputs[3])
    if axes is None:
        return None
    sides = [(0, 0)] * rank
    for index, axis in enumerate(axes):
        sides[axis] = pads[index], pads[index + len(axes)]
    return tuple(sides)


def _slice_sides(node: ir.Node) -> Sides | None:
    """Give how much a Slice of step 1 takes away of each axis; None where that is not known."""
    image = node.inputs[0] if node.inputs else None
    if not is_op(node, "Slice") or image is None or image.shape is None or len(node.inputs) < 3:
        return None
    starts, ends = (constant_ints(value) for value in node.inputs[1:3])
    if starts is None or ends is None:
        return None
    axes, steps = (
        constant_ints(node.inputs[index]) if len(node.inputs) > index else None for index in (3, 4)
    )
    if steps is not None and any(step != 1 for step in steps):
        return None
    sides = [(0, 0)] * len(image.shape)
    for start, end, axis in zip(starts, ends, axes or range(len(starts)), strict=True):
        size = image.shape[axis]
        if isinstance(size, int):
            first, last, _ = slice(start, end).indices(size)
            sides[axis] = first, size - last
        elif start < 0 or end < np.iinfo(np.int32).max:
            return None
        else:
            sides[axis] = start, 0
    return tuple(sides)


def _fold(graph: ir.Graph, pad: ir.Node) -> str | None:
    """Fold a Pad into every convolution that reads it, and remove it; else say why not."""
    image, output = pad.inputs[0], pad.outputs[0]
    sides = _pad_sides(pad)
    if sides is None or image is None:
        return "how much it pads is computed"
    mode = pad.attributes.get_string("mode", "constant")
    if mode != "constant":
        return f"it pads by {mode} values, and a convolution pads by zeros"
    value = constant_of(pad.inputs[2]) if len(pad.inputs) > 2 and pad.inputs[2] else np.zeros(1)
    if value is None or value.any():
        return "it pads by another value than zero"
    if len(sides) != 4 or any(sides[0]) or any(sides[1]) or any(min(pair) < 0 for pair in sides):
        return "it pads other axes than height and width, or crops"
    convs = [read_conv(use.node) for use in output.uses() if use.idx == 0]
    if output.is_graph_output() or len(convs) != len(output.uses()) or None in convs:
        return "not only convolutions read it"
    for conv in convs:
        assert conv is not None
        top, left, bottom, right = conv.pads
        (above, below), (before, after) = sides[2:]
        pads = [top + above, left + before, bottom + below, right + after]
        conv.node.attributes["pads"] = ir.AttrInt64s("pads", pads)
        conv.node.attributes.pop("auto_pad", None)
        conv.node.replace_input_with(0, image)
    graph.remove(pad, safe=True)
    return None


def _crop_first(graph: ir.Graph, crop: ir.Node) -> bool:
    """Turn crop(Pad(x) + y) into x + crop(y); False where it is another graph."""
    total = maker(crop.inputs[0], "Add")
    removed = _slice_sides(crop)
    if total is None or removed is None or sole_user(total.outputs[0]) is not crop:
        return False
    for index in (0, 1):
        pad, other = maker(total.inputs[index], "Pad"), total.inputs[1 - index]
        if pad is None or other is None or other.shape is None or _pad_sides(pad) != removed:
            continue
        if other.shape != total.outputs[0].shape or pad.inputs[0] is None:
            continue
        shape = crop.outputs[0].shape
        assert shape is not None
        inner = new_node("Slice", [other, *crop.inputs[1:]], name=f"{crop.name}_first", shape=shape)
        inputs = [inner.outputs[0], pad.inputs[0]]
        replace_value(
            graph, crop, [inner, new_node("Add", inputs, name=f"{total.name}_cropped", shape=shape)]
        )
        graph.remove(total, safe=True)
        return True
    return False
