"""The nodes of each form of LayerNorm2d; the algebra is in `layer_norm`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from scipy.fft import dct
from scipy.linalg import hadamard

from deploy.rewrites.building import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    Convolution,
    Shape,
    add_constant,
    new_node,
)
from deploy.rewrites.fold_affine import conv_readers, mix_inputs, scale_inputs
from deploy.rewrites.layer_norm_match import LayerNorm
from deploy.rewrites.matching import replace_value

# mean^2 / variance from which v is no longer the difference of two means: each costs 2^-24 of
# mean^2, so that 1 / sqrt(v) is off by a ten-thousandth at most
MAX_OFFSET = 1e-4 * 2**24


@dataclass(frozen=True)
class Site:
    """One normalization in its graph, as it is just before it is rewritten."""

    model: ir.Model
    norm: LayerNorm
    greatest_offset: float  # mean^2 / (variance + eps) on the worst pixel; infinite if unknown

    def readers(self, *, mixed: bool) -> list[Convolution] | str:
        """Give the convolutions that take its affine, mixed or not, or why there are none."""
        shifted = bool(self.norm.bias.any())
        return conv_readers(self.norm.last.outputs[0], shifted=shifted, mixed=mixed)


class _Nodes:
    """Nodes that will stand where a normalization stood, each reading the one before."""

    def __init__(self, site: Site) -> None:
        self.graph, self.norm, self.made = site.model.graph, site.norm, list[ir.Node]()
        assert site.norm.image.shape is not None
        batch, channels, height, width = site.norm.image.shape
        self.first: Shape = [batch, channels, height, width]
        self.last: Shape = [batch, height, width, channels]
        self.one: Shape = [batch, 1, height, width]

    def add(
        self, op_type: str, part: str, inputs: Sequence[ir.Value], shape: Shape, **attributes: Any
    ) -> ir.Value:
        name = f"{self.norm.name}_{part}"
        self.made.append(new_node(op_type, inputs, attributes, name=name, shape=shape))
        return self.made[-1].outputs[0]

    def constant(self, part: str, array: np.ndarray) -> ir.Value:
        name = f"{self.norm.name}_{part}"
        return add_constant(self.graph, name, array.astype(np.float32))

    def mix(
        self, part: str, image: ir.Value, matrix: np.ndarray, shift: np.ndarray | None = None
    ) -> ir.Value:
        """Add a 1x1 convolution of a matrix (outputs, C)."""
        inputs = [image, self.constant(f"{part}.weight", matrix[:, :, None, None])]
        if shift is not None and shift.any():
            inputs.append(self.constant(f"{part}.bias", shift))
        shape = self.first if len(matrix) > 1 else self.one
        return self.add("Conv", part, inputs, shape, kernel_shape=[1, 1])

    def to_last(self, image: ir.Value) -> ir.Value:
        return self.add("Transpose", "to_last", [image], self.last, perm=list(CHANNELS_LAST))

    def to_first(self, value: ir.Value) -> ir.Value:
        return self.add("Transpose", "to_first", [value], self.first, perm=list(CHANNELS_FIRST))

    def replace(self) -> None:
        replace_value(self.graph, self.norm.last, self.made)


def _write_lp(site: Site) -> None:
    norm, nodes = site.norm, _Nodes(site)
    directions = _directions(norm.channels)
    eps = np.zeros(norm.channels)
    eps[-1] = np.sqrt(norm.channels * norm.eps)
    rows = np.vstack([directions, np.zeros(norm.channels)])
    turned = nodes.mix("center", norm.image, rows, eps)
    unit = nodes.add("LpNormalization", "lp", [nodes.to_last(turned)], nodes.last, axis=-1, p=2)
    value = nodes.to_first(unit)
    # what turns it back, and leaves out the channel of eps
    back = np.sqrt(norm.channels) * norm.weight[:, None] * np.pad(directions.T, ((0, 0), (0, 1)))
    readers = site.readers(mixed=True)
    if isinstance(readers, str):
        nodes.mix("affine", value, back, norm.bias)
    else:
        mix_inputs(nodes.graph, readers, back, norm.bias)
    nodes.replace()


def _directions(channels: int) -> np.ndarray:
    """Give C - 1 orthonormal rows of C values, all orthogonal to (1, ..., 1).

    Hadamard's where there are such: all its values are +-1 / sqrt(C), which 8 bits hold exactly.
    """
    if channels & (channels - 1) == 0:
        return hadamard(channels)[1:] / np.sqrt(channels)
    return dct(np.eye(channels), axis=0, norm="ortho")[1:]


def _write_fused(site: Site) -> None:
    norm, nodes, readers = site.norm, _Nodes(site), site.readers(mixed=False)
    weight, bias = norm.weight, norm.bias
    if not isinstance(readers, str):
        scale_inputs(nodes.graph, readers, weight, bias)
        weight, bias = np.ones_like(weight), np.zeros_like(bias)
    affine = [nodes.constant("fused.weight", weight), nodes.constant("fused.bias", bias)]
    inputs = [nodes.to_last(norm.image), *affine]
    fused = nodes.add("LayerNormalization", "fused", inputs, nodes.last, axis=-1, epsilon=norm.eps)
    nodes.to_first(fused)
    nodes.replace()


def _write_folded(site: Site) -> None:
    norm, nodes, readers = site.norm, _Nodes(site), site.readers(mixed=True)
    assert not isinstance(readers, str)
    average = np.full((1, norm.channels), 1 / norm.channels)
    center = np.eye(norm.channels) - average
    if site.greatest_offset <= MAX_OFFSET:
        image = norm.image
        mix_inputs(nodes.graph, readers, norm.weight[:, None] * center, norm.bias)
        squares = nodes.add("Mul", "squares", [image, image], nodes.first)
        mean_square = nodes.mix("mean_square", squares, average)
        mean = nodes.mix("mean", image, average)
        square_mean = nodes.add("Mul", "square_mean", [mean, mean], nodes.one)
        difference = nodes.add("Sub", "difference", [mean_square, square_mean], nodes.one)
        # rounding may take it below 0 on a flat pixel
        variance = nodes.add("Relu", "variance", [difference], nodes.one)
    else:
        image = nodes.mix("center", norm.image, center)
        scale_inputs(nodes.graph, readers, norm.weight, norm.bias)
        squares = nodes.add("Mul", "squares", [image, image], nodes.first)
        variance = nodes.mix("variance", squares, average)
    eps = nodes.constant("eps", np.full((1, 1, 1, 1), norm.eps))
    shifted = nodes.add("Add", "shifted", [variance, eps], nodes.one)
    root = nodes.add("Sqrt", "root", [shifted], nodes.one)
    inverse = nodes.add("Reciprocal", "inverse", [root], nodes.one)
    nodes.add("Mul", "normalized", [image, inverse], nodes.first)
    nodes.replace()


WRITERS: dict[str, Callable[[Site], None]] = {
    "lp": _write_lp,
    "fused": _write_fused,
    "folded": _write_folded,
}
