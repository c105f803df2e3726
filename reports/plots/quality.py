"""What a graph costs in quality and in bytes."""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports.frame import Frames
from reports.plots.cases import Case, Plot, drawn_cases, left_out
from reports.plots.labels import Label, place_labels
from reports.plots.style import (
    ACCENT,
    PAGE,
    label_rows,
    legend_above,
    look,
    one_figure,
    row_height_in,
    to_svg,
)

_MOST_NAMES = 10


def accuracy_against_latency(frames: Frames, summary: pd.DataFrame) -> Plot | None:
    """Draw PSNR over median latency, a mark a case, with the line of those that none beats."""
    cases = [case for case in drawn_cases(summary) if np.isfinite(_point(case)).all()]
    if not cases:
        return None
    front = pareto_front(cases)
    with one_figure(3.0) as (figure, axes):
        corners = np.array([_point(case) for case in front]).reshape(-1, 2)
        if len(front) > 1:
            axes.step(*corners.T, where="post", color=ACCENT, lw=1.2, ls=(0, (4, 3)))
        for case in cases:
            _draw_mark(axes, case, on_front=case in front)
        _set_limits(axes, cases)
        axes.set_xlabel("median latency (ms)")
        axes.set_ylabel("PSNR (dB)")
        axes.grid(True)
        if len(cases) <= _MOST_NAMES:
            labels = [Label(case.label, look(case.place)[0], [_point(case)]) for case in cases]
            marks = np.vstack([_along(corners), *(_interval(case) for case in cases)])
            place_labels(figure, axes, labels, marks)
        else:
            legend_above(figure, axes)
        svg = to_svg(figure, _said(cases, front))
    note = (
        "Up is nearer to the sharp image, left is faster. Filled and joined: no other graph made "
        "for this machine is both faster and nearer. A horizontal line is the 95 % interval."
    )
    return Plot("cost", "Accuracy against latency", note + left_out(summary), svg)


def pareto_front(cases: list[Case]) -> list[Case]:
    """Give the cases that no other is at least as fast as and nearer, the fastest first.

    A case made for other hardware says nothing here, and is left out.
    """
    at_home = [case for case in cases if "foreign_target" not in case.row["flags"]]
    front: list[Case] = []
    for case in sorted(at_home, key=lambda case: (_point(case)[0], -_point(case)[1])):
        if not front or _point(case)[1] > _point(front[-1])[1]:
            front.append(case)
    return front


def _point(case: Case) -> tuple[float, float]:
    return float(case.row["latency_median_ms"]), float(case.row["psnr_db"])


def _interval(case: Case) -> np.ndarray:
    """Give points along the interval of a case, for names to keep off."""
    latency_ms, psnr_db = _point(case)
    ends = case.row[["latency_ci_low_ms", "latency_ci_high_ms"]].to_numpy(float)
    low_ms, high_ms = np.where(np.isfinite(ends), ends, latency_ms)
    along = np.linspace(low_ms, high_ms, 8)
    return np.column_stack([along, np.full(along.size, psnr_db)])


def _draw_mark(axes: Axes, case: Case, on_front: bool) -> None:
    colour, marker = look(case.place)
    latency_ms, psnr_db = _point(case)
    ends = case.row[["latency_ci_low_ms", "latency_ci_high_ms"]].astype(float)
    axes.plot(ends, [psnr_db, psnr_db], color=colour, lw=1.4)
    inside = colour if on_front else PAGE
    axes.plot(
        latency_ms, psnr_db, marker, color=colour, mfc=inside, mew=1.5, ms=7, label=case.label
    )


def _along(corners: np.ndarray) -> np.ndarray:
    """Give points on the steps between the corners, for names to keep off.

    Args:
        corners: (n, 2) latency and PSNR, the fastest first.
    """
    parts = np.linspace(0, 1, 12)[:, None]
    points = [corners]
    for one, other in pairwise(corners):
        turn = np.array([other[0], one[1]])
        points += [one + (turn - one) * parts, turn + (other - turn) * parts]
    return np.vstack(points)


def _set_limits(axes: Axes, cases: list[Case]) -> None:
    axes.margins(0.15, 0.25)
    axes.set_xlim(left=0)
    psnr_db = np.array([_point(case)[1] for case in cases])
    if np.ptp(psnr_db) < 0.2:  # a hair's breadth must not look like a gulf
        middle = (psnr_db.min() + psnr_db.max()) / 2
        axes.set_ylim(middle - 0.2, middle + 0.2)
    axes.ticklabel_format(axis="y", useOffset=False)


def _said(cases: list[Case], front: list[Case]) -> str:
    points = "; ".join(
        f"{case.label}: {_point(case)[1]:.2f} dB in {_point(case)[0]:.3g} ms" for case in cases
    )
    best = ", ".join(case.label for case in front) or "none"
    return f"PSNR against median latency. {points}. On the Pareto front: {best}"


def file_sizes(frames: Frames, summary: pd.DataFrame) -> Plot | None:
    """Draw each file's size as a bar."""
    cases = [case for case in drawn_cases(summary) if case.row["model_mib"] > 0]
    if not cases:
        return None
    sizes_mib = [float(case.row["model_mib"]) for case in cases]
    with one_figure(row_height_in(len(cases))) as (figure, axes):
        colours = [look(case.place)[0] for case in cases]
        bars = axes.barh(range(len(cases)), sizes_mib, color=colours, height=0.55)
        axes.bar_label(bars, fmt="%.2f", padding=4)
        label_rows(axes, [case.label for case in cases])
        axes.set_xlim(0, 1.15 * max(sizes_mib))
        axes.set_xlabel("file (MiB)")
        said = "; ".join(
            f"{case.label}: {size:.2f} MiB" for case, size in zip(cases, sizes_mib, strict=True)
        )
        svg = to_svg(figure, f"File sizes. {said}")
    return Plot("cost", "File size", "What has to be shipped." + left_out(summary), svg)
