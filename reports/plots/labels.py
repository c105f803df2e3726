"""Names beside what they name, where they do not cover each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.plots.style import FONT_PT, HALO

_WIDE_PT = 0.56 * FONT_PT  # of a letter, on average
_HIGH_PT = 1.3 * FONT_PT
_GAP_PT = 7.0

Box = tuple[float, float, float, float]  # left, bottom, right, top in points


@dataclass(frozen=True)
class Label:
    """A name and the places where it would do.

    Attributes:
        text: the name.
        colour: of the name.
        anchors: (x, y) in the units of the axes, the best first.
        sides: which sides of an anchor to try, the best first: right, left, above or below.
    """

    text: str
    colour: str
    anchors: Sequence[tuple[float, float]]
    sides: Sequence[str] = ("right", "left", "above", "below")


def place_labels(figure: Figure, axes: Axes, labels: Sequence[Label], marks: np.ndarray) -> None:
    """Write each name at the first of its places that is free; call it when the limits are set.

    Args:
        marks: (n, 2) in the units of the axes, points that no name may cover.
    """
    figure.draw_without_rendering()  # settles where the axes are
    to_pt = axes.transData
    scale = 72 / figure.dpi
    inside = axes.get_window_extent()
    frame = (inside.x0 * scale, inside.y0 * scale, inside.x1 * scale, inside.y1 * scale)
    taken: list[Box] = [
        (x * scale - 3, y * scale - 3, x * scale + 3, y * scale + 3)
        for x, y in to_pt.transform(marks.reshape(-1, 2))
    ]
    for label in labels:
        spots = [
            (anchor, side, _box(to_pt.transform(anchor) * scale, side, label.text))
            for anchor in label.anchors
            for side in label.sides
        ]
        anchor, side, box = min(spots, key=lambda spot: _cost(spot[2], taken, frame))
        taken.append(box)
        x_pt, y_pt = to_pt.transform(anchor) * scale
        axes.annotate(
            label.text,
            anchor,
            ((box[0] if side != "left" else box[2]) - x_pt, (box[1] + box[3]) / 2 - y_pt),
            textcoords="offset points",
            ha="right" if side == "left" else "left",
            va="center",
            color=label.colour,
            gid=HALO,
            annotation_clip=False,
        )


def _box(at_pt: np.ndarray, side: str, text: str) -> Box:
    """Give the box of a name beside a point."""
    x, y = float(at_pt[0]), float(at_pt[1])
    wide, high = _WIDE_PT * len(text), _HIGH_PT
    if side in ("right", "left"):
        left = x + _GAP_PT if side == "right" else x - _GAP_PT - wide
        return left, y - high / 2, left + wide, y + high / 2
    bottom = y + _GAP_PT if side == "above" else y - _GAP_PT - high
    return x - wide / 2, bottom, x + wide / 2, bottom + high


def _cost(box: Box, taken: Sequence[Box], frame: Box) -> float:
    """Give the area that a box shares with others or has outside of the frame; 0 is free."""
    whole = (box[2] - box[0]) * (box[3] - box[1])
    return sum(_shared(box, one) for one in taken) + 2 * (whole - _shared(box, frame))


def _shared(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)
