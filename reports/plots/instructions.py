"""What was executed: instructions of each graph by their kind, as bars."""

import numpy as np
import pandas as pd

from reports.frame import Frames
from reports.instructions import KINDS, millions
from reports.plots.cases import Case, Plot, drawn_cases, left_out
from reports.plots.style import (
    SMALL_PT,
    label_rows,
    legend_above,
    look,
    one_figure,
    row_height_in,
    to_svg,
)

# what is drawn, each the sum of kinds; bytes are no instructions, and have the table
_BARS = {
    KINDS["instructions"]: ("instructions",),
    KINDS["simd"]: ("simd",),
    KINDS["loads"]: ("loads",),
    KINDS["stores"]: ("stores",),
    "vector multiply-add": ("fmla",),
    "dot-product and matrix": ("dot", "mmla"),
}
_BAR_IN = 0.13
_GAP = 0.25  # between graphs, as a share of a graph's height


def instruction_kinds(frames: Frames, summary: pd.DataFrame) -> Plot | None:
    """Draw the instructions of a steady inference, a group of bars a graph, a bar a kind."""
    cases = [case for case in drawn_cases(summary) if case.row["instructions"] > 0]
    if not cases:
        return None
    counts = {name: _of(cases, columns) for name, columns in _BARS.items()}
    shown = {name: values for name, values in counts.items() if values.any()}
    group_in = _BAR_IN * len(shown) / (1 - _GAP)
    with one_figure(0.6 + group_in * len(cases)) as (figure, axes):
        height = (1 - _GAP) / len(shown)
        for place, (name, values) in enumerate(shown.items()):
            rows = np.arange(len(cases)) + (place - (len(shown) - 1) / 2) * height
            bars = axes.barh(rows, values / 1e6, height=height, color=look(place)[0], label=name)
            if place == 0:
                labels = [millions(value) for value in values]
                axes.bar_label(bars, labels, padding=4, fontsize=SMALL_PT)
        label_rows(axes, [case.label for case in cases])
        axes.set_xlim(0, 1.15 * max(counts[KINDS["instructions"]]) / 1e6)
        axes.set_xlabel("instructions of one inference (M)")
        legend_above(figure, axes)
        svg = to_svg(figure, _said(cases, shown))
    note = "Counted, so exact. Vector loads and stores are among SIMD too." + left_out(summary)
    return Plot("instructions", "Instructions by kind", note, svg)


def session_instructions(frames: Frames, summary: pd.DataFrame) -> Plot | None:
    """Draw the instructions that making each session takes, a bar a graph."""
    cases = [case for case in drawn_cases(summary) if case.row["session_instructions"] > 0]
    if not cases:
        return None
    counts = _of(cases, ("session_instructions",))
    with one_figure(row_height_in(len(cases))) as (figure, axes):
        colours = [look(case.place)[0] for case in cases]
        bars = axes.barh(range(len(cases)), counts / 1e6, color=colours, height=0.55)
        axes.bar_label(bars, [millions(count) for count in counts], padding=4)
        label_rows(axes, [case.label for case in cases])
        axes.set_xlim(0, 1.18 * max(counts) / 1e6)
        axes.set_xlabel("instructions of making the session (M)")
        told = (f"{one.label} {millions(n)} M" for one, n in zip(cases, counts, strict=True))
        svg = to_svg(figure, f"Instructions of making the session. {'; '.join(told)}")
    note = "Once, when an app loads the graph." + left_out(summary)
    return Plot("instructions", "Session creation", note, svg)


def _of(cases: list[Case], columns: tuple[str, ...]) -> np.ndarray:
    return np.array([sum(float(case.row[name]) for name in columns) for case in cases])


def _said(cases: list[Case], shown: dict[str, np.ndarray]) -> str:
    told = "; ".join(
        f"{case.label}: "
        + ", ".join(f"{name} {millions(values[place])} M" for name, values in shown.items())
        for place, case in enumerate(cases)
    )
    return f"Instructions of one steady inference by kind. {told}"
