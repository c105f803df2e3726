"""The commands for the ONNX Runtime libraries of phones. Heavy packages load inside them."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli_options import Json

app = typer.Typer(
    name="runtime",
    help="Keep the ONNX Runtime libraries that phones are measured with.",
    rich_markup_mode=None,
)


@app.command(epilog="Example: mofa-deploy runtime add onnxruntime-android-1.24.3.aar")
def add(
    file: Annotated[
        Path, typer.Argument(help="an .aar of onnxruntime-android, or a libonnxruntime.so")
    ],
    json: Json = False,
) -> None:
    """Keep the libraries of a file, so that `bench` finds them."""
    from deploy.commands.runtime import add_file

    add_file(file, json)


@app.command("list", epilog="Example: mofa-deploy runtime list")
def list_(json: Json = False) -> None:
    """List the libraries that are kept; `bench` also looks into the caches of Maven and Gradle."""
    from deploy.commands.runtime import list_kept

    list_kept(json)
