"""Which images a line of stages calibrates on, and which it is judged on."""

from pathlib import Path

import numpy as np

from calib.pairs import load_pairs
from calib.photographs import write_demo_data
from deploy.artifact import Artifact
from deploy.commands.progress import clock, note
from deploy.errors import UsageError
from deploy.fidelity import Probe, tiles
from deploy.files import file_sha256
from deploy.onnx_file import any_image_input, load_graph
from deploy.zoo.registry import MODELS, find_model

MAX_PROBE_CROPS = 12
DYNAMIC_SIDE_PX = 256  # what a model of open size is measured at


def demo_data(build: Path) -> Path:
    """Give the folder of degraded and sharp bundled photographs; made on first use."""
    with clock("preparing the demo photographs"):
        return write_demo_data(build / "demo-data")


def is_demo(model: str, weights_sha256: str | None) -> bool:
    """Say whether these are weights that this project trained on the demo photographs.

    A network with TLC counts: its weights are the same, and its larger images are what TLC is for.
    One without its normalization never does, whatever its weights: see `ModelSpec.trained`.
    """
    name = model.removesuffix("-local")
    if name not in MODELS or weights_sha256 is None:
        return False
    shipped = find_model(name).checkpoint
    return shipped is not None and shipped.is_file() and file_sha256(shipped) == weights_sha256


def training_folder(build: Path, data: Path | None, artifact: Artifact) -> Path:
    """Give the folder of calibration images: the user's, else the demo photographs."""
    if data is not None:
        return data
    if not is_demo(artifact.model, artifact.params.get("weights_sha256")):
        note(
            f"calibrating {artifact.model} on the demo photographs; "
            "pass --data FOLDER with images like those it will see"
        )
    return demo_data(build) / "training" / "input"


def probe_for(
    build: Path,
    shape: tuple[int, ...],
    *,
    model: str,
    weights_sha256: str | None,
    trained: bool = True,
    held_out: Path | None,
) -> Probe:
    """Give the images that stages measure on.

    Args:
        shape: the model's input, (1, 3, S, S).
        trained: False for seeded random weights, which have no quality to measure.
        held_out: a folder with input/ and target/; None: the demo's held-out photographs, which
            only the demo weights are scored on.

    Raises:
        UsageError: the model does not take square RGB images.
    """
    _require_square_rgb(model, shape)
    demo = held_out is None
    folder = demo_data(build) / "held-out" if held_out is None else held_out
    pairs = load_pairs(folder)
    windows = [crop for pair in pairs for crop in tiles(pair.degraded, shape[-1])]
    chosen = np.linspace(0, len(windows) - 1, min(len(windows), MAX_PROBE_CROPS)).astype(int)
    scored = trained and (not demo or is_demo(model, weights_sha256))
    return Probe(
        name="demo photographs, held out" if demo else f"{folder} ({len(pairs)} pairs)",
        crops=[windows[index] for index in chosen],
        pairs=pairs if scored else (),
    )


def probe_for_artifact(build: Path, artifact: Artifact, held_out: Path | None) -> Probe:
    """Give the images that an artifact, and what is made from it, are measured on."""
    shape = any_image_input(load_graph(artifact.path), artifact.path).shape
    return probe_for(
        build,
        tuple(side or DYNAMIC_SIDE_PX for side in shape),
        model=artifact.model,
        weights_sha256=artifact.params.get("weights_sha256"),
        trained=artifact.params.get("trained") is not False,
        held_out=held_out,
    )


def _require_square_rgb(model: str, shape: tuple[int, ...]) -> None:
    if shape[:2] != (1, 3) or shape[2] != shape[3]:
        raise UsageError(
            f"{model} takes {'x'.join(map(str, shape))}", "a square RGB input 1x3xSxS is needed"
        )
