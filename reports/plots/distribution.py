"""How single inferences are spread: the cumulative share over latency."""

import numpy as np
import pandas as pd

from reports.frame import Frames
from reports.plots.cases import Case, Plot, left_out, of_mode, rows_by_case, timed_cases
from reports.plots.labels import Label, place_labels
from reports.plots.style import legend_above, look, one_figure, to_svg

_SHARES = np.linspace(0, 1, 201)  # bounds the drawing, however many samples there are
_MOST_NAMES = 5  # named at their lines; more go into a legend
_BEYOND = 1.5  # times the 99.5th percentile: slower ones would squeeze the rest


def sample_ecdf(frames: Frames, summary: pd.DataFrame) -> Plot | None:
    """Draw the cumulative share of steady samples over latency, a step line a case."""
    steady = frames.samples.loc[frames.samples["phase"] == "steady", ["run_id", "latency_ns"]]
    by_case = {
        key: own["latency_ns"].to_numpy(float) / 1e6
        for key, own in rows_by_case(steady, of_mode(frames, "latency"))
    }
    cases = [case for case in timed_cases(summary) if case.key in by_case]
    if not cases:
        return None
    steps_ms = {
        case.key: np.quantile(by_case[case.key], _SHARES, method="inverted_cdf") for case in cases
    }
    right_ms, beyond = _right_end([by_case[case.key] for case in cases])
    with one_figure(3.0) as (figure, axes):
        for case in cases:
            colour = look(case.place)[0]
            axes.step(
                steps_ms[case.key], _SHARES, where="post", color=colour, lw=1.7, label=case.label
            )
        least_ms = min(own_ms[0] for own_ms in steps_ms.values())
        axes.set_xlim(max(0.0, least_ms - 0.35 * (right_ms - least_ms)), right_ms)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("latency (ms)")
        axes.set_ylabel("share of inferences")
        axes.grid(True)
        if len(cases) <= _MOST_NAMES:
            labels = _at_lines(cases, steps_ms)
            place_labels(figure, axes, labels, _on_lines(steps_ms))
        else:
            legend_above(figure, axes)
        svg = to_svg(figure, _said(cases, by_case))
    note = "The share of steady inferences that took at most this long. Steeper is steadier."
    if beyond:
        note += f" The slowest {beyond} lie beyond the right end."
    return Plot("latency", "Single inferences", note + left_out(summary), svg)


def _right_end(all_ms: list[np.ndarray]) -> tuple[float, int]:
    """Give where the axis ends, and how many inferences are slower than that."""
    slowest = max(float(own_ms.max()) for own_ms in all_ms)
    usual = max(float(np.quantile(own_ms, 0.995)) for own_ms in all_ms)
    if slowest <= _BEYOND * usual:
        return 1.02 * slowest, 0
    end = 1.1 * usual
    return end, sum(int((own_ms > end).sum()) for own_ms in all_ms)


def _at_lines(cases: list[Case], steps_ms: dict[tuple[str, str], np.ndarray]) -> list[Label]:
    heights = (0.9, 0.75, 0.6, 0.45, 0.3, 0.15)
    return [
        Label(
            case.label,
            look(case.place)[0],
            [(float(np.interp(height, _SHARES, steps_ms[case.key])), height) for height in heights],
            ("left", "right"),
        )
        for case in sorted(cases, key=lambda case: float(steps_ms[case.key][100]))
    ]


def _on_lines(steps_ms: dict[tuple[str, str], np.ndarray]) -> np.ndarray:
    points = [np.column_stack([own_ms, _SHARES])[::10] for own_ms in steps_ms.values()]
    return np.vstack(points)


def _said(cases: list[Case], by_case: dict[tuple[str, str], np.ndarray]) -> str:
    middles = "; ".join(
        f"{case.label}: half within {np.median(by_case[case.key]):.3g} ms, "
        f"nine tenths within {np.quantile(by_case[case.key], 0.9):.3g} ms"
        for case in cases
    )
    return f"Cumulative distribution of steady latencies. {middles}"
