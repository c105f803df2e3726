"""What statistics say about ranges and about crops: tables; nothing is run for them."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from calib.crops import Crop
from calib.histogram import Histogram
from calib.statistics import Statistics

SATURATION_COLUMNS = ("tensor", "least", "greatest", "low", "high", "below", "above", "clipped")
_OF_OTHERS = ("least_of_others", "greatest_of_others")
OUTLIER_COLUMNS = (
    *("tensor", "crop", "image", "top", "left", "least", "greatest"),
    *(*_OF_OTHERS, "widening"),
)


def saturation(statistics: Statistics, ranges: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    """Give the share of values that ranges clip, one row a tensor, the most clipped first.

    Returns:
        SATURATION_COLUMNS: the limits of all values, the range, and the shares (0 to 1) of the
        counted values below it, above it, and both. Tensors without a range have no row.
    """
    rows = []
    for name, one in statistics.tensors.items():
        if name in ranges:
            low, high = ranges[name]
            below, above = share_below(one.histogram, low), share_above(one.histogram, high)
            rows.append((name, one.least, one.greatest, low, high, below, above, below + above))
    table = pd.DataFrame(rows, columns=list(SATURATION_COLUMNS))
    return table.sort_values("clipped", ascending=False, kind="stable", ignore_index=True)


def share_below(histogram: Histogram, limit: float) -> float:
    """Give the share of the counted values below a limit, taken as even within a bin."""
    if not histogram.total or limit <= histogram.least:
        return 0.0
    mass = np.concatenate([[0], np.cumsum(histogram.counts)])
    return float(np.interp(limit, histogram.edges, mass) / histogram.total)


def share_above(histogram: Histogram, limit: float) -> float:
    """Give the share of the counted values above a limit, taken as even within a bin."""
    if not histogram.total or limit >= histogram.greatest:
        return 0.0
    return 1.0 - share_below(histogram, limit)


def outlier_crops(
    statistics: Statistics, crops: Sequence[Crop], *, widening: float = 1.5
) -> pd.DataFrame:
    """Give the tensors whose range one image alone sets, the most widened first.

    A range is held against the one that all other images give: crops of one image overlap, or show
    the same thing.

    Args:
        crops: of the statistics, such as `CropSet.crops`.
        widening: tensors have a row if their range is at least so many times the others' one.

    Returns:
        OUTLIER_COLUMNS: the image's crop that reaches farthest, with its place in px; the range of
        all crops and of all other images, zero in both; and how many times wider the first is.

    Raises:
        ValueError: there are not as many crops as the statistics saw.
    """
    if len(crops) != statistics.count:
        raise ValueError(f"{len(crops)} crops for statistics of {statistics.count}")
    images, of_image = np.unique([crop.image for crop in crops], return_inverse=True)
    if len(images) < 2:
        return pd.DataFrame(columns=list(OUTLIER_COLUMNS))
    reach = -np.minimum(statistics.crop_least, 0), np.maximum(statistics.crop_greatest, 0)
    others = [_most_of_others(side, of_image, len(images)) for side in reach]
    names = list(statistics.tensors)
    width = reach[0].max(axis=0) + reach[1].max(axis=0)
    without = others[0] + others[1]
    ratio = np.ones_like(without)
    with np.errstate(divide="ignore"):  # infinite where nothing is left
        np.divide(width, without, out=ratio, where=width > without)
    rows = []
    for place in np.flatnonzero((ratio >= widening).any(axis=0)):
        image = int(ratio[:, place].argmax())
        left, here = ([side[..., place] for side in sides] for sides in (others, reach))
        index = _farthest(here, [side[image] for side in left], of_image == image)
        crop = crops[index]
        limits = 0 - here[0].max(), here[1].max(), 0 - left[0][image], left[1][image]
        where = names[place], index, crop.image, crop.top, crop.left
        rows.append((*where, *limits, ratio[image, place]))
    table = pd.DataFrame(rows, columns=list(OUTLIER_COLUMNS))
    return table.sort_values("widening", ascending=False, kind="stable", ignore_index=True)


def _farthest(reach: list[np.ndarray], least: list[np.ndarray], allowed: np.ndarray) -> int:
    """Give which of the allowed crops reaches farthest beyond, on either side."""
    beyond = np.maximum(reach[0] - least[0], reach[1] - least[1])
    return int(np.where(allowed, beyond, -np.inf).argmax())


def _most_of_others(reach: np.ndarray, of_image: np.ndarray, images: int) -> np.ndarray:
    """Give how far all images but one reach: (crops, tensors) to (images, tensors)."""
    by_image = np.zeros((images, reach.shape[1]), reach.dtype)
    np.maximum.at(by_image, of_image, reach)
    second, first = np.partition(by_image, images - 2, axis=0)[-2:]
    return np.where(np.arange(images)[:, None] == by_image.argmax(axis=0), second, first)
