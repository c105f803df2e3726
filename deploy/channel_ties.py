"""Labels of the channels of tensors, and what ties them: equal scales, and products of scales.

Every value of a tensor has a label; values of one label are divided by one number. Labels are kept
in shapes that broadcast to their tensor's, so that layouts and shuffles need no names for axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

ONE = 0  # the label of what cannot be divided: s = 1


@dataclass(frozen=True)
class Linear:
    """A Conv or ConvTranspose that takes any scale in and gives any scale out.

    Attributes:
        inputs: label of each input channel, (C,).
        outputs: label of each output channel, (C',).
    """

    node: ir.Node
    inputs: np.ndarray
    outputs: np.ndarray


@dataclass(frozen=True)
class Divided:
    """A constant that has to be divided along: an added one, or a LayerNormalization's affine.

    Attributes:
        index: of the node's input.
        labels: broadcasting to the constant's shape, or it to theirs.
    """

    node: ir.Node
    index: int
    labels: np.ndarray


class Ties:
    """What is known of a graph's labels so far.

    Attributes:
        equal: pairs of labels, each (n, 2).
        products: each (n, 3) labels with s_0 = s_1 * s_2.
        count: of the labels.
    """

    def __init__(self) -> None:
        self.labels: dict[ir.Value, np.ndarray] = {}
        self.linears: list[Linear] = []
        self.divided: list[Divided] = []
        self.equal: list[np.ndarray] = []
        self.products: list[np.ndarray] = []
        self.count = 1

    def fresh(self, shape: Sequence[int]) -> np.ndarray:
        """Give labels that nothing has yet."""
        first, self.count = self.count, self.count + int(np.prod(shape))
        return np.arange(first, self.count).reshape(shape)

    def tie(self, first: np.ndarray, second: np.ndarray) -> None:
        """Let labels have equal numbers, place by place."""
        one, other = (array.reshape(-1) for array in np.broadcast_arrays(first, second))
        codes = np.unique(one * self.count + other)  # far faster than unique rows
        self.equal.append(np.stack(np.divmod(codes, self.count), axis=1))

    def pin(self, value: ir.Value | None) -> None:
        """Let a tensor keep its scale."""
        if value is not None and value in self.labels:
            self.tie(self.labels[value], np.array(ONE))

    def along(self, value: ir.Value, axis: int) -> np.ndarray:
        """Tie all values of a channel to each other and give one label each, (C,)."""
        shape = static_shape(value)
        assert shape is not None
        rows = np.moveaxis(self.labels[value], axis, 0)
        rows = rows.reshape(len(rows), -1)
        self.tie(rows, rows[:, :1])
        return np.broadcast_to(rows[:, 0], (shape[axis],))

    def give(self, value: ir.Value, labels: np.ndarray) -> None:
        """Note a tensor's labels."""
        self.labels[value] = _compact(labels)


def static_shape(value: ir.Value) -> tuple[int, ...] | None:
    """Give a tensor's shape; None where it is not known, or open."""
    if value.shape is None or not all(isinstance(side, int) for side in value.shape):
        return None
    return tuple(int(side) for side in value.shape)  # type: ignore[arg-type]


def is_constant(value: ir.Value | None) -> bool:
    """Say whether a value is an initializer or a Constant."""
    return value is not None and ir.convenience.get_const_tensor(value) is not None


def _compact(labels: np.ndarray) -> np.ndarray:
    """Give labels with every axis along which they do not change cut to 1."""
    for axis in range(labels.ndim):
        first = labels.take([0], axis)
        if labels.shape[axis] > 1 and (labels == first).all():
            labels = first
    return labels
