"""Where the parameters and MACs of one network are, layer by layer, and what the roadmap takes."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from deploy.commands.show import DASH, console
from deploy.errors import UsageError
from deploy.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

    from deploy.zoo.complexity import Complexity

ROLES = ("middle", "cheap")


def describe_layers(
    network: "nn.Module",
    spec: ModelSpec,
    counted: "Complexity",
    stages: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Give every layer that has parameters or MACs, in the order in which they run.

    Returns:
        `layers`, and `no_roadmap`: None, or what keeps the roadmap from this network, so that the
        role of no layer is known.
    """
    from deploy.zoo.trace import trace_calls
    from deploy.zoo.unet import vanilla_macs, within

    taken, no_roadmap = None, None
    try:
        taken = _taken(network, spec)
    except UsageError as error:
        no_roadmap = error.problem
    names = [stage["name"] for stage in stages]
    vanilla = vanilla_macs(trace_calls(network, [spec.inputs[0].shape]))
    layers = [
        {
            "name": layer.layer,
            "kind": layer.kind,
            "stage": next((name for name in names if within(layer.layer, [name])), None),
            "parameters": layer.params,
            "vanilla_macs": vanilla.get(layer.layer, 0),
            "macs": layer.macs,
            "share": layer.macs / counted.macs if counted.macs else None,
            **{role: within(layer.layer, taken[role]) if taken else None for role in ROLES},
        }
        for layer in counted.layers
        if layer.params or layer.macs
    ]
    return {"layers": layers, "no_roadmap": no_roadmap}


def _taken(network: "nn.Module", spec: ModelSpec) -> Mapping[str, Collection[str]]:
    """Give role -> the layers that the roadmap takes for it. Raises UsageError."""
    from deploy.zoo.roadmap import layers_taken

    batch, channels, height, width = spec.inputs[0].shape
    return layers_taken(network, input_shape=(batch, channels, height, width))


def show_layers(described: Mapping[str, Any]) -> None:
    """Print the layers, and why the roadmap takes none where that is so."""
    say = console()
    say.print()
    say.print(_layers_table(described["layers"]))
    say.print("share: of the true MACs. A separable or partial pair is one vanilla convolution.")
    if described["no_roadmap"]:
        say.print(f"no roadmap: {described['no_roadmap']}", highlight=False, soft_wrap=True)


def _layers_table(layers: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None)
    table.add_column("layer", overflow="fold")  # a name is no use without its end
    table.add_column("kind")
    table.add_column("stage", overflow="fold")
    for header in ("parameters", "vanilla MACs", "true MACs", "share"):
        table.add_column(header, justify="right")
    table.add_column("for the roadmap")
    for layer in layers:
        table.add_row(
            layer["name"] or "the network itself",
            layer["kind"],
            layer["stage"] or DASH,
            f"{layer['parameters']:,}",
            f"{layer['vanilla_macs'] / 1e6:,.2f} M",
            f"{layer['macs'] / 1e6:,.2f} M",
            DASH if layer["share"] is None else f"{layer['share']:.1%}",
            ", ".join(roles(layer)),
        )
    return table


def roles(part: Mapping[str, Any]) -> list[str]:
    """Give what the roadmap would take a stage or a layer for."""
    return [role for role in ROLES if part[role]]
