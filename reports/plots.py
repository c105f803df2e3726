"""Rows to SVG pictures for a page: deterministic, readable on light and dark, no fonts inside.

Text and axes take the page's own text colour (`currentColor`); series colours are chosen to stand
out on white and on near-black, and each series has its own marker besides.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.compare import CASE_KEY, case_labels, launch_table
from reports.frame import Frames

# After Okabe and Ito, "Color Universal Design" (2008), without yellow and sky blue and with a
# darker orange: each has a contrast of 3 or more to white and to near-black (WCAG 2.1, 1.4.11).
PALETTE = ("#7f7f7f", "#0072b2", "#d55e00", "#009e73", "#b5648f", "#a67700")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
PHASES = ("baseline", "loaded", "first", "steady", "peak")

_TEXT = "#010203"  # stands for the page's text colour until the SVG is written
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "svg.hashsalt": "mofa-deploy",  # ids then depend on the drawing alone
    "text.parse_math": False,  # a $ in a name is a dollar
    "font.size": 10.5,
    "text.color": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.edgecolor": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "grid.color": _TEXT,
    "grid.alpha": 0.15,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_WIDTH_IN = 5.2


@dataclass(frozen=True)
class Plot:
    """One picture with what to say beside it.

    Attributes:
        title: what it shows.
        note: how to read it.
        svg: an `<svg>` element, safe to put into a page as it is.
    """

    title: str
    note: str
    svg: str


def draw_all(frames: Frames, summary: pd.DataFrame) -> list[Plot]:
    """Draw every plot that the rows have something for."""
    plots = (
        ("Latency, launch by launch", launch_strip,
         "A mark is one launch's median, the first on top; the bar is the 95 % interval."),
        ("Latency of single inferences", sample_ecdf,
         "The share of steady inferences that took at most this long. Steeper is steadier."),
        ("Memory by phase", memory_by_phase,
         "Resident memory at the end of each phase, and the peak; median over launches."),
        ("Accuracy against latency", accuracy_against_latency,
         "Up is nearer to the sharp image, left is faster."),
        ("File size", file_sizes, "What has to be shipped."),
    )  # fmt: skip
    drawn = [(title, note, draw(frames, summary)) for title, draw, note in plots]
    return [Plot(title, note, svg) for title, note, svg in drawn if svg is not None]


def launch_strip(frames: Frames, summary: pd.DataFrame) -> str | None:
    """Draw each launch's median as a mark, a row a case, with the interval under it."""
    launches = launch_table(frames)
    measured = summary.dropna(subset=["latency_median_ms"])
    if measured.empty:
        return None
    with _figure(_row_height(len(summary))) as (figure, axes):
        for place, _, case in _cases(summary):
            own = launches.loc[_of_case(launches, case), ["block", "latency_ms"]]
            colour, marker = _look(place)
            spread = np.linspace(-0.22, 0.22, len(own)) if len(own) > 1 else np.zeros(len(own))
            axes.plot(own["latency_ms"], place + spread, marker, color=colour, ms=4, alpha=0.75)
            ends = case[["latency_ci_low_ms", "latency_ci_high_ms"]].astype(float)
            axes.plot(ends, [place, place], color=colour, lw=7, alpha=0.3, solid_capstyle="butt")
            middle = case["latency_median_ms"]
            axes.plot([middle, middle], [place - 0.32, place + 0.32], color=_TEXT, lw=1.2)
        _label_rows(axes, case_labels(summary))
        axes.set_xlim(left=0)
        axes.set_xlabel("latency (ms)")
        return _svg(figure, "Latency of each launch, by graph")


def sample_ecdf(frames: Frames, summary: pd.DataFrame) -> str | None:
    """Draw the cumulative share of steady samples over latency, a step line a case."""
    ok = frames.runs.loc[frames.runs["status"] == "ok", ["run_id", *CASE_KEY]]
    steady = frames.samples.loc[frames.samples["phase"] == "steady"].merge(ok, on="run_id")
    if steady.empty:
        return None
    shares = np.linspace(0, 1, 401)  # bounds the drawing, however many samples there are
    with _figure(3.0) as (figure, axes):
        for place, label, case in _cases(summary):
            own_ms = steady.loc[_of_case(steady, case), "latency_ns"].to_numpy(float) / 1e6
            if own_ms.size:
                at_ms = np.quantile(own_ms, shares, method="inverted_cdf")
                axes.step(at_ms, shares, color=_look(place)[0], lw=1.6, label=label)
        widest_ms = steady["latency_ns"].to_numpy(float).max() / 1e6
        axes.set_xlim(0, 1.02 * widest_ms)
        axes.set_xlabel("latency (ms)")
        axes.set_ylabel("share of inferences")
        axes.grid(True)
        _legend_above(figure, axes)
        return _svg(figure, "Cumulative distribution of steady latencies, by graph")


def memory_by_phase(frames: Frames, summary: pd.DataFrame) -> str | None:
    """Draw the resident memory after each phase and the peak, a line a case."""
    by_phase = _phase_medians_mib(frames)
    if by_phase.empty:
        return None
    with _figure(3.0) as (figure, axes):
        for place, label, case in _cases(summary):
            key = (case["session_id"], case["case_id"])
            if key in by_phase.index:
                colour, marker = _look(place)
                own_mib = by_phase.loc[key].to_numpy(float)
                axes.plot(PHASES, own_mib, f"{marker}-", color=colour, lw=1.4, ms=5, label=label)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("resident memory (MiB)")
        axes.grid(True, axis="y")
        _legend_above(figure, axes)
        return _svg(figure, "Resident memory by phase and graph")


def _phase_medians_mib(frames: Frames) -> pd.DataFrame:
    """Give the median over launches in MiB: a row a case, a column a phase of `PHASES`."""
    launches = launch_table(frames)
    keys = launches[["run_id", *CASE_KEY]]
    phases = frames.memory_samples.merge(keys, on="run_id")
    if phases.empty and launches["peak_rss_mib"].isna().all():
        return pd.DataFrame()
    by_phase = phases.groupby([*CASE_KEY, "phase"])["rss_bytes"].median().unstack() / 2**20
    peak = launches.groupby(CASE_KEY)["peak_rss_mib"].median()
    together = by_phase.astype("float64").reindex(peak.index).assign(peak=peak)
    return together.reindex(columns=list(PHASES))


def accuracy_against_latency(frames: Frames, summary: pd.DataFrame) -> str | None:
    """Draw PSNR over median latency, a mark a case."""
    numbers = summary[["latency_median_ms", "psnr_db"]].to_numpy(float)
    both = np.isfinite(numbers).all(axis=1)
    if not both.any():
        return None
    with _figure(3.0) as (figure, axes):
        for place, label, case in _cases(summary):
            if both[place]:
                colour, marker = _look(place)
                point = (case["latency_median_ms"], case["psnr_db"])
                axes.plot(*point, marker, color=colour, ms=8, label=label)
        axes.margins(0.12, 0.2)
        axes.set_xlim(left=0)
        psnr_db = numbers[both, 1]
        if np.ptp(psnr_db) < 0.1:  # a hair's breadth must not look like a gulf
            axes.set_ylim(psnr_db.mean() - 0.1, psnr_db.mean() + 0.1)
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.set_xlabel("median latency (ms)")
        axes.set_ylabel("PSNR (dB)")
        axes.grid(True)
        _legend_above(figure, axes)
        return _svg(figure, "PSNR against median latency, by graph")


def file_sizes(frames: Frames, summary: pd.DataFrame) -> str | None:
    """Draw each file's size as a bar."""
    with _figure(_row_height(len(summary))) as (figure, axes):
        places = range(len(summary))
        colours = [_look(place)[0] for place in places]
        bars = axes.barh(places, summary["model_mib"], color=colours, height=0.6)
        axes.bar_label(bars, fmt="%.2f", padding=4)
        _label_rows(axes, case_labels(summary))
        axes.set_xlim(0, 1.12 * summary["model_mib"].max())
        axes.set_xlabel("file (MiB)")
        return _svg(figure, "File size by graph")


def _cases(summary: pd.DataFrame) -> Iterator[tuple[int, str, pd.Series]]:
    """Give each case's place, label and row."""
    for place, (label, (_, case)) in enumerate(
        zip(case_labels(summary), summary.iterrows(), strict=True)
    ):
        yield place, label, case


def _look(place: int) -> tuple[str, str]:
    return PALETTE[place % len(PALETTE)], MARKERS[place % len(MARKERS)]


def _of_case(rows: pd.DataFrame, case: pd.Series) -> "pd.Series[bool]":
    return (rows["session_id"] == case["session_id"]) & (rows["case_id"] == case["case_id"])


def _row_height(rows: int) -> float:
    return 0.7 + 0.38 * rows


def _label_rows(axes: Axes, labels: list[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)  # first on top
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")


def _legend_above(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if len(labels) == 4 else 3  # no entry alone in a row below a full one
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, handlelength=1.4)


@contextmanager
def _figure(height_in: float) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
        yield figure, figure.add_subplot()


def _svg(figure: Figure, description: str) -> str:
    """Give the figure as an `<svg>` element that a page can hold many of."""
    written = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    svg = written.getvalue()
    svg = svg[svg.index("<svg ") :].rstrip()  # a page has its own doctype
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # the same names in every figure, used by none
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # would style the whole page
    joins = "stroke-linejoin: round; stroke-linecap: butt"
    opening = f'<svg role="img" aria-label="{description}" style="{joins}" '
    return svg.replace(_TEXT, "currentColor").replace("<svg ", opening, 1)
