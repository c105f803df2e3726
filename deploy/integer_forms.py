"""Equal forms that integer kernels gain by and float ones lose by, written before quantization.

`prepare` makes one float file for all targets, so what would slow it down waits until a graph
becomes integer:

rows      The first convolution makes two pixels of a row at a time; the algebra is in
          `deploy.rewrites.row_convolution`. Integers are channels last, where it is free.
shuffle   In the form `nhwc` of `deploy.rewrites.pixel_shuffle` the values of b rows lie side by
          side, (N H, W, b, b C), and Transpose (0, 2, 1, 3) copies b C bytes at a time, at over 100
          instructions each. The same as Split into b parts, each (N H, 1, W b C), and Concat of
          them: Split copies as many bytes at a time by a fifth of the instructions, and Concat
          copies whole rows.

instances On ARM only. LayerNormalization over the last axis of (N, H, W, C) is
          InstanceNormalization of (1, N H W, C), every pixel an instance, where it scales and
          shifts nothing. ONNX Runtime's kernel of the one is scalar on ARM, that of the other
          vectorized, but on one thread: a value took, in instructions,

              C                           64      128     256
              LayerNormalization          16.5    15.1    14.5
              InstanceNormalization        6.7     5.2     4.4

          so it is the better one up to two threads, and about equal on three or four. On x86 both
          took the same on one thread.

An int8 NAFNet-tiny executed on ARM with dotprod 1.6 % fewer instructions by the first, 1 % by the
second and 2.3 % by the third; one of 22 blocks 6 % by the third. On x86 with VNNI the first two
were neutral within 1 %. In float they cost 5 % and 1 % there.

Rows and shuffles only move values, so nothing is rounded otherwise: the output is the same to the
bit. What is made here holds values of a tensor that was calibrated, and takes its range.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deploy.channel_ties import static_shape
from deploy.placement import Placement, Target
from deploy.residuals import node_name
from deploy.rewrites.building import add_constant, new_node, read_conv
from deploy.rewrites.matching import constant_of, is_op, maker, replace_value, sole_user
from deploy.rewrites.row_convolution import Row, put_rows, row_of

_OF_KERNELS = "all"  # the level at which ONNX Runtime's own kernels run the graph


def integer_forms_of(target: Target) -> tuple[str, ...]:
    """Give the names of the forms that a target's integer graphs get."""
    if target.level != _OF_KERNELS:
        return ()
    return ("rows", "shuffle", "instances") if target.hardware == "arm" else ("rows", "shuffle")


def use_integer_forms(model: ir.Model, placement: Placement, target: Target) -> dict[str, str]:
    """Rewrite in place what becomes integer, and norms, where ONNX Runtime's own kernels run it.

    A convolution keeps its name.

    Args:
        placement: of this graph.

    Returns:
        New tensor -> the calibrated one whose values it holds.
    """
    same: dict[str, str] = {}
    forms = integer_forms_of(target)
    if not forms:
        return same
    for node in list(model.graph):
        if "instances" in forms and is_op(node, "LayerNormalization"):
            same |= _by_instances(model.graph, node)
        if node_name(node) not in placement.integer:
            continue
        if is_op(node, "Conv"):
            same |= _first_in_rows(model.graph, node)
        elif is_op(node, "Transpose"):
            found = _interleave(node)
            if found is not None:
                _rows_by_concat(model.graph, found)
    return same


def _first_in_rows(graph: ir.Graph, node: ir.Node) -> dict[str, str]:
    conv, image, shape = read_conv(node), node.inputs[0], node.outputs[0].shape
    pad = maker(image, "Pad")
    image = pad.inputs[0] if pad is not None else image
    if conv is None or conv.weight.shape[3] == 1 or shape is None or image is None:
        return {}
    row = row_of(conv, shape[3], first=image.is_graph_input())
    if not isinstance(row, Row):
        return {}
    name = node.name
    made = put_rows(graph, conv, row)
    made[0][1].name = name
    return {str(new.outputs[0].name): str(value.name) for value, new in made}


def _by_instances(graph: ir.Graph, node: ir.Node) -> dict[str, str]:
    image = node.inputs[0]
    shape = static_shape(image) if image is not None else None
    if image is None or shape is None or len(shape) != 4 or not _only_normalizes(node):
        return {}
    name, pixels = node.name, int(np.prod(shape[:3]))
    flat = (1, pixels, shape[3])
    to_flat = add_constant(graph, f"{name}_flat.shape", np.array(flat, np.int64))
    to_image = add_constant(graph, f"{name}_back.shape", np.array(shape, np.int64))
    ones = add_constant(graph, f"{name}_ones", np.ones(pixels, np.float32))
    zeros = add_constant(graph, f"{name}_zeros", np.zeros(pixels, np.float32))
    eps = {"epsilon": node.attributes.get_float("epsilon", 1e-5)}
    first = new_node("Reshape", [image, to_flat], name=f"{name}_flat", shape=flat)
    inputs = [first.outputs[0], ones, zeros]
    norm = new_node("InstanceNormalization", inputs, eps, name=f"{name}_instances", shape=flat)
    last = new_node("Reshape", [norm.outputs[0], to_image], name=f"{name}_back", shape=shape)
    held = {str(norm.outputs[0].name): str(node.outputs[0].name)}
    replace_value(graph, node, [first, norm, last])
    return held


def _only_normalizes(node: ir.Node) -> bool:
    """Say whether a LayerNormalization is over the last axis of four, and its affine does nothing.

    Where it does something, it could not be folded into what reads it.
    """
    affine = [constant_of(value) for value in node.inputs[1:]]
    neutral = [
        array is not None and bool((array == wanted).all())
        for array, wanted in zip(affine, (1, 0), strict=False)
    ]
    return (
        all(neutral) and len(node.outputs) == 1 and node.attributes.get_int("axis", -1) in (-1, 3)
    )


@dataclass(frozen=True)
class _Interleave:
    """Reshape of (N, H, W, b C) to (N H, W, b, C), and Transpose to (N H, b, W, C)."""

    reshape: ir.Node
    transpose: ir.Node
    image: ir.Value
    batch: int
    sides: tuple[int, int]
    block: int
    each: int  # C, that of a pixel in one row


def _interleave(node: ir.Node) -> _Interleave | None:
    rows = maker(node.inputs[0], "Reshape")
    image = rows.inputs[0] if rows is not None else None
    if rows is None or image is None or sole_user(rows.outputs[0]) is not node:
        return None
    if tuple(node.attributes.get_ints("perm", ())) != (0, 2, 1, 3):
        return None
    whole, parts = static_shape(image), static_shape(rows.outputs[0])
    if whole is None or parts is None or len(whole) != 4 or len(parts) != 4:
        return None
    batch, height, width, channels = whole
    if (batch * height, width, channels) != (parts[0], parts[1], parts[2] * parts[3]):
        return None
    return _Interleave(rows, node, image, batch, (height, width), parts[2], parts[3])


def _rows_by_concat(graph: ir.Graph, found: _Interleave) -> None:
    name, (height, width), rows = found.transpose.name, found.sides, found.batch * found.sides[0]
    sizes = np.full(found.block, found.each, np.int64)
    inputs = [found.image, add_constant(graph, f"{name}_parts.sizes", sizes)]
    split = ir.node("Split", inputs, {"axis": 3}, num_outputs=found.block, name=f"{name}_parts")
    flat = (rows, 1, width * found.each)
    of_flat = add_constant(graph, f"{name}_flat.shape", np.array(flat, np.int64))
    reshaped = []
    for index, part in enumerate(split.outputs):
        part.name, part.type = f"{name}_part_{index}", found.image.type
        part.shape = ir.Shape([found.batch, height, width, found.each])
        reshaped.append(
            new_node("Reshape", [part, of_flat], name=f"{name}_flat_{index}", shape=flat)
        )
    joined = (rows, found.block, width * found.each)
    values = [node.outputs[0] for node in reshaped]
    concat = new_node("Concat", values, {"axis": 1}, name=f"{name}_joined", shape=joined)
    back = (rows, found.block, width, found.each)
    of_back = add_constant(graph, f"{name}_back.shape", np.array(back, np.int64))
    last = new_node("Reshape", [concat.outputs[0], of_back], name=f"{name}_back", shape=back)
    replace_value(graph, found.transpose, [split, *reshaped, concat, last])
    graph.remove(found.reshape, safe=True)
