"""Rows to SVG pictures for a page: deterministic, themed by its CSS variables, no fonts inside.

One file a kind of plot. Each takes the rows and the summary, and gives nothing where the rows have
nothing to draw.
"""

import warnings

import pandas as pd

from reports.frame import Frames
from reports.plots.cases import Plot
from reports.plots.distribution import sample_ecdf
from reports.plots.instructions import instruction_kinds, session_instructions
from reports.plots.launches import launch_strip
from reports.plots.memory import memory_by_phase, memory_timeline
from reports.plots.quality import accuracy_against_latency, file_sizes
from reports.plots.timeline import latency_over_time

__all__ = ["Plot", "draw_all"]


def draw_all(frames: Frames, summary: pd.DataFrame) -> list[Plot]:
    """Draw every plot that the rows have something for, topic by topic."""
    with warnings.catch_warnings():
        # the page's fonts draw the letters; matplotlib's own only guess their widths
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        return _drawn(frames, summary)


def _drawn(frames: Frames, summary: pd.DataFrame) -> list[Plot]:
    plots = (
        instruction_kinds(frames, summary),
        session_instructions(frames, summary),
        launch_strip(frames, summary),
        sample_ecdf(frames, summary),
        *latency_over_time(frames, summary),
        memory_by_phase(frames, summary),
        accuracy_against_latency(frames, summary),
        memory_timeline(frames, summary),
        file_sizes(frames, summary),
    )
    return [plot for plot in plots if plot is not None]
