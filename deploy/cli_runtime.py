"""The commands for the ONNX Runtime libraries of phones and of the emulated ARM core."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli_options import Json

app = typer.Typer(
    name="runtime",
    help="Keep the ONNX Runtime libraries that phones, and the emulated ARM core, measure with.",
    rich_markup_mode=None,
)


@app.command(epilog="Example: mofa-deploy runtime add onnxruntime-android-1.24.3.aar")
def add(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="an .aar of onnxruntime-android, or a libonnxruntime.so", metavar="FILE"
        ),
    ] = None,
    arm64: Annotated[
        bool,
        typer.Option("--arm64", help="fetch what `bench --device arm64` needs; Linux only, 35 MB"),
    ] = False,
    json: Json = False,
) -> None:
    """Keep the libraries of a file, so that `bench` finds them; or what --device arm64 needs.

    --arm64 takes qemu-user and the arm64 runtimes from the system where it has them, else unpacks
    them from its packages; the wheel comes through pip. All is kept in the user's cache, with
    hashes. Nothing is installed, and the system's package configuration stays as it is.
    """
    from deploy.commands.runtime import add_arm64, add_file, require_one

    require_one(file, arm64)
    if arm64:
        add_arm64(json)
    if file is not None:
        add_file(file, json)


@app.command("list", epilog="Example: mofa-deploy runtime list")
def list_(json: Json = False) -> None:
    """List what is kept; `bench` also looks into the caches of Maven and Gradle."""
    from deploy.commands.runtime import list_kept

    list_kept(json)
