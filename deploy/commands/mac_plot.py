"""The MOFA paper's Figure 4 for any U-Net-like network, as an SVG file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from deploy.commands.model_counts import roles
from deploy.errors import OutputError, UsageError
from deploy.files import unfinished

# role -> colour, after Okabe and Ito, "Color Universal Design" (2008)
COLOURS = {
    "neither": "#7f7f7f",
    "middle": "#0072b2",
    "cheap": "#d55e00",
    "middle, cheap": "#009e73",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "mofa-deploy",  # the same drawing is the same file
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def plot_stages(described: Mapping[str, Any], path: Path) -> None:
    """Draw each stage's share of the MACs as a bar, coloured by what the roadmap takes it for.

    Args:
        described: as `describe_model` gives it.
        path: the .svg file to write.

    Raises:
        UsageError: it has another suffix, or the network is not U-Net-like.
        OutputError: it cannot be written.
    """
    if path.suffix != ".svg":
        raise UsageError(f"plot {path} is no .svg file", "name it like stages.svg")
    if described["stages"] is None:
        raise UsageError(described["no_stages"], "leave --plot out")
    try:
        with matplotlib.rc_context(STYLE), unfinished(path) as temporary:
            figure = _draw(described)
            figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})
    except OutputError as error:
        raise OutputError(error.problem, "pass another --plot FILE.svg") from error


def _draw(described: Mapping[str, Any]) -> Figure:
    stages = described["stages"]
    figure = Figure(figsize=(5.6, 1.2 + 0.3 * len(stages)), layout="constrained")
    axes = figure.add_subplot()
    kinds = [", ".join(roles(stage)) or "neither" for stage in stages]
    bars = axes.barh(
        [stage["name"] for stage in stages],
        [100 * stage["share"] for stage in stages],
        color=[COLOURS[kind] for kind in kinds],
    )
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.invert_yaxis()  # the first on top
    axes.margins(x=0.12)
    axes.set_title(described["model"])
    axes.set_xlabel("share of the MACs (%), every convolution taken as vanilla")
    used = [kind for kind in COLOURS if kind in kinds]
    patches = [Patch(color=COLOURS[kind], label=kind) for kind in used]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(used), frameon=False)
    return figure
