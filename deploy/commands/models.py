"""What `mofa-deploy models` says: all names, one network, a table, or a checkpoint."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.commands.show import console, print_json, show_rows
from deploy.errors import UsageError
from deploy.zoo.registry import MODELS


def show_models(
    name: str | None,
    table: str | None,
    checkpoint: Path | None,
    *,
    shape: tuple[int, ...] | None,
    plot: Path | None,
    layers: bool,
    as_json: bool,
) -> None:
    """Print what was asked for: a network, a table, a checkpoint's network, or all names.

    Raises:
        UsageError: several were asked for, or an option of one network without it.
    """
    wanted = {"NAME": name, "--table": table, "--identify": checkpoint}
    given = [option for option, value in wanted.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} at once", "ask for one of them")
    for option, value in {"--plot": plot, "--shape": shape, "--layers": layers}.items():
        if value and name is None:
            raise UsageError(f"{option} without NAME", "name the network that it is about")
    if name is not None:
        _show_one(name, shape, plot, layers, as_json)
    elif table is not None:
        from deploy.commands.paper_tables import count_table, show_table

        show_table(count_table(table), as_json)
    elif checkpoint is not None:
        show_identity(identify_checkpoint(checkpoint), as_json)
    else:
        show_rows(list_models(), as_json)


def _show_one(
    name: str, shape: tuple[int, ...] | None, plot: Path | None, layers: bool, as_json: bool
) -> None:
    from deploy.commands.model_counts import describe_model, show_model

    described = describe_model(name, shape)
    if plot is not None:
        from deploy.commands.mac_plot import plot_stages

        plot_stages(described, plot)
    show_model(described, as_json, layers=layers)


def list_models() -> list[dict[str, Any]]:
    """Give one row a registered network; needs no torch, so that any machine can list them."""
    return [
        {
            "model": spec.name,
            "input": "x".join(map(str, spec.inputs[0].shape)),
            "weights": spec.checkpoint.name if spec.checkpoint else None,
            "source": spec.source,
        }
        for spec in MODELS.values()
    ]


def identify_checkpoint(path: Path) -> dict[str, Any]:
    """Give which registered networks a checkpoint belongs to; see `deploy.zoo.checkpoint`."""
    from deploy.zoo.checkpoint import identify

    return {"file": str(path), **asdict(identify(path))}


def show_identity(identity: Mapping[str, Any], as_json: bool) -> None:
    """Print which network a checkpoint belongs to, or what keeps it from the nearest."""
    if as_json:
        print_json(identity)
        return
    from deploy.zoo.checkpoint import shorten

    if identity["fits"]:
        text = f"{identity['file']} fits {', '.join(identity['fits'])}"
    elif identity["nearest"] is None:
        text = f"{identity['file']} fits no registered model and shares no tensor with any"
    else:
        text = (
            f"{identity['file']} fits no registered model; the nearest is {identity['nearest']}, "
            f"with {identity['shared']:.0%} of the tensors in common: "
            f"{shorten(identity['misfits'])}"
        )
    console().print(text, highlight=False, markup=False, soft_wrap=True)
