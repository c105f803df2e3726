"""From statistics to ranges: minmax, percentile, mse and entropy, all from one saved set.

A range holds zero, which must be exact in an affine code: padding and ReLU make it. The codes are
256 levels (z is the code of zero, s the step): level m stands for (m - z) * s, so a range is
(-z * s, (255 - z) * s). Histograms are read as if values lay evenly within each bin.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from calib.histogram import Histogram
from calib.statistics import Statistics, TensorStatistics
from deploy.errors import UsageError

METHODS = ("minmax", "mse", "entropy", "percentile-99.99")  # and any other percentile

LEVELS = 256
_MOST_THREADS = 4
_THINNEST = 2.0**-10  # part of a bin
_NEVER_RARER = 1e-4  # values a bin; as MXNet and ONNX Runtime smooth the distributions

Range = tuple[float, float]


def ranges(statistics: Statistics, method: str) -> dict[str, Range]:
    """Give (least, greatest) of each tensor, each exactly a float32; by name, in their order.

    Args:
        method: "minmax", "mse", "entropy", or "percentile-" and a number above 50, up to 100.

    Returns:
        Ranges with zero in them; (0, 0) for a tensor that was zero everywhere.

    Raises:
        UsageError: no such method.
    """
    of_one = range_method(method)
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        found = pool.map(of_one, statistics.tensors.values())
        return dict(zip(statistics.tensors, found, strict=True))


def range_method(name: str) -> Callable[[TensorStatistics], Range]:
    """Give the method of that name as a function of one tensor. Raises UsageError."""
    kind, _, number = name.partition("-")
    if kind == "percentile":
        return partial(percentile_range, percent=_percent(number, name))
    methods = {"minmax": minmax_range, "mse": mse_range, "entropy": entropy_range}
    if name not in methods:
        raise UsageError(f"no range method {name!r}", f"one of {', '.join(METHODS)}")
    return methods[name]


def _percent(number: str, name: str) -> float:
    try:
        percent = float(number)
    except ValueError:
        percent = np.nan
    if not 50 < percent <= 100:
        raise UsageError(f"no range method {name!r}", "percentile- needs a number in (50, 100]")
    return percent


def minmax_range(tensor: TensorStatistics) -> Range:
    """Give the range of all values, and zero."""
    return tensor.histogram.least, tensor.histogram.greatest


def percentile_range(tensor: TensorStatistics, percent: float) -> Range:
    """Give the narrowest range with zero in it that holds so many percent of the values.

    What is cut off thus falls to each tail as it shortens the range: a ReLU's output loses none
    below, a symmetric tensor the same on both sides. Never wider than minmax.
    """
    histogram = tensor.histogram
    if percent == 100 or not histogram.total:
        return minmax_range(tensor)
    edges, mass = histogram.edges, _cumulative(histogram.counts)
    kept = mass[-1] * (percent / 100)
    # The shortest range is one that begins or ends at an edge: between two, its length is linear
    below, above = edges <= 0, edges >= 0
    low = np.concatenate([edges[below], _last_below(mass[above] - kept, mass, edges)])
    high = np.concatenate([_first_above(mass[below] + kept, mass, edges), edges[above]])
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    best = np.nanargmin(high - low)  # NaN where too little is left on that side
    return _exact(low[best], high[best])


def _first_above(wanted: np.ndarray, mass: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Give the least point with so much mass below it; NaN where there is not so much."""
    end = np.searchsorted(mass, wanted, side="left")
    there = (end > 0) & (end < len(mass))
    end = np.where(there, end, 1)
    part = (wanted - mass[end - 1]) / np.maximum(mass[end] - mass[end - 1], 1)
    point = edges[end - 1] + part * (edges[end] - edges[end - 1])
    return np.where(there, point, np.nan)


def _last_below(wanted: np.ndarray, mass: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Give the greatest point with at most so much mass below it; NaN where there is none."""
    return -_first_above(mass[-1] - wanted, mass[-1] - mass[::-1], -edges[::-1])


def mse_range(tensor: TensorStatistics) -> Range:
    """Give the range with the least expected squared error of 256 levels, clipping counted.

    For a step s the error of rounding does not depend on the range: levels stand at the multiples
    of s. With n the multiple that is nearest to u = x / s, the integral of the squared error from
    0 to x is s**3 * (n / 12 + (u - n)**3 / 3), so each bin's share is exact; sums of it over bins,
    and of the squared distances beyond an edge, then give the error of all 256 places of zero at
    once. Steps go from that of minmax down to 1/32 of it, and in finer ones around the best.
    """
    histogram = tensor.histogram
    least, greatest = minmax_range(tensor)
    if not histogram.total or least == greatest:
        return least, greatest
    error = _SquaredError(histogram)
    widest = (greatest - least) / histogram.width / (LEVELS - 1)
    factors = np.geomspace(1, 1 / 32, 32)
    best, _ = error.least_of(widest * factors)
    around = np.geomspace(factors[1], 1 / factors[1], 17)
    step, zero = error.least_of(np.minimum(best * around, widest))
    step *= histogram.width
    return _exact(-zero * step, (LEVELS - 1 - zero) * step)


class _SquaredError:
    """The summed squared error of a histogram's values, as a function of step and zero.

    All lengths are in bins: the cube of a step would vanish for tensors that are small themselves.
    """

    def __init__(self, histogram: Histogram) -> None:
        edges = histogram.edges / histogram.width
        # An outer bin may be a single value, such as 1.0 in an image, but its density is finite
        edges[0] = min(edges[0], edges[1] - _THINNEST)
        edges[-1] = max(edges[-1], edges[-2] + _THINNEST)
        self._first, self._edges, self._widths = histogram.first, edges, np.diff(edges)
        self._density = histogram.counts / self._widths
        self._above = _squares_beyond(edges, histogram.counts)
        self._below = _squares_beyond(-edges[::-1], histogram.counts[::-1])[::-1]

    def least_of(self, steps: np.ndarray) -> tuple[float, int]:
        """Give the step of these, and the code of zero, with the least error."""
        steps = steps[:, None]
        zeros = np.arange(LEVELS)
        low, high = -zeros * steps, (LEVELS - 1 - zeros) * steps
        scaled = self._edges / steps
        nearest = np.rint(scaled)
        rest = scaled - nearest
        integral = (nearest / 12 + rest * rest * rest / 3) * steps**3
        rounding = np.zeros_like(scaled)
        np.cumsum(np.diff(integral, axis=1) * self._density, axis=1, out=rounding[:, 1:])
        inside = self._at(high, rounding) - self._at(low, rounding)
        total = inside + self._at(high, self._above) + self._at(low, self._below)
        row, zero = np.unravel_index(np.argmin(total), total.shape)
        return float(steps[row, 0]), int(zero)

    def _at(self, points: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """Give sums, which are known at the edges, at points between them (steps, levels)."""
        bin_ = (points - self._first).astype(np.intp).clip(0, len(self._widths) - 1)
        part = ((points - self._edges[bin_]) / self._widths[bin_]).clip(0, 1)
        rows = np.broadcast_to(sums, (len(points), len(self._edges)))
        before, after = (np.take_along_axis(rows, bin_ + place, axis=1) for place in (0, 1))
        return before + part * (after - before)


def _squares_beyond(edges: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Give at each edge the sum of (x - edge)**2 over the values above it: (n + 1,)."""
    low, high = edges[:-1], edges[1:]
    moments = [counts, counts * (low + high) / 2, counts * (low**2 + low * high + high**2) / 3]
    above = [np.append(np.cumsum(one[::-1])[::-1], 0.0) for one in moments]
    return np.maximum(above[2] - 2 * edges * above[1] + edges**2 * above[0], 0)


def entropy_range(tensor: TensorStatistics) -> Range:
    """Give the range whose 256 levels keep the most information: the least KL divergence.

    P is the histogram within the range, with what is clipped added to its outermost bins. Q is what
    the codes still know of it: each level's own values, without the clipped ones, spread evenly
    over those of its bins where P is not empty. With M_g and n_g the values and the bins of level
    g, and N the values of all,

        N * KL(P, Q) = sum_b P_b log P_b - N log N - sum_g P_g log(M_g / n_g) + N log(sum_g M_g).

    All terms are differences of running sums over bins, so that a range costs 256 look-ups. A range
    spans at least 256 bins, where each level has one and loses nothing but what it clips. An
    outermost level may hold clipped values and no others: Q is never taken as less than 0.0001
    values a bin, or no range could end in a gap.

    It counts values, and not what they are worth: in a residual stream the rare large ones carry
    the image. On a trained NAFNet it ended 22 dB from float where MSE ends 48; of its residual
    stream alone in float, 49. `quantize --method entropy` says so where that happens.

    Source: S. Migacz, "8-bit Inference with TensorRT", GTC 2017, for symmetric ranges and 128
    levels; here for both ends. Its sums leave clipped values out of Q, and so do these: otherwise
    clipping would be free.
    """
    histogram = tensor.histogram
    least, greatest = minmax_range(tensor)
    if not histogram.total or len(histogram.counts) <= LEVELS:
        return least, greatest
    divergence = _Divergence(histogram)
    zero, last = -histogram.first, len(histogram.counts)  # edges by number; zero's own is one
    points = 24 if 0 < zero < last else 128
    lows, highs = _spaced(0, zero, points), _spaced(zero, last, points)
    for points in (9, 9):
        begin, end = divergence.least_of(lows, highs)
        near_low, near_high = (one[1] - one[0] if len(one) > 1 else 0 for one in (lows, highs))
        lows = _spaced(max(begin - near_low, 0), min(begin + near_low, zero), points)
        highs = _spaced(max(end - near_high, zero), min(end + near_high, last), points)
    begin, end = divergence.least_of(lows, highs)
    return _exact(histogram.edges[begin], histogram.edges[end])


def _spaced(begin: int, end: int, count: int) -> np.ndarray:
    return np.unique(np.rint(np.linspace(begin, end, count)).astype(np.intp))


class _Divergence:
    """The KL divergence of a histogram from what 256 levels keep of it, as a function of range."""

    def __init__(self, histogram: Histogram) -> None:
        counts = histogram.counts
        self._counts = counts
        self._zero = -histogram.first
        self._total = histogram.total
        self._mass = _cumulative(counts)
        self._filled = _cumulative(counts > 0)
        self._own = _cumulative(_times_log(counts))

    def least_of(self, lows: np.ndarray, highs: np.ndarray) -> tuple[int, int]:
        """Give the edges of the best range of all pairs; the whole histogram if none is wide."""
        low, high = (one.reshape(-1) for one in np.meshgrid(lows, highs))
        wide = high - low >= LEVELS
        if not wide.any():
            return 0, len(self._counts)
        low, high = low[wide], high[wide]
        best = np.argmin(self.of(low, high))
        return int(low[best]), int(high[best])

    def of(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Give N * KL(P, Q) of ranges from edge number `low` to `high`, (n,) each."""
        under, over = self._mass[low], self._mass[-1] - self._mass[high]
        bounds = self._level_bounds(low, high)
        mass = np.diff(self._mass[bounds], axis=1)
        bins = np.diff(self._filled[bounds], axis=1)
        clipped = mass.copy()
        rows = np.arange(len(low))
        own = self._own[high] - self._own[low]
        for edge_bin, outside in ((low, under), (high - 1, over)):
            level = (bounds[:, 1:-1] <= edge_bin[:, None]).sum(axis=1)
            counted = self._counts[edge_bin]
            own += _times_log(counted + outside) - _times_log(counted)
            bins[rows, level] += (counted == 0) & (outside > 0)
            clipped[rows, level] += outside
        known = np.log(np.maximum(mass / np.maximum(bins, 1), _NEVER_RARER))
        inside, total = mass.sum(axis=1), self._total
        lost = total * (np.log(np.maximum(inside, 1)) - np.log(total))
        return np.where(inside > 0, own - (clipped * known).sum(axis=1) + lost, np.inf)

    def _level_bounds(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Give the bins where levels begin, each bin being of the level nearest its middle."""
        step = ((high - low) / (LEVELS - 1))[:, None]
        zero = np.rint((self._zero - low)[:, None] / step)
        between = self._zero + (np.arange(LEVELS - 1) + 0.5 - zero) * step
        inner = np.ceil(between - 0.5).astype(np.intp).clip(low[:, None], high[:, None])
        return np.concatenate([low[:, None], inner, high[:, None]], axis=1)


def _cumulative(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(values)])


def _times_log(values: np.ndarray) -> np.ndarray:
    return values * np.log(np.maximum(values, 1))


def _exact(low: float, high: float) -> Range:
    return float(np.float32(low)), float(np.float32(high))
