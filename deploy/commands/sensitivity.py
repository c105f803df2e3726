"""How much quality each layer costs as integers: a table, JSON, and a plot as .svg."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from rich.table import Table

from deploy.commands.show import console, print_json
from deploy.commands.svg import require_svg, save_svg

COLOUR = "#0072b2"  # blue of Okabe and Ito, "Color Universal Design" (2008)
MACS_PER_M = 1e6


def show_sensitivity(table: pd.DataFrame, as_json: bool) -> None:
    """Print what `deploy.precision.sensitivity` gives, or records of it as JSON."""
    if as_json:
        print_json(sensitivity_records(table))
        return
    shown = Table("in float alone", "operators", box=None)
    for column in ("cost (M MACs)", "dB", "gain (dB)", "gain per M MACs"):
        shown.add_column(column, justify="right")
    for row in table.to_dict("records"):
        shown.add_row(
            row["layer"],
            row["op"],
            f"{row['cost'] / MACS_PER_M:.2f}",
            f"{row['db']:.2f}",
            f"{row['gain_db']:+.3f}",
            f"{row['gain_per_cost'] * MACS_PER_M:+.4f}",
        )
    console().print(shown)


def sensitivity_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the table as plain values; None for what is no number or, as with no error, infinite."""
    return [
        {str(key): _plain(value) for key, value in row.items()} for row in table.to_dict("records")
    ]


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plot_sensitivity(table: pd.DataFrame, path: Path, *, title: str) -> None:
    """Draw the gain of each layer as a bar, the greatest on top.

    Args:
        table: as `deploy.precision.sensitivity` gives it.
        path: the .svg file to write.
        title: what was judged, and against what.

    Raises:
        UsageError: the path has another suffix.
        OutputError: it cannot be written.
    """
    require_svg(path)
    save_svg(path, lambda: _draw(table, title))


def _draw(table: pd.DataFrame, title: str) -> Figure:
    ordered = table.sort_values("gain_db", ascending=False, kind="stable")
    gains_db = ordered["gain_db"].astype(float)
    finite_db = gains_db[gains_db.map(math.isfinite)]
    most_db = max([1.0, *finite_db])  # a layer without which nothing is lost gets a bar too
    figure = Figure(figsize=(9.6, 1.2 + 0.22 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(
        range(len(ordered)), gains_db.fillna(0).clip(upper=most_db).to_list(), color=COLOUR
    )
    axes.bar_label(bars, labels=[_said(gain_db) for gain_db in gains_db], padding=3)
    names = [f"{row['layer']} ({row['op']})" for row in ordered.to_dict("records")]
    axes.set_yticks(range(len(ordered)), names)
    axes.axvline(0, color="black", linewidth=0.6)
    axes.invert_yaxis()  # the first on top
    axes.margins(x=0.12)
    axes.set_xlabel("gain of this alone in float (dB)")
    figure.suptitle(title)
    return figure


def _said(gain_db: float) -> str:
    if math.isnan(gain_db):
        return "no number"
    return "all" if math.isinf(gain_db) else f"{gain_db:+.2f}"
