"""Memory of the process: at the end of each phase, and over one launch."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from reports.compare import CaseKey
from reports.frame import Frames
from reports.launches import CASE_KEY, launch_table
from reports.plots.cases import Case, Plot, drawn_cases, left_out, of_mode, rows_by_case
from reports.plots.style import (
    QUIET,
    SMALL_PT,
    TEXT,
    legend_above,
    look,
    one_figure,
    stacked_figure,
    to_svg,
)

PHASES = ("baseline", "loaded", "first", "steady", "peak")
_MIB = 2**20
_FEWEST_TICKS = 8  # below, only the ends of the phases were read
_MOST_POINTS = 200  # of one phase
_MOST_PANELS = 6


def memory_by_phase(frames: Frames, summary: pd.DataFrame) -> Plot | None:
    """Draw the resident memory after each phase and the peak, a line a case."""
    by_phase = {key: row.to_numpy(float) for key, row in _phase_medians_mib(frames).iterrows()}
    cases = [case for case in drawn_cases(summary) if case.key in by_phase]
    if not cases:
        return None
    with one_figure(2.7) as (figure, axes):
        for case in cases:
            colour, marker = look(case.place)
            own_mib = by_phase[case.key]
            axes.plot(PHASES, own_mib, f"{marker}-", color=colour, lw=1.5, ms=5, label=case.label)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("resident memory (MiB)")
        axes.grid(True, axis="y")
        legend_above(figure, axes)
        said = "; ".join(f"{case.label}: peak {by_phase[case.key][-1]:.0f} MiB" for case in cases)
        svg = to_svg(figure, f"Resident memory by phase. {said}")
    note = "Resident memory at the end of each phase, and the peak; median over launches."
    return Plot("cost", "Memory by phase", note + left_out(summary), svg)


def _phase_medians_mib(frames: Frames) -> pd.DataFrame:
    """Give the median over launches in MiB: a row a case, a column a phase of `PHASES`."""
    launches = launch_table(frames)
    ends = frames.memory_samples.sort_values("t_ns", kind="stable")
    ends = ends.drop_duplicates(["run_id", "phase"], keep="last")
    phases = ends.merge(launches[["run_id", *CASE_KEY]], on="run_id")
    if phases.empty and launches["peak_rss_mib"].isna().all():
        return pd.DataFrame()
    by_phase = phases.groupby([*CASE_KEY, "phase"])["rss_bytes"].median().unstack() / _MIB
    peak = launches.groupby(CASE_KEY)["peak_rss_mib"].median()
    together = by_phase.astype("float64").reindex(peak.index).assign(peak=peak)
    return together.reindex(columns=list(PHASES))


def memory_timeline(frames: Frames, summary: pd.DataFrame) -> Plot | None:
    """Draw one launch's memory over its phases, a panel a case; None without a sampler's rows."""
    chosen = _best_sampled(frames)
    cases = [case for case in drawn_cases(summary) if case.key in chosen]
    panels = cases[:_MOST_PANELS]
    if not panels:
        return None
    heights = [1.25] * len(panels)
    with stacked_figure(heights, share_y=True) as (figure, all_axes):
        for case, axes in zip(panels, all_axes, strict=True):
            _draw_launch(axes, case, chosen[case.key])
        figure.supylabel("MiB", color=QUIET, fontsize="medium")
        said = "; ".join(f"{case.label}: {_peak_said(chosen[case.key])}" for case in panels)
        svg = to_svg(figure, f"Memory over one launch by phase. {said}")
    note = (
        "One launch of each graph. The line is resident memory, the area under it its anonymous "
        "part, the dashed line the native heap by Android's own rule, where they were read. "
        "Every phase is drawn equally wide; its length is under its name."
    )
    if len(cases) > len(panels):
        note += f" The first {len(panels)} of {len(cases)} graphs."
    return Plot("cost", "Memory over one launch", note, svg)


def _best_sampled(frames: Frames) -> dict[CaseKey, pd.DataFrame]:
    """Give each case's launch with the most samples of memory, where a sampler ran."""
    found = {}
    runs = of_mode(frames, "memory", "latency", "sustained")
    for key, own in rows_by_case(frames.memory_samples, runs):
        counts = own["run_id"].value_counts()
        if counts.iloc[0] >= _FEWEST_TICKS:
            launch = own[own["run_id"] == sorted(counts.index[counts == counts.iloc[0]])[0]]
            found[key] = launch.sort_values("t_ns", kind="stable")
    return found


def _draw_launch(axes: Axes, case: Case, launch: pd.DataFrame) -> None:
    colour = look(case.place)[0]
    at, names = _in_phases(launch)
    rss_mib, anon_mib, heap_mib = (
        launch[column].to_numpy(float, na_value=np.nan) / _MIB
        for column in ("rss_bytes", "rss_anon_bytes", "native_heap_bytes")
    )
    kept = np.union1d(_kept(launch["phase"]), rss_mib.argmax())
    axes.fill_between(at[kept], anon_mib[kept], color=colour, alpha=0.2, lw=0)
    axes.plot(at[kept], rss_mib[kept], color=colour, lw=1.7)
    axes.plot(at[kept], heap_mib[kept], color=colour, lw=1.3, ls=(0, (4, 2)))
    for edge in range(1, len(names)):
        axes.axvline(edge, color=QUIET, lw=0.6, ls=(0, (2, 2)))
    said = f"{case.label}: {_peak_said(launch)}"
    axes.set_title(said, loc="left", color=TEXT, fontsize="medium")
    axes.set_xlim(0, len(names))
    axes.set_ylim(bottom=0)
    axes.set_xticks(np.arange(len(names)) + 0.5, names, fontsize=SMALL_PT)
    axes.tick_params(axis="x", length=0)
    axes.grid(True, axis="y")


def _in_phases(launch: pd.DataFrame) -> tuple[np.ndarray, list[str]]:
    """Give where each sample lies, every phase one wide, and each phase's name and length."""
    begin_ns = int(launch["t_ns"].iloc[0])
    at, names = [], []
    for place, (phase, piece) in enumerate(launch.groupby("phase", sort=False)["t_ns"]):
        t_ns = piece.to_numpy(float)
        long_ns = int(t_ns[-1]) - begin_ns
        if long_ns > 0:
            at.append(place + (t_ns - begin_ns) / long_ns)
            names.append(f"{phase}\n{_duration(long_ns)}")
        else:
            at.append(place + (np.arange(t_ns.size) + 1) / t_ns.size)
            names.append(str(phase))
        begin_ns = int(t_ns[-1])
    return np.concatenate(at), names


def _kept(phases: "pd.Series[str]") -> np.ndarray:
    """Give which samples to draw: all of a short phase, evenly chosen ones of a long one."""
    kept: list[np.ndarray] = []
    for phase in dict.fromkeys(phases):
        (places,) = np.nonzero((phases == phase).to_numpy(bool))
        few = min(places.size, _MOST_POINTS)
        kept.append(places[np.linspace(0, places.size - 1, few).round().astype(int)])
    return np.concatenate(kept)


def _duration(long_ns: int) -> str:
    return f"{long_ns / 1e9:.1f} s" if long_ns >= 1e9 else f"{long_ns / 1e6:.0f} ms"


def _peak_said(launch: pd.DataFrame) -> str:
    return f"peak {launch['rss_bytes'].max() / _MIB:.0f} MiB"
