"""Histograms of a fixed size that one pass can fill: their bins widen by merging in pairs.

A bin is [i * 2**k, (i + 1) * 2**k) for a whole i, so zero is always an edge. k is the smallest
whole number at which the range, with zero in it, takes at most `bins` bins. A wider range raises k,
and then two neighbouring bins are exactly one new one: bin i goes to floor(i / 2). A histogram is
therefore a function of the values and of the range alone. The order in which values came, the
pieces they came in and the processes that counted them leave no trace.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

DEFAULT_BINS = 2048
FEWEST_BINS = 256  # fewer than an 8-bit tensor has levels would tell nothing about them
MOST_BINS = 1 << 16

_LEAST_EXPONENT = -149  # 2**-149 is the smallest float32 above zero: every float32 is on that grid
_GREATEST_SHIFT = 62  # an int64 moved by more is 0 or -1 as well, but C does not say so
_AT_ONCE = 1 << 17  # values turned into bin numbers at a time, so that they stay in the cache


@dataclass(frozen=True, eq=False)
class Histogram:
    """How many values fell into each of a row of equal bins that holds zero.

    Attributes:
        bins: the most that `counts` may have.
        least: of the range, at most 0; exactly a float32.
        greatest: of the range, at least 0; exactly a float32.
        exponent: the bins are 2**exponent wide.
        first: counts[0] is of [first * width, (first + 1) * width).
        counts: (n,) int64, n <= bins; the first bin holds `least`, the last one `greatest`.
    """

    bins: int
    least: float
    greatest: float
    exponent: int
    first: int
    counts: np.ndarray

    @property
    def width(self) -> float:
        """Of a bin."""
        return math.ldexp(1.0, self.exponent)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    @property
    def edges(self) -> np.ndarray:
        """Where bins begin and end: (n + 1,) float64, the outer two drawn in to the range."""
        edges = (self.first + np.arange(len(self.counts) + 1)) * self.width
        return np.clip(edges, self.least, self.greatest)

    def widened(self, least: float, greatest: float) -> "Histogram":
        """Give the same counts over a range that holds its own, zero and these two."""
        least, greatest = min(self.least, float(least)), max(self.greatest, float(greatest))
        wider = _empty(self.bins, least, greatest)
        shift = min(wider.exponent - self.exponent, _GREATEST_SHIFT)
        if shift == 0:
            start = self.first - wider.first
            wider.counts[start : start + len(self.counts)] = self.counts
        else:
            old = self.first + np.arange(len(self.counts))
            np.add.at(wider.counts, (old >> shift) - wider.first, self.counts)
        return wider

    def plus(self, parts: Iterable[np.ndarray], *, least: float, greatest: float) -> "Histogram":
        """Give the counts with those of values, which are float32 and finite.

        Args:
            parts: arrays of any shape.
            least: no value is below it. It may be below all of them, as where they are a sample.
            greatest: no value is above it.
        """
        wider = self.widened(least, greatest)
        for part in parts:
            flat = part.reshape(-1)
            for start in range(0, flat.size, _AT_ONCE):
                numbers = _bin_numbers(flat[start : start + _AT_ONCE], wider.exponent, wider.first)
                wider.counts[:] += np.bincount(numbers, minlength=len(wider.counts))
        return wider

    def merged(self, other: "Histogram") -> "Histogram":
        """Give the counts of both, which must have the same `bins`."""
        if self.bins != other.bins:
            raise ValueError(f"histograms of {self.bins} and of {other.bins} bins")
        wider = self.widened(other.least, other.greatest)
        wider.counts[:] += other.widened(self.least, self.greatest).counts
        return wider


def empty_histogram(bins: int = DEFAULT_BINS) -> Histogram:
    """Give a histogram of no values; its range is zero alone."""
    return _empty(bins, 0.0, 0.0)


def _empty(bins: int, least: float, greatest: float) -> Histogram:
    exponent = _LEAST_EXPONENT
    if span := greatest - least:
        # At this width the range takes twice the bins, so that the smallest one is above
        exponent = max(exponent, math.frexp(span / bins)[1] - 2)
    while True:
        first, last = (math.floor(math.ldexp(end, -exponent)) for end in (least, greatest))
        if last - first < bins:
            break
        exponent += 1
    return Histogram(bins, least, greatest, exponent, first, np.zeros(last - first + 1, np.int64))


def _bin_numbers(values: np.ndarray, exponent: int, first: int) -> np.ndarray:
    """Give the place in `counts` of each value: (n,) float32 to (n,) intp.

    A power of two multiplies exactly; but where it is below one, a float32 may end as zero and a
    tiny negative value in the wrong bin, and above 2**127 there is no float32 for it.
    """
    exact_in_float32 = -127 <= exponent <= 0
    scaled = np.multiply(
        values,
        math.ldexp(1.0, -exponent),
        dtype=np.float32 if exact_in_float32 else np.float64,
    )
    np.floor(scaled, out=scaled)
    scaled -= first
    return scaled.astype(np.intp)
