"""The MOFA paper's Table 1 on one's own device: cost, time and quality of each step.

Source: MOFA paper (arXiv:2308.12494), Table 1. The steps' counts come from the caller; times are
rows of one session in which all steps were launched interleaved.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.table import Table

from deploy.errors import RowsError
from reports.compare import launch_table, refuse_unlike, summarize
from reports.frame import Frames
from reports.stats import paired_ratio
from reports.tables import fixed, with_interval


@dataclass(frozen=True)
class Step:
    """One step of a roadmap before it is measured.

    Attributes:
        name: of the step; the first one is the baseline.
        model: the name that its rows carry.
        macs: true multiply-adds.
        paper_macs: as the paper counts them.
        params: all parameters.
    """

    name: str
    model: str
    macs: int
    paper_macs: int
    params: int


def roadmap_table(frames: Frames, steps: Sequence[Step]) -> pd.DataFrame:
    """Give one row a step: counts, latency with interval, speed-up, memory and quality.

    Quality is NaN for a step without trained weights.

    Raises:
        RowsError: a step was not measured, or the rows are not alike.
    """
    refuse_unlike(frames)
    summary = summarize(frames).set_index("model")
    missing = [step.name for step in steps if step.model not in summary.index]
    if missing:
        raise RowsError(f"no rows of step {missing[0]}", "run the roadmap again")
    by_block = _latency_by_block(frames)
    rows = []
    for step in steps:
        ratio = paired_ratio(*_pairs(by_block, steps[0].model, step.model))
        measured = summary.loc[step.model]
        rows.append(
            {
                "step": step.name,
                "macs_g": step.macs / 1e9,
                "paper_macs_g": step.paper_macs / 1e9,
                "params_m": step.params / 1e6,
                "latency_median_ms": measured["latency_median_ms"],
                "latency_ci_low_ms": measured["latency_ci_low_ms"],
                "latency_ci_high_ms": measured["latency_ci_high_ms"],
                "speed_up": ratio.value,
                "speed_up_ci_low": ratio.low,
                "speed_up_ci_high": ratio.high,
                "peak_rss_mib": measured["peak_rss_mib"],
                "psnr_db": measured["psnr_db"],
                "ssim": measured["ssim"],
                "n_launches": measured["n_launches"],
            }
        )
    return pd.DataFrame(rows)


def fastest(frames: Frames, steps: Sequence[Step]) -> tuple[Step, list[Step]]:
    """Give the step of least median latency, and the steps that cannot be told from it.

    Two steps are told apart where the interval of their paired ratio does not hold 1.

    Raises:
        RowsError: no step ended well in any launch.
    """
    by_block = _latency_by_block(frames)
    medians = {
        step.model: by_block[step.model].median() for step in steps if step.model in by_block
    }
    if not medians or np.isnan(min(medians.values())):
        raise RowsError("no step was measured", "see the status of its launches")
    best = min((step for step in steps if step.model in medians), key=lambda s: medians[s.model])
    ties = []
    for step in steps:
        if step is best or step.model not in medians:
            continue
        ratio = paired_ratio(*_pairs(by_block, step.model, best.model))
        if not ratio.low > 1:
            ties.append(step)
    return best, ties


def _latency_by_block(frames: Frames) -> pd.DataFrame:
    launches = launch_table(frames)
    return launches.groupby(["block", "model"])["latency_ms"].median().unstack()


def _pairs(by_block: pd.DataFrame, one: str, other: str) -> tuple[np.ndarray, np.ndarray]:
    both = pd.DataFrame({"one": by_block[one], "other": by_block[other]}).dropna()
    return both["one"].to_numpy(), both["other"].to_numpy()


COLUMNS = (
    "step",
    "MACs G",
    "paper's count G",
    "params M",
    "latency ms [95 % interval]",
    "speed-up",
    "peak memory MiB",
    "PSNR dB",
    "SSIM",
)


def _cells(row: pd.Series) -> list[str]:
    median, low, high = (row[f"latency_{end}_ms"] for end in ("median", "ci_low", "ci_high"))
    ratio, least, most = (row[f"speed_up{end}"] for end in ("", "_ci_low", "_ci_high"))
    return [
        str(row["step"]),
        fixed(row["macs_g"], 3),
        fixed(row["paper_macs_g"], 3),
        fixed(row["params_m"], 3),
        with_interval(median, low, high),
        with_interval(ratio, least, most, "×") if row.name else "1×",
        fixed(row["peak_rss_mib"], 0),
        fixed(row["psnr_db"], 2),
        fixed(row["ssim"], 4),
    ]


def render_rich(table: pd.DataFrame) -> Table:
    """Lay the table out for a terminal; a dash where nothing was measured."""
    shown = Table(box=SIMPLE_HEAD)
    for index, column in enumerate(COLUMNS):
        shown.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    for _, row in table.iterrows():
        shown.add_row(*_cells(row))
    return shown


def render_markdown(table: pd.DataFrame) -> str:
    """Lay the table out as markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" + "|---:" * (len(COLUMNS) - 1) + "|"]
    lines += ["| " + " | ".join(_cells(row)) + " |" for _, row in table.iterrows()]
    return "\n".join(lines) + "\n"
