"""What all plots share: one size, colours that the page decides, and an SVG that a page can hold.

matplotlib knows no CSS variables, so each colour is drawn as a stand-in and named on writing. The
same picture is then right on white, on near-black and on paper.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

# Grey, then hues after Okabe and Ito, "Color Universal Design" (2008). Lightness and chroma were
# searched for the largest least distance between any two, seen with all three, without red or
# without green cones, where text in each has a contrast of 4.5 to its page (WCAG 2.1, 1.4.3).
LIGHT = ("#51595e", "#0079bf", "#bb4602", "#38815d", "#5d0862", "#432d00")
DARK = ("#949495", "#4393d2", "#d78141", "#a1f1c6", "#ffd2fe", "#ffdf23")
MARKERS = ("o", "s", "D", "^", "v", "P", "X")

# role -> its CSS variable and what it is where no page sets that
_ROLES = {
    "text": "var(--text, #1b1f24)",
    "quiet": "var(--quiet, #59636e)",
    "line": "var(--line, #d9dee4)",
    "page": "var(--page, #fff)",
    "accent": "var(--accent, #0068a8)",
    "warm": "var(--warm, #b54d00)",
}
_ROLES |= {f"series-{place}": f"var(--series-{place}, {hue})" for place, hue in enumerate(LIGHT)}
_STAND_INS = {role: f"#0102{place:02x}" for place, role in enumerate(_ROLES, start=16)}

TEXT, QUIET, LINE, PAGE, ACCENT, WARM = (
    _STAND_INS[role] for role in ("text", "quiet", "line", "page", "accent", "warm")
)
HALO = "halo"  # id of a text that has to stay readable where it crosses a line
WIDTH_IN = 4.6
SMALL_PT = 9.0
FONT_PT = 10.0
_LEGEND_ROW_IN = 0.19
_LINE_CHARS = 58  # of a legend
_HALO_STYLE = f"paint-order: stroke; stroke: {_ROLES['page']}; stroke-width: 3"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's font
    "svg.hashsalt": "mofa-deploy",  # ids then depend on the drawing alone
    "text.parse_math": False,  # a $ in a name is a dollar
    "path.simplify": True,
    "font.size": FONT_PT,
    "text.color": TEXT,
    "axes.labelcolor": QUIET,
    "axes.edgecolor": LINE,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": QUIET,
    "ytick.labelcolor": QUIET,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": FONT_PT,
}


def look(place: int) -> tuple[str, str]:
    """Give the colour and the marker of the case at this place."""
    return _STAND_INS[f"series-{place % len(LIGHT)}"], MARKERS[place % len(MARKERS)]


@contextmanager
def one_figure(height_in: float) -> Iterator[tuple[Figure, Axes]]:
    """Give a figure with one pair of axes, in the style of the page."""
    with stacked_figure([height_in]) as (figure, (axes,)):
        yield figure, axes


@contextmanager
def stacked_figure(
    heights_in: list[float], share_x: bool = False, share_y: bool = False
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Give a figure with axes one below the other, the first on top."""
    with matplotlib.rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.03)
        figure = Figure(figsize=(WIDTH_IN, sum(heights_in)), layout=layout)
        grid = figure.subplots(
            len(heights_in),
            1,
            sharex=share_x,
            sharey=share_y,
            squeeze=False,
            gridspec_kw={"height_ratios": heights_in},
        )
        yield figure, list(np.ravel(grid))


def row_height_in(rows: int) -> float:
    """Give the height of a plot with a line a case."""
    return 0.6 + 0.36 * rows


def label_rows(axes: Axes, labels: list[str]) -> None:
    """Name the rows of a plot with a line a case, the first on top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, labelcolor=TEXT)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")


def legend_above(figure: Figure, axes: Axes, markerscale: float = 1.0) -> None:
    """Put the legend over the plot, in columns, and make room for it."""
    handles, labels = axes.get_legend_handles_labels()
    widest = max((len(label) for label in labels), default=0)
    columns = max(1, min(4, _LINE_CHARS // (widest + 5)))
    if len(labels) == 4 and columns == 3:
        columns = 2  # no entry alone in a row below a full one
    rows = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + rows * _LEGEND_ROW_IN)
    figure.legend(
        handles,
        labels,
        loc="outside upper left",
        ncols=columns,
        handlelength=1.2,
        markerscale=markerscale,
    )


def to_svg(figure: Figure, description: str) -> str:
    """Give the figure as an `<svg>` element that a page can hold many of.

    Args:
        description: what somebody who cannot see it should know.
    """
    written = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(_STYLE):
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    svg = written.getvalue()
    svg = svg[svg.index("<svg ") :].rstrip()  # a page has its own doctype
    svg = re.sub(rf'<g id="{HALO}">', f'<g style="{_HALO_STYLE}">', svg)
    svg = re.sub(r'<g id="[^"]*"/>', "", svg)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # the same names in every figure, used by none
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # would style the whole page
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r">\s+<", "><", svg)
    for role, stand_in in _STAND_INS.items():
        svg = svg.replace(f": {stand_in}", f": {_ROLES[role]}")
    joins = "stroke-linejoin: round; stroke-linecap: butt"
    opening = f'<svg role="img" aria-label="{escape(description)}" style="{joins}" '
    return svg.replace("<svg ", opening, 1)
