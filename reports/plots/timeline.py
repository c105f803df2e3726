"""Latency while the clock runs, with what the device's sensors said under it.

Each launch stands where the host started it. Inside a launch the device's own clock counts, so
samples and sensor readings line up also where the device was started again in between.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports.frame import Frames
from reports.launches import CASE_KEY
from reports.plots.cases import Case, Plot, left_out, of_mode, timed_cases
from reports.plots.style import (
    QUIET,
    SMALL_PT,
    TEXT,
    WARM,
    legend_above,
    look,
    stacked_figure,
    to_svg,
)

_MOST_SESSIONS = 3
_MOST_POINTS = 2400  # of all cases together; more are drawn as medians of time bins
_MOST_BINS = 160
_MOST_SOURCES = 3
_SOURCE_LINES = ((TEXT, "-"), (QUIET, (0, (5, 2))), (QUIET, (0, (1, 1.5))))
# metric, what its axis says, and from its unit to that of the axis
_PANELS = (("temp_c", "°C", 1.0), ("freq_khz", "GHz", 1e-6), ("loadavg1", "load", 1.0))
_THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


@dataclass(frozen=True)
class _Session:
    """What happened in one session, with `at_s` since its start in each table."""

    samples: pd.DataFrame
    telemetry: pd.DataFrame


def latency_over_time(frames: Frames, summary: pd.DataFrame) -> list[Plot]:
    """Draw latency over time with temperature and frequency under it, a plot a session."""
    plots = []
    sessions = list(summary["session_id"].unique())
    for name in sessions[:_MOST_SESSIONS]:
        session = _on_one_clock(frames, name)
        if not session.samples.empty:
            cases = [case for case in timed_cases(summary) if case.key[0] == name]
            title = "Over time" if len(sessions) == 1 else f"Over time, {name}"
            note = _note(session) + left_out(summary)
            if len(sessions) > _MOST_SESSIONS:
                note += f" The first {_MOST_SESSIONS} of {len(sessions)} sessions."
            plots.append(Plot("latency", title, note, _draw(session, cases)))
    return plots


def _on_one_clock(frames: Frames, name: str) -> _Session:
    """Give the steady samples and the readings of one session on one clock."""
    runs = of_mode(frames, "latency", "sustained")
    runs = runs[runs["session_id"] == name].set_index("run_id")
    started = pd.to_datetime(runs["started_at_utc"], utc=True, format="ISO8601", errors="coerce")
    offset_s = (started - started.min()).dt.total_seconds()
    samples = frames.samples[frames.samples["run_id"].isin(runs.index)]
    telemetry = frames.telemetry[frames.telemetry["run_id"].isin(runs.index)]
    first_ns = samples.groupby("run_id")["t_start_ns"].min()
    steady = samples[samples["phase"] == "steady"]
    zero_s = offset_s - first_ns.reindex(offset_s.index).astype("float64") / 1e9
    steady, telemetry = (
        rows.assign(
            at_s=rows["run_id"].map(zero_s).astype("float64") + rows[column].astype("float64") / 1e9
        )
        .dropna(subset=["at_s"])
        .sort_values("at_s", kind="stable")
        for rows, column in ((steady, "t_start_ns"), (telemetry, "t_ns"))
    )
    return _Session(steady.merge(runs[CASE_KEY], left_on="run_id", right_index=True), telemetry)


def _note(session: _Session) -> str:
    telemetry = session.telemetry
    note = "Every steady inference, in the order in which they ran."
    if len(session.samples) > _MOST_POINTS:
        note = "The median of steady inferences over time; the band holds 80 % of them."
    metrics = set(telemetry["metric"])
    missing = [
        name
        for metric, name in (("temp_c", "temperature"), ("freq_khz", "frequency"))
        if metric not in metrics
    ]
    if missing:
        note += f" No {' and no '.join(missing)} was recorded in this session."
    if "freq_cap_khz" in metrics:
        note += " A thin line is the highest frequency that the system allowed."
    statuses = telemetry.loc[telemetry["metric"] == "thermal_status", "value"]
    if not statuses.empty:
        worst = _THERMAL[min(int(statuses.max()), len(_THERMAL) - 1)]
        note += f" Highest thermal status that the system told: {worst}."
    return note


def _draw(session: _Session, cases: list[Case]) -> str:
    telemetry = session.telemetry
    panels = [
        (metric, label, factor)
        for metric, label, factor in _PANELS
        if (telemetry["metric"] == metric).any()
    ]
    unit, factor = _time_unit(session)
    heights = [2.5 if panels else 3.0, *([1.15] * len(panels))]
    with stacked_figure(heights, share_x=True) as (figure, all_axes):
        said = _draw_latency(all_axes[0], session.samples, cases, factor)
        for (metric, label, scale), axes in zip(panels, all_axes[1:], strict=True):
            said += _draw_sensor(axes, telemetry, metric, scale, factor)
            axes.set_ylabel(label)
            axes.grid(True, axis="y")
        _shade_heat(all_axes, telemetry, factor)
        all_axes[-1].set_xlabel(f"time since the first launch ({unit})")
        legend_above(figure, all_axes[0], markerscale=2.5)
        return to_svg(figure, f"Latency over time. {'; '.join(said)}")


def _time_unit(session: _Session) -> tuple[str, float]:
    long_s = session.samples["at_s"].max()
    if long_s < 180:
        return "s", 1.0
    return ("min", 1 / 60) if long_s < 3 * 3600 else ("h", 1 / 3600)


def _draw_latency(axes: Axes, samples: pd.DataFrame, cases: list[Case], factor: float) -> list[str]:
    """Draw each case's samples, or where there are many their medians; say how each ends."""
    said = []
    many = len(samples) > _MOST_POINTS
    bins = max(_MOST_BINS // max(len(cases) // 4, 1), 20)
    for case in cases:
        own = samples[samples["case_id"] == case.key[1]]
        if own.empty:
            continue
        at = own["at_s"].to_numpy(float) * factor
        own_ms = own["latency_ns"].to_numpy(float) / 1e6
        colour, marker = look(case.place)
        if many:
            middle = _binned(at, own_ms, bins)
            at, low_ms, high_ms = middle[:, [0, 2, 3]].T
            axes.fill_between(at, low_ms, high_ms, color=colour, alpha=0.2, lw=0)
            axes.plot(middle[:, 0], middle[:, 1], color=colour, lw=1.4, label=case.label)
        else:
            axes.plot(at, own_ms, marker, color=colour, ms=2.6, mew=0, alpha=0.8, label=case.label)
        ends = [np.median(part) for part in np.array_split(own_ms, 10)] if own_ms.size >= 10 else []
        if ends:
            said.append(f"{case.label}: {ends[0]:.3g} ms at first, {ends[-1]:.3g} ms at last")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("latency (ms)")
    axes.grid(True, axis="y")
    return said


def _binned(at: np.ndarray, values: np.ndarray, bins: int) -> np.ndarray:
    """Give (time, median, 10th, 90th percentile) of up to so many bins of equally many values."""
    pieces = np.array_split(np.arange(at.size), min(bins, at.size))
    return np.array(
        [[np.median(at[piece]), *np.quantile(values[piece], [0.5, 0.1, 0.9])] for piece in pieces]
    )


def _draw_sensor(
    axes: Axes, telemetry: pd.DataFrame, metric: str, scale: float, factor: float
) -> list[str]:
    """Draw the readings of the sensors that say most; say what each went from and to."""
    readings = telemetry[telemetry["metric"] == metric]
    said = []
    sources = _telling_sources(readings)
    for source, (colour, dashes) in zip(sources, _SOURCE_LINES, strict=False):
        own = readings[readings["source"] == source]
        at, values = own["at_s"].to_numpy(float) * factor, own["value"].to_numpy(float) * scale
        points = _binned(at, values, 2 * _MOST_BINS)
        axes.plot(points[:, 0], points[:, 1], color=colour, lw=1.4, ls=dashes, label=source)
        low, high = values.min(), values.max()
        unit = next(label for name, label, _ in _PANELS if name == metric)
        said.append(f"{source}: {low:.3g} to {high:.3g} {unit}")
        if metric == "freq_khz":
            _draw_cap(axes, telemetry, source, colour, factor)
    if metric != "temp_c":
        axes.set_ylim(bottom=0)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, 1.3),
        ncols=_MOST_SOURCES,
        borderaxespad=0,
        handlelength=1.6,
        fontsize=SMALL_PT,
    )
    return said


def _draw_cap(axes: Axes, telemetry: pd.DataFrame, source: str, colour: str, factor: float) -> None:
    of_cap = (telemetry["metric"] == "freq_cap_khz") & (telemetry["source"] == source)
    caps = telemetry[of_cap]
    if not caps.empty:
        at = caps["at_s"].to_numpy(float) * factor
        points = _binned(at, caps["value"].to_numpy(float) / 1e6, 2 * _MOST_BINS)
        axes.plot(points[:, 0], points[:, 1], color=colour, lw=0.8, alpha=0.6)


def _telling_sources(readings: pd.DataFrame) -> list[str]:
    """Give the sensors with the highest readings; of those that read the same, the first.

    The cores of one cluster share their clock: a line for each would be one line.
    """
    by_source = readings.groupby("source")["value"].agg(["max", "median"])
    ranked = by_source.reset_index().sort_values(["max", "source"], ascending=[False, True])
    return list(ranked.drop_duplicates(["max", "median"])["source"].astype(str)[:_MOST_SOURCES])


def _shade_heat(all_axes: list[Axes], telemetry: pd.DataFrame, factor: float) -> None:
    """Shade the time in which the system throttled."""
    statuses = telemetry[telemetry["metric"] == "thermal_status"]
    at, hot = statuses["at_s"].to_numpy(float) * factor, statuses["value"].to_numpy(float) > 0
    begins = np.flatnonzero(hot & ~np.r_[False, hot[:-1]])
    for begin in begins[:100]:
        end = begin + int(np.argmin(np.r_[hot[begin:], False]))
        for axes in all_axes:
            axes.axvspan(at[begin], at[min(end, at.size - 1)], color=WARM, alpha=0.12, lw=0)
        all_axes[0].annotate(
            "throttled",
            (at[begin], 0),
            (3, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=QUIET,
            fontsize=SMALL_PT,
        )
