"""Which channels of a graph's tensors can be divided by a number, without changing its output.

Every channel of every tensor gets a number s > 0 that it is divided by. A convolution with
constant weights takes any numbers in and gives any out,

    W'[o, i] = W[o, i] * s_in[i] / s_out[o],        b'[o] = b[o] / s_out[o],

zero padding included, and every other operator ties the numbers of what it reads to those of what
it makes:

    Relu, LeakyRelu, pools, Resize      f(x / s) = f(x) / s         s_out = s_in
    Add, Sub, Max, Min, Concat          x / s + y / s               s_out = s_x = s_y
    Mul                                 (x / s) (y / t)             s_out = s_x * s_y
    Split, Slice, Reshape, shuffles     the same values elsewhere   s_out = s_in, value by value
    LayerNormalization                  scale and bias over s_out   s_in = 1
    all others, graph inputs, outputs                               s = 1

so that a whole graph is a set of linear equations in log s. `read_scales` collects them and gives
their general solution. Tensors of any rank and layout are followed value by value, so that a pixel
shuffle written as Reshape and Transpose is one like any other.

Source: cross-layer equalization is Nagel et al., Data-Free Quantization (ICCV 2019), section 4.1,
for two convolutions with a Relu between. Sums, products and shuffles are this module's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from scipy import sparse

from deploy.channel_rules import follow
from deploy.channel_ties import ONE, Divided, Linear, static_shape


@dataclass(frozen=True)
class Scales:
    """The general solution for one graph: log s = basis @ z, for any z.

    Attributes:
        labels: tensor -> label of each of its values, in a shape that broadcasts to the tensor's.
        basis: (labels, free numbers); its row of label ONE is empty.
    """

    labels: dict[ir.Value, np.ndarray]
    linears: list[Linear]
    divided: list[Divided]
    basis: sparse.csr_matrix

    def of_channels(self, value: ir.Value) -> np.ndarray | None:
        """Give the label of each channel, (C,); None where the tensor is not (N, C, H, W)-like."""
        labels, shape = self.labels.get(value), static_shape(value)
        if labels is None or shape is None or labels.ndim != 4 or labels.size != labels.shape[1]:
            return None
        return np.broadcast_to(labels.reshape(-1), (shape[1],))


def read_scales(model: ir.Model) -> Scales:
    """Give the scales that a graph with static shapes leaves free. The graph is not changed."""
    ties = follow(model)
    products = np.concatenate([np.empty((0, 3), int), *ties.products])
    basis = _solution(_groups(ties.count, ties.equal), products)
    return Scales(ties.labels, ties.linears, ties.divided, basis)


def _groups(count: int, equal: Sequence[np.ndarray]) -> np.ndarray:
    """Give the group of each label, groups being what equations s_a = s_b join."""
    pairs = np.concatenate([np.empty((0, 2), int), *equal])
    links = sparse.coo_matrix((np.ones(len(pairs)), pairs.T), (count, count))
    return sparse.csgraph.connected_components(links, directed=False)[1]


def _solution(groups: np.ndarray, products: np.ndarray) -> sparse.csr_matrix:
    """Solve log s_0 = log s_1 + log s_2 for each product, and s = 1 for label ONE's group.

    Exact elimination: each equation gives one unknown by the others, until none is left.
    """
    known: dict[int, dict[int, int]] = {int(groups[ONE]): {}}  # group -> sum of others

    def reduced(terms: dict[int, int]) -> dict[int, int]:
        total: dict[int, int] = {}
        stack = list(terms.items())
        while stack:
            group, factor = stack.pop()
            if group in known:
                stack.extend((other, factor * times) for other, times in known[group].items())
            else:
                total[group] = total.get(group, 0) + factor
        return {group: factor for group, factor in total.items() if factor}

    for made, first, second in groups[products].tolist():
        terms: dict[int, int] = {}
        for group, factor in ((made, 1), (first, -1), (second, -1)):
            terms[group] = terms.get(group, 0) + factor
        terms = reduced(terms)
        # an unknown whose factor is not 1 (a square) stays, if there is another
        chosen = next((one for one, factor in terms.items() if abs(factor) == 1), None)
        if chosen is None:
            known.update({one: {} for one in terms})  # 2 log s = 0, or nothing
            continue
        sign = -terms.pop(chosen)
        known[chosen] = {group: sign * factor for group, factor in terms.items()}
    free = sorted(set(groups.tolist()) - set(known))
    column = {group: index for index, group in enumerate(free)}
    rows = [reduced({group: 1}) for group in range(int(groups.max()) + 1)]
    entries = [(row, column[one], f) for row, terms in enumerate(rows) for one, f in terms.items()]
    of_group = sparse.csr_matrix(
        (
            [float(f) for _, _, f in entries],
            ([r for r, _, _ in entries], [c for _, c, _ in entries]),
        ),
        (len(rows), len(free)),
    )
    return of_group[groups]
