"""Which images a line of stages calibrates on, and which it is judged on."""

import json
import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from calib.crops import CropSet, choose_crops
from calib.pairs import Pair, load_pairs
from calib.photographs import write_demo_data
from calib.raw_photographs import DEMO_ISOS, write_raw_demo_data
from deploy.artifact import Artifact
from deploy.commands.progress import clock, note
from deploy.errors import DataError, UsageError
from deploy.fidelity import Probe, Size, tiles
from deploy.files import file_sha256
from deploy.onnx_file import any_image_input, load_graph
from deploy.pipeline import RGB, PackedRaw, Pipeline, pipeline_of_record
from deploy.zoo.registry import MODELS, find_model

MAX_PROBE_CROPS = 12
DYNAMIC_SIDE_PX = 256  # what a model of open size is measured at


def demo_data(build: Path, pipeline: Pipeline = RGB) -> Path:
    """Give the folder of degraded and sharp bundled photographs; made on first use.

    Raw ones are mosaics with the noise of the pipeline's sensor.
    """
    with clock("preparing the demo photographs") as count:
        if isinstance(pipeline, PackedRaw):
            isos = DEMO_ISOS if pipeline.iso is None else (pipeline.iso,)
            folder = build / "demo-raw"
            return write_raw_demo_data(
                folder, pipeline.pattern, pipeline.sensor, isos=isos, on_progress=count
            )
        return write_demo_data(build / "demo-data", on_progress=count)


def pipeline_of(artifact: Artifact) -> Pipeline:
    """Give the pipeline that an artifact was made with; RGB for a user's own file."""
    record = artifact.params.get("pipeline")
    return RGB if record is None else pipeline_of_record(record)


def is_demo(model: str, weights_sha256: str | None) -> bool:
    """Say whether these are weights that this project trained on the demo photographs.

    A network with TLC counts: its weights are the same, and its larger images are what TLC is for.
    One without its normalization never does, whatever its weights: see `ModelSpec.trained`.
    """
    name = re.sub(r"-local(-\d+px)?$", "", model)
    if name not in MODELS or weights_sha256 is None:
        return False
    shipped = find_model(name).checkpoint
    return shipped is not None and shipped.is_file() and file_sha256(shipped) == weights_sha256


def training_images(build: Path, data: Path | None, pipeline: Pipeline) -> Path:
    """Give the folder of training images: the user's, else the demo photographs."""
    return data or demo_data(build, pipeline) / "training" / "input"


def calibration_crops(
    build: Path,
    data: Path | None,
    artifact: Artifact,
    *,
    count: int,
    size: Size,
    seed: int,
    leave_out: Collection[str] = (),
) -> CropSet:
    """Choose the crops to calibrate on, from the user's images, else from the demo photographs.

    Args:
        data: folder of images as the model's pipeline takes them.
        size: of the model's input.
        leave_out: images of the folder to take no crop of.

    Raises:
        DataError, UsageError: as `choose_crops`; a raw image whose ISO or colours are not known.
    """
    pipeline = pipeline_of(artifact)
    side, width = size
    if side != width:
        raise UsageError(
            f"{artifact.path} takes {side}x{width} px, and calibration crops are square",
            "export it at a square --shape to quantize it",
        )
    if data is None and not is_demo(artifact.model, artifact.params.get("weights_sha256")):
        note(
            f"calibrating {artifact.model} on the demo photographs; "
            "pass --data FOLDER with images like those it will see"
        )
    folder = training_images(build, data, pipeline)
    chosen = choose_crops(
        folder, count=count, side=side * pipeline.px, seed=seed, leave_out=leave_out
    )
    return through(chosen, pipeline)


def through(chosen: CropSet, pipeline: Pipeline) -> CropSet:
    """Give crops as a pipeline's network takes them. Raises DataError of one that it cannot."""
    if pipeline == RGB:
        return chosen
    for crop in chosen.crops:  # now, and not when the crop is read
        pipeline.for_image(crop.image)
        if crop.top % pipeline.px or crop.left % pipeline.px:
            raise DataError(f"{crop.image} has an odd side", "a Bayer mosaic has even sides")

    def to_input(window: np.ndarray, name: str) -> np.ndarray:
        return pipeline.for_image(name).to_network(pipeline.image(window, name))

    return chosen.through(to_input, json.dumps(pipeline.record(), sort_keys=True))


def probe_for(
    build: Path,
    shape: tuple[int, ...],
    *,
    model: str,
    weights_sha256: str | None,
    trained: bool = True,
    held_out: Path | None,
    pipeline: Pipeline = RGB,
) -> Probe:
    """Give the images that stages measure on.

    Args:
        shape: the model's input, (1, C, H, W) as its pipeline gives it.
        trained: False for seeded random weights, which have no quality to measure.
        held_out: a folder with input/ and target/; None: the demo's held-out photographs.

    Raises:
        UsageError: the model does not take what its pipeline gives.
    """
    _require_fitting(model, shape, pipeline)
    demo = held_out is None
    folder = demo_data(build, pipeline) / "held-out" if held_out is None else held_out
    pairs = load_pairs(folder, pipeline.read)
    # Our own blur and noise judge our own weights only; a sensor's noise is what raw networks are
    # trained to remove, and the pipeline says which sensor
    fair = not demo or is_demo(model, weights_sha256) or isinstance(pipeline, PackedRaw)
    return Probe(
        name=_demo_name(pipeline) if demo else f"{folder} ({len(pairs)} pairs)",
        crops=_probe_crops(pairs, (shape[-2], shape[-1]), pipeline),
        pairs=pairs if trained and fair else (),
        pipeline=pipeline,
    )


def _probe_crops(pairs: Sequence[Pair], size: Size, pipeline: Pipeline) -> list[np.ndarray]:
    """Cut a few crops, spread over the images; one image is in memory at a time."""
    images = _spread(pairs, MAX_PROBE_CROPS)
    each = math.ceil(MAX_PROBE_CROPS / len(images))
    return [
        crop
        for pair in images
        for crop in _spread(tiles(pair.degraded, size, pipeline.for_image(pair.name)), each)
    ]


def _spread(things: Sequence[Any], most: int) -> list[Any]:
    """Give at most so many of a sequence, evenly spread over it."""
    places = np.linspace(0, len(things) - 1, min(len(things), most)).round().astype(int)
    return [things[place] for place in places]


def _demo_name(pipeline: Pipeline) -> str:
    kind = "demo photographs" if pipeline == RGB else "demo photographs as raw"
    return f"{kind}, held out"


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
        pipeline=pipeline_of(artifact),
    )


def _require_fitting(model: str, shape: tuple[int, ...], pipeline: Pipeline) -> None:
    if shape[:2] != (1, pipeline.channels):
        raise UsageError(
            f"{model} takes {'x'.join(map(str, shape))}",
            f"its {pipeline.name} images come as 1x{pipeline.channels}xHxW; "
            "see --shape and --pipeline of `mofa-deploy export`",
        )
