"""Each launch as a mark: how far launches of one graph lie apart, and whether they drift."""

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports.frame import Frames
from reports.launches import CASE_KEY, launch_table
from reports.plots.cases import Case, Plot, drawn_cases, left_out, thinned
from reports.plots.style import TEXT, label_rows, look, one_figure, row_height_in, to_svg
from reports.rounding import rounded

_EMPTY = 0.4  # of the axis left of all marks: more hides how far launches lie apart
_MOST_MARKS = 1200  # of all cases together


def launch_strip(frames: Frames, summary: pd.DataFrame) -> Plot | None:
    """Draw each launch's median as a mark, a row a case, with the interval under it."""
    if summary["latency_median_ms"].isna().all():
        return None
    launches = launch_table(frames)
    launches = launches[launches["latency_ms"].notna()]
    by_case = dict(iter(launches.sort_values("block").groupby(CASE_KEY)["latency_ms"]))
    cases = drawn_cases(summary)
    most = max(_MOST_MARKS // len(cases), 10)
    with one_figure(row_height_in(len(cases))) as (figure, axes):
        for case in cases:
            own_ms = by_case.get(case.key, pd.Series(dtype=float)).to_numpy(float)
            _draw_row(axes, case, thinned(own_ms[np.isfinite(own_ms)], most))
        label_rows(axes, [case.label for case in cases])
        left_ms = _left_end(by_case)
        axes.set_xlim(left=left_ms)
        axes.set_xlabel("latency (ms)")
        svg = to_svg(figure, f"Latency of each launch. {_said(cases)}")
    note = "A mark is one launch's median, the first on top; the bar is the 95 % interval."
    if left_ms:
        note += " The axis does not begin at zero."
    if (launches.groupby(CASE_KEY).size() > most).any():
        note += f" About {most} launches of each graph are drawn, the fastest and slowest too."
    return Plot("latency", "Launch by launch", note + left_out(summary), svg)


def _left_end(by_case: Mapping[Hashable, "pd.Series[float]"]) -> float:
    """Give where the axis begins: at zero, unless most of it would be empty."""
    least = min(own_ms.min() for own_ms in by_case.values())
    most = max(own_ms.max() for own_ms in by_case.values())
    return max(least - 0.15 * (most - least), 0.0) if least > _EMPTY * most else 0.0


def _draw_row(axes: Axes, case: Case, own_ms: np.ndarray) -> None:
    colour, marker = look(case.place)
    spread = np.linspace(-0.22, 0.22, own_ms.size) if own_ms.size > 1 else np.zeros(own_ms.size)
    ends = case.row[["latency_ci_low_ms", "latency_ci_high_ms"]].astype(float)
    row = [case.place, case.place]
    axes.plot(ends, row, color=colour, lw=9, alpha=0.22, solid_capstyle="butt")
    axes.plot(own_ms, case.place + spread, marker, color=colour, ms=4, mew=0, alpha=0.8)
    middle = case.row["latency_median_ms"]
    axes.plot([middle, middle], [case.place - 0.3, case.place + 0.3], color=TEXT, lw=1.4)
    axes.text(
        1.03,
        case.place,
        _median(case),
        transform=axes.get_yaxis_transform(),
        va="center",
        ha="left",
        weight="bold",
    )


def _median(case: Case) -> str:
    row = case.row
    middle_ms = row["latency_median_ms"]
    return rounded(middle_ms, row["latency_ci_low_ms"], row["latency_ci_high_ms"], " ms")[0]


def _said(cases: list[Case]) -> str:
    return "; ".join(f"{case.label}: {_median(case)}" for case in cases)
