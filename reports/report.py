"""Session folders in, a folder of tables and one page out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from reports.compare import add_speed_ups, speed_ups, summarize
from reports.exporters import to_markdown, write_frame, write_text
from reports.frame import Frames, load
from reports.grid import Grid
from reports.html import Picture, render_html
from reports.instruction_table import instruction_table, with_fewer
from reports.instructions import refuse_mixed
from reports.tables import ComparisonTable, comparison_table, render_markdown


@dataclass(frozen=True)
class ReportFiles:
    """What `build_report` wrote.

    Attributes:
        html: the page.
        markdown: the comparison table.
        summary_csv: one row a case.
        summary_parquet: the same.
        runs_csv: one row a launch, all sessions together.
        runs_parquet: the same.
        table: the comparison table, ready to be printed; of counted instructions, a grid.
    """

    html: Path
    markdown: Path
    summary_csv: Path
    summary_parquet: Path
    runs_csv: Path
    runs_parquet: Path
    table: ComparisonTable | Grid


def build_report(
    folders: Sequence[Path],
    out: Path,
    pictures: Sequence[Picture] = (),
    *,
    baseline_kind: str = "plain",
) -> ReportFiles:
    """Write the report on one or more sessions of the same device and settings.

    Args:
        folders: of the sessions.
        out: folder to write to; made if it is not there.
        pictures: before and after, in the order to show them.
        baseline_kind: the kind that speed-ups are against.

    Raises:
        RowsError: rows are missing, broken, or unlike each other.
        DataError: a picture is not a PNG.
        OutputError: `out` refuses.
    """
    frames = load(*folders)
    refuse_mixed(frames.summary)
    ratios = speed_ups(frames, baseline_kind)
    summary = add_speed_ups(summarize(frames), ratios)
    table = main_table(summary, frames, baseline_kind)
    if isinstance(table, Grid):
        summary = with_fewer(summary, baseline_kind)
    page = render_html(summary, frames, table, pictures, baseline_kind)
    summary_csv, summary_parquet = write_frame(summary, out, "summary")
    runs_csv, runs_parquet = write_frame(frames.runs, out, "runs")
    markdown = write_text(_markdown(table), out / "comparison.md")
    html = write_text(page, out / "report.html")
    return ReportFiles(html, markdown, summary_csv, summary_parquet, runs_csv, runs_parquet, table)


def main_table(summary: pd.DataFrame, frames: Frames, baseline_kind: str) -> ComparisonTable | Grid:
    """Give the table that a report opens with: of times, or of counted instructions.

    Args:
        summary: what `summarize` and then `add_speed_ups` gave; all timed, or all counted.
    """
    if summary["is_counted"].all():
        return instruction_table(summary, frames, baseline_kind)
    return comparison_table(summary, frames, baseline_kind)


def _markdown(table: ComparisonTable | Grid) -> str:
    return to_markdown(table) if isinstance(table, Grid) else render_markdown(table)
