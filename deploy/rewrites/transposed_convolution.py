"""ConvTranspose whose kernel is its stride -> 1x1 convolution and PixelShuffle.

With kernel and stride b and no padding, no two output pixels share an input pixel:

    y[n, o, b h + i, b w + j] = bias[o] + sum over c of x[n, c, h, w] W[c, o, i, j]

which is a 1x1 convolution to O b b channels, with weight V[(o b + i) b + j, c] = W[c, o, i, j] and
each bias b b times, and DepthToSpace in CRD order. ConvTranspose has no integer kernel in ONNX
Runtime; both of these have one, and `pixel_shuffle` then finds a still cheaper form.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deploy.rewrites.building import add_constant, new_node
from deploy.rewrites.matching import constant_of, is_op, replace_value
from deploy.rewrites.outcome import Outcome


@dataclass(frozen=True)
class _Upsampling:
    node: ir.Node
    image: ir.Value  # (N, C, H, W)
    weight: np.ndarray  # (C, O, b, b)
    bias: np.ndarray | None  # (O,)


def use_shuffled_convolution(model: ir.Model) -> Outcome:
    """Rewrite in place."""
    outcome = Outcome()
    for node in list(model.graph):
        if not is_op(node, "ConvTranspose"):
            continue
        found = _read(node)
        if isinstance(found, str):
            outcome.skipped[node.name or ""] = found
            continue
        _replace(model.graph, found)
        outcome.applied.append(node.name or "")
    return outcome


def _read(node: ir.Node) -> _Upsampling | str:
    """Give its parts, or why it is no convolution and shuffle."""
    weight = constant_of(node.inputs[1])
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    bias = constant_of(bias_value)
    image = node.inputs[0]
    if weight is None or image is None or (bias_value is not None and bias is None):
        return "its weights are computed"
    if weight.ndim != 4 or image.shape is None or len(image.shape) != 4:
        return "it is not two-dimensional, or its input's shape is not known"
    if node.attributes.get_int("group", 1) != 1:
        return "it has groups: as a convolution its kernels would be too narrow to gain"
    return _obstacle(node, weight.shape[2:]) or _Upsampling(node, image, weight, bias)


def _obstacle(node: ir.Node, kernel: tuple[int, ...]) -> str | None:
    attributes = node.attributes
    strides = tuple(attributes.get_ints("strides", (1, 1)))
    if kernel[0] != kernel[1] or tuple(kernel) != strides or kernel[0] == 1:
        size, step = ("x".join(map(str, pair)) for pair in (kernel, strides))
        return f"its kernel {size} is not its stride {step}: output pixels overlap or lie apart"
    padded = any(attributes.get_ints("pads", ())) or any(attributes.get_ints("output_padding", ()))
    plain = attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    dilated = any(step != 1 for step in attributes.get_ints("dilations", ()))
    if padded or dilated or not plain or "output_shape" in attributes:
        return "it is padded, dilated, or made for a given output size"
    return None


def _replace(graph: ir.Graph, found: _Upsampling) -> None:
    name = found.node.name
    channels, outputs, block, _ = found.weight.shape
    weight = found.weight.reshape(channels, -1).T.reshape(-1, channels, 1, 1)
    inputs = [found.image, add_constant(graph, f"{name}_1x1.weight", weight)]
    if found.bias is not None:
        bias = np.repeat(found.bias, block**2)
        inputs.append(add_constant(graph, f"{name}_1x1.bias", bias))
    sizes = found.image.shape
    assert sizes is not None
    conv = new_node(
        "Conv",
        inputs,
        {"kernel_shape": [1, 1]},
        name=f"{name}_1x1",
        shape=[sizes[0], outputs * block**2, *sizes[2:]],
    )
    sides = [block * side if isinstance(side, int) else side for side in sizes[2:]]
    shuffle = new_node(
        "DepthToSpace",
        [conv.outputs[0]],
        {"blocksize": block, "mode": "CRD"},
        name=f"{name}_shuffle",
        shape=[sizes[0], outputs, *sides],
    )
    replace_value(graph, found.node, [conv, shuffle])
