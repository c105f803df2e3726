"""Plots as SVG files: text that stays text, and the same drawing as the same bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from deploy.errors import OutputError, UsageError
from deploy.files import unfinished

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "mofa-deploy",  # the same drawing is the same file
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def require_svg(path: Path) -> None:
    """Raise UsageError if a plot's name has another suffix than .svg."""
    if path.suffix != ".svg":
        raise UsageError(f"plot {path} is no .svg file", "name it like stages.svg")


def save_svg(path: Path, draw: Callable[[], Figure]) -> None:
    """Write what `draw` gives, drawn in STYLE. Raises OutputError if it cannot be written."""
    try:
        with matplotlib.rc_context(STYLE), unfinished(path) as temporary:
            figure = draw()
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    except OutputError as error:
        raise OutputError(error.problem, "pass another --plot FILE.svg") from error
