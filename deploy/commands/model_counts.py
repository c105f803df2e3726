"""What one network costs: both counts, the papers' figures beside them, and where the MACs are."""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from deploy.commands.model_layers import describe_layers, roles, show_layers
from deploy.commands.show import DASH, console, print_json
from deploy.errors import MofaError, UsageError
from deploy.spec import ModelSpec
from deploy.zoo.papers import PaperRow, find_table, rows_of

if TYPE_CHECKING:
    from torch import nn

    from deploy.zoo.complexity import Complexity


def describe_model(name: str, shape: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Give what one network costs: both counts, the papers' figures, its stages and layers.

    Args:
        name: registered, or `package.module:factory`.
        shape: (N, C, H, W) to count at; None: the network's own.

    Returns:
        `stages` is None, and `no_stages` says why, where the network is not U-Net-like;
        `no_roadmap` says what keeps the roadmap from it, so that no layer is `middle` or `cheap`.

    Raises:
        UsageError: no such network, or it does not take this shape.
    """
    from deploy.commands.stages import model_spec

    spec = model_spec(name, None, shape)
    registered = ":" not in name  # a user's network may bear the name of a paper's
    network = _network(spec, registered)
    counted = _measure(network, spec)
    stages, no_stages = None, None
    try:
        stages = _stages(network, spec)
    except UsageError as error:
        no_stages = error.problem
    return {
        "model": spec.name,
        "input": _size(spec),
        "weights": spec.checkpoint.name if spec.checkpoint else None,
        "licence": spec.licence,
        "source": spec.source,
        **_totals(counted),
        "papers": [_printed(*row) for row in rows_of(spec.name)] if registered else [],
        "stages": stages,
        "no_stages": no_stages,
        **describe_layers(network, spec, counted, stages or ()),
    }


def count(network: "nn.Module", spec: ModelSpec) -> dict[str, int]:
    """Give parameters and MACs of a network: the true ones, and as the MOFA paper counts them.

    Raises:
        UsageError: the network does not take the spec's input.
    """
    return _totals(_measure(network, spec))


def _measure(network: "nn.Module", spec: ModelSpec) -> "Complexity":
    from deploy.zoo.complexity import measure_complexity

    try:
        return measure_complexity(network, [spec.inputs[0].shape])
    except MofaError:
        raise
    except Exception as error:  # a user's network may raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{spec.name} cannot be run on {_size(spec)} ({reason})",
            "pass --shape with what it takes",
        ) from error


def _totals(counted: "Complexity") -> dict[str, int]:
    return {
        "parameters": counted.params,
        "parameters_as_paper": counted.thop_params,
        "macs": counted.macs,
        "macs_as_paper": counted.thop_macs,
    }


def _network(spec: ModelSpec, registered: bool) -> "nn.Module":
    if registered:
        from deploy.zoo.skeleton import skeleton

        return skeleton(spec)
    from deploy.export import build

    with redirect_stdout(sys.stderr):  # what a user's module prints is no result
        return build(spec)


def _stages(network: "nn.Module", spec: ModelSpec) -> list[dict[str, Any]]:
    """Give the stages with what the roadmap takes each for. Raises UsageError."""
    from deploy.zoo.unet import cheap_stages, find_stages, middle_stages

    batch, channels, height, width = spec.inputs[0].shape
    found = find_stages(network, (batch, channels, height, width))
    middle, cheap = middle_stages(found), cheap_stages(found)
    return [
        {**asdict(one), "middle": one.name in middle, "cheap": one.name in cheap} for one in found
    ]


def _size(spec: ModelSpec) -> str:
    return "x".join(map(str, spec.inputs[0].shape))


def _printed(table: str, row: PaperRow) -> dict[str, Any]:
    """Give what a paper prints of a network, as plain values."""
    return {
        "table": table,
        "row": row.label,
        "parameters": row.parameters,
        "macs": row.macs,
        "doubts": dict(row.doubts),
        **paper_results(table, row),
    }


def paper_results(table: str, row: PaperRow) -> dict[str, float | None]:
    """Give the results that a paper prints in one row, by column."""
    columns = find_table(table).columns
    results = (None if result is None else float(result) for result in row.results)
    return dict(zip(columns, results, strict=True))


def show_model(described: Mapping[str, Any], as_json: bool, *, layers: bool = False) -> None:
    """Print one network's counts beside the papers', its stages, and its layers if asked for."""
    if as_json:
        print_json(described)
        return
    say = console()
    heading = f"{described['model']}: {described['source']}"
    say.print(heading, highlight=False, markup=False, soft_wrap=True)
    weights = described["weights"] or "none"
    say.print(f"input {described['input']}, weights {weights}\n", highlight=False)
    say.print(_counts_table(described))
    for printed in described["papers"]:
        for which, reason in printed["doubts"].items():
            say.print(f"{printed[which]} does not reproduce: {reason}", highlight=False)
    if described["stages"] is None:
        say.print(f"\nno stages: {described['no_stages']}", highlight=False, soft_wrap=True)
    else:
        say.print()
        say.print(_stages_table(described))
        say.print(
            "vanilla MACs: if every convolution were a vanilla one, as in the paper's Figure 4"
        )
    if layers:
        show_layers(described)


def _counts_table(described: Mapping[str, Any]) -> Table:
    table = Table("count", box=None)
    table.add_column("parameters", justify="right")
    table.add_column("MACs", justify="right")
    ours = {"true": "", "as the MOFA paper counts": "_as_paper"}
    for label, suffix in ours.items():
        macs = f"{described[f'macs{suffix}'] / 1e9:.4f} G"
        table.add_row(label, f"{described[f'parameters{suffix}']:,}", macs)
    for printed in described["papers"]:
        if printed["parameters"] or printed["macs"]:
            figures = (printed["parameters"] or DASH, printed["macs"] or DASH)
            table.add_row(
                f"printed in {printed['table']}, row {printed['row']}, at 256x256", *figures
            )
    return table


def _stages_table(described: Mapping[str, Any]) -> Table:
    """Give the paper's Figure 4: where the MACs are if every convolution were a vanilla one."""
    table = Table("stage", box=None)
    for header in ("level", "vanilla MACs", "share", "true MACs"):
        table.add_column(header, justify="right")
    table.add_column("for the roadmap")
    for stage in described["stages"]:
        table.add_row(
            stage["name"],
            str(stage["level"]),
            f"{stage['vanilla_macs'] / 1e9:.4f} G",
            f"{stage['share']:.1%}",
            f"{stage['macs'] / 1e9:.4f} G",
            ", ".join(roles(stage)),
        )
    return table
