"""The MOFA paper's Figure 4 for any U-Net-like network, by stage and by layer, as an SVG file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from deploy.commands.model_layers import roles
from deploy.commands.svg import require_svg, save_svg
from deploy.errors import UsageError

# role -> colour, after Okabe and Ito, "Color Universal Design" (2008)
COLOURS = {
    "neither": "#7f7f7f",
    "middle": "#0072b2",
    "cheap": "#d55e00",
    "middle, cheap": "#009e73",
}


def plot_stages(described: Mapping[str, Any], path: Path) -> None:
    """Draw where the MACs are, coloured by what the roadmap takes each layer for.

    Each stage is a bar of its layers in the order in which they run, so that hundreds can be read:
    on the left with every convolution taken as a vanilla one, on the right as they are.

    Args:
        described: as `describe_model` gives it.
        path: the .svg file to write.

    Raises:
        UsageError: it has another suffix, or the network is not U-Net-like.
        OutputError: it cannot be written.
    """
    require_svg(path)
    if described["stages"] is None:
        raise UsageError(described["no_stages"], "leave --plot out")
    save_svg(path, lambda: _draw(described))


def _draw(described: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(9.6, 1.2 + 0.3 * len(described["stages"])), layout="constrained")
    vanilla, true = figure.subplots(1, 2, sharey=True)
    _draw_shares(vanilla, described, "vanilla_macs")
    vanilla.set_xlabel("share of the MACs (%), every convolution taken as vanilla")
    _draw_shares(true, described, "macs")
    true.set_xlabel("share of the true MACs (%)")
    vanilla.invert_yaxis()  # the first on top
    figure.suptitle(described["model"])
    kinds = {_kind(layer) for layer in described["layers"]}
    used = [kind for kind in COLOURS if kind in kinds]
    patches = [Patch(color=COLOURS[kind], label=kind) for kind in used]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(used), frameon=False)
    return figure


def _draw_shares(axes: Axes, described: Mapping[str, Any], count: str) -> None:
    """Draw the layers of each stage end to end, and how much they are together."""
    total = sum(layer[count] for layer in described["layers"])
    ends = {stage["name"]: 0.0 for stage in described["stages"]}
    axes.barh(list(ends), 0)  # a stage without any keeps its place
    for layer in described["layers"]:
        if layer["stage"] is None or not layer[count]:
            continue
        share = 100 * layer[count] / total
        left, ends[layer["stage"]] = ends[layer["stage"]], ends[layer["stage"]] + share
        colour = COLOURS[_kind(layer)]
        axes.barh(layer["stage"], share, left=left, color=colour, edgecolor="white", linewidth=0.3)
    bars = axes.barh(list(ends), list(ends.values()), color="none")
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.margins(x=0.12)


def _kind(layer: Mapping[str, Any]) -> str:
    return ", ".join(roles(layer)) or "neither"
