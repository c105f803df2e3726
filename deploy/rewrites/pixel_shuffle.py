"""PixelShuffle -> the form that moves whole rows, with the convolution before it reordered.

For x of shape (N, C b b, H, W), DepthToSpace of block b gives y of shape (N, C, b H, b W) with

    y[n, c, b h + i, b w + j] = x[n, k, h, w],
    CRD: k = (c b + i) b + j            DCR: k = (i b + j) C + c

so CRD of x is DCR of x with its channels in another order, and the convolution that makes x writes
them in that order if its outputs are permuted; what works on each value alone may stand between.
In DCR order the b C values of one (h, i, w) lie side by side in both x and y, channels last:

    Transpose to (N, H, W, b b C), Reshape to (N H, W, b, b C), Transpose (0, 2, 1, 3),
    Reshape to (N, b H, b W, C), Transpose to (N, C, b H, b W)

which is the form `nhwc`. Integer convolutions run channels last, so the outer Transposes vanish,
and the inner one copies b C bytes at a time, where DepthToSpace works channels first and costs two
changes of layout on the largest tensors.

Exporters write PixelShuffle as DepthToSpace, or as Reshape, Transpose, Reshape over six axes.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deploy.rewrites.building import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    ELEMENTWISE,
    Convolution,
    LayoutStep,
    exchange_weights,
    layout_steps,
    new_node,
    read_conv,
)
from deploy.rewrites.forms import ShuffleForm
from deploy.rewrites.matching import is_op, maker, replace_value, sole_user
from deploy.rewrites.outcome import Outcome

# which of the six axes are C, b and b, and the order that Transpose gives all six
_SIX_AXES = {"CRD": ((1, 2, 3), (0, 1, 4, 2, 5, 3)), "DCR": ((3, 1, 2), (0, 3, 4, 1, 5, 2))}


@dataclass(frozen=True)
class _Shuffle:
    last: ir.Node  # the node whose output is the shuffled image
    image: ir.Value  # (N, C b b, H, W)
    block: int
    mode: str  # CRD or DCR

    @property
    def is_operator(self) -> bool:
        """Whether it is one DepthToSpace already."""
        return is_op(self.last, "DepthToSpace")


def use_pixel_shuffle(model: ir.Model, form: ShuffleForm = "auto") -> Outcome:
    """Rewrite in place, to `nhwc`, to `dcr` (DepthToSpace) or, for `keep`, not at all.

    `auto` is `nhwc`: it was faster than DepthToSpace in float and in integer, on x86 and on ARM.
    """
    outcome = Outcome()
    if form == "keep":
        return outcome
    wanted = "dcr" if form == "dcr" else "nhwc"
    for node in list(model.graph):
        found = _match(node)
        if found is None or (wanted == "dcr" and found.mode == "DCR" and found.is_operator):
            continue
        name = node.name or ""
        conv = _conv_behind(found.image)
        reason = _obstacle(found, conv, wanted)
        if reason is not None:
            outcome.skipped[name] = reason
            continue
        if found.mode == "CRD" and conv is not None:
            permuted = conv.with_outputs(_to_dcr(conv.weight.shape[0], found.block))
            exchange_weights(model.graph, permuted, "dcr")
        nodes = _nhwc(model.graph, found) if wanted == "nhwc" else [_depth_to_space(found)]
        replace_value(model.graph, node, nodes)
        outcome.applied.append(name)
        outcome.forms[name] = wanted
    return outcome


def _match(node: ir.Node) -> _Shuffle | None:
    image = node.inputs[0] if node.inputs else None
    if is_op(node, "DepthToSpace") and image is not None:
        mode = node.attributes.get_string("mode", "DCR")
        return _Shuffle(node, image, node.attributes.get_int("blocksize"), mode)
    return _match_reshapes(node) if is_op(node, "Reshape") else None


def _match_reshapes(last: ir.Node) -> _Shuffle | None:
    """Match Reshape to (N, C, b, b, H, W) or (N, b, b, C, H, W), Transpose, Reshape."""
    transpose = maker(last.inputs[0], "Transpose")
    first = maker(transpose.inputs[0], "Reshape") if transpose else None
    if transpose is None or first is None or first.inputs[0] is None:
        return None
    if sole_user(transpose.outputs[0]) is None or sole_user(first.outputs[0]) is None:
        return None
    image, output = first.inputs[0], last.outputs[0]
    six = _known_sizes(first.outputs[0])
    if len(_known_sizes(image)) != 4 or len(six) != 6:
        return None
    order = tuple(transpose.attributes.get_ints("perm", ()))
    for mode, ((c, i, j), perm) in _SIX_AXES.items():
        batch, _, height, width = _known_sizes(image)
        channels, block = six[c], six[i]
        larger = (batch, channels, block * height, block * width)
        kept = (six[0], six[j], six[4], six[5]) == (batch, block, height, width)
        if order == perm and kept and _known_sizes(output) == larger:
            return _Shuffle(last, image, block, mode)
    return None


def _known_sizes(value: ir.Value) -> tuple[int, ...]:
    """Give a shape; empty where any of it is open."""
    if value.shape is None or not value.shape.is_static():
        return ()
    return value.shape.numpy()


def _obstacle(found: _Shuffle, conv: Convolution | None, wanted: str) -> str | None:
    shape = found.image.shape
    if shape is None or len(shape) != 4 or not isinstance(shape[1], int):
        return "the number of its channels is not known"
    if wanted == "nhwc" and not (isinstance(shape[2], int) and isinstance(shape[3], int)):
        return "its height or width is open, and Reshape to rows needs both"
    if found.mode == "CRD" and conv is None:
        return (
            "its channels are in CRD order, and no dense convolution that nothing else reads is "
            "before it to write them in DCR order"
        )
    return None


def _conv_behind(value: ir.Value) -> Convolution | None:
    """Give the dense convolution that makes a value for one reader, elementwise steps between."""
    while sole_user(value) is not None:
        node = value.producer()
        conv = read_conv(node)
        if conv is not None:
            return conv if conv.group == 1 else None
        if node is None or node.op_type not in ELEMENTWISE or node.inputs[0] is None:
            return None
        value = node.inputs[0]
    return None


def _to_dcr(channels: int, block: int) -> np.ndarray:
    """Give, for each DCR channel, the number of the CRD channel that holds the same values."""
    crd = np.arange(channels).reshape(channels // block**2, block, block)
    return crd.transpose(1, 2, 0).reshape(-1)


def _depth_to_space(found: _Shuffle) -> ir.Node:
    shape = found.last.outputs[0].shape
    assert shape is not None
    attributes = {"blocksize": found.block, "mode": "DCR"}
    name = f"{found.last.name}_dcr"
    return new_node("DepthToSpace", [found.image], attributes, name=name, shape=shape)


def _nhwc(graph: ir.Graph, found: _Shuffle) -> list[ir.Node]:
    assert found.image.shape is not None
    batch, channels, height, width = found.image.shape
    assert isinstance(channels, int) and isinstance(height, int) and isinstance(width, int)
    block, kept = found.block, channels // found.block**2
    rows = batch * height if isinstance(batch, int) else ir.SymbolicDim(None)
    by_rows = (width, block, block * kept)
    larger = (block * height, block * width, kept)
    steps: list[LayoutStep] = [
        ("Transpose", "to_last", CHANNELS_LAST, [batch, height, width, channels]),
        ("Reshape", "rows", (-1, *by_rows), [rows, *by_rows]),
        ("Transpose", "interleave", (0, 2, 1, 3), [rows, block, width, block * kept]),
        ("Reshape", "image", (-1, *larger), [batch, *larger]),
        ("Transpose", "to_first", CHANNELS_FIRST, [batch, kept, *larger[:2]]),
    ]
    return layout_steps(graph, found.image, steps, name=str(found.last.name))
