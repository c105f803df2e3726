"""The images that a recipe is chosen on: never those reported, never those calibrated on."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calib.crops import CropSet, choose_crops, read_crops
from calib.images import list_images
from calib.pairs import Pair, load_pairs
from deploy.artifact import Artifact
from deploy.commands.images import demo_data, is_demo, pipeline_of, through, training_images
from deploy.errors import DataError
from deploy.fidelity import Probe, Size, tiles
from deploy.pipeline import PackedRaw, Pipeline

HELD_BACK_SHARE = 0.4  # of a small folder; a large one gives the most images
FEWEST_IMAGES = 5  # to spare some of; of fewer, other crops of the same images are judged on
MOST_HELD_BACK = 16
WINDOWS = 16  # that a recipe is judged on


@dataclass(frozen=True)
class Window:
    """A part of an image pair, of the size that the network takes."""

    name: str
    degraded: np.ndarray
    sharp: np.ndarray


def held_back(build: Path, data: Path | None, pipeline: Pipeline) -> list[str]:
    """Give the training images that are left out of calibration to choose a recipe on.

    Evenly spread over the folder; none where it holds too few.
    """
    folder = training_images(build, data, pipeline)
    names = [path.relative_to(folder).as_posix() for path in list_images(folder)]
    if len(names) < FEWEST_IMAGES:
        return []
    count = min(MOST_HELD_BACK, int(len(names) * HELD_BACK_SHARE))
    places = np.linspace(0, len(names) - 1, count + 2)[1:-1].round().astype(int)
    return [names[place] for place in dict.fromkeys(places.tolist())]


def search_probe(
    build: Path,
    data: Path | None,
    artifact: Artifact,
    size: Size,
    *,
    images: Collection[str],
    search_on: Path | None,
    seed: int,
) -> Probe:
    """Give the windows that recipes are judged on; with their truth where there is one.

    Args:
        images: as `held_back` gave them.
        search_on: the user's folder with input/ and target/; None takes `images`.
    """
    pipeline = pipeline_of(artifact)
    if search_on is not None and artifact.params.get("trained") is not False:
        pairs = load_pairs(search_on, pipeline.read)
    else:
        pairs = _demo_pairs(build, artifact, images) if data is None else []
    if pairs:
        windows = _windows(pairs, size, pipeline)
        cut = [tiles(one.degraded, size, pipeline.for_image(one.name))[0] for one in windows]
        return Probe(f"{len(windows)} windows with truth", cut, windows, pipeline)
    folder = training_images(build, data, pipeline)
    others = {path.relative_to(folder).as_posix() for path in list_images(folder)} - set(images)
    # other crops than those calibrated on, where the images are the same
    chosen = _up_to(WINDOWS, folder, size[0] * pipeline.px, seed + 1, others if images else ())
    return Probe(
        f"{len(chosen.crops)} crops", list(read_crops(through(chosen, pipeline))), (), pipeline
    )


def _up_to(count: int, folder: Path, side: int, seed: int, leave_out: Collection[str]) -> CropSet:
    """Choose crops; of images too small or too few for so many, half as many, and so on."""
    try:
        return choose_crops(folder, count=count, side=side, seed=seed, leave_out=leave_out)
    except DataError:
        if count == 1:
            raise
    return _up_to(count // 2, folder, side, seed, leave_out)


def _demo_pairs(build: Path, artifact: Artifact, images: Collection[str]) -> list[Pair]:
    """Give those of the demo's images, where their blur and noise are what the network removes."""
    pipeline = pipeline_of(artifact)
    ours = is_demo(artifact.model, artifact.params.get("weights_sha256"))
    trained = artifact.params.get("trained") is not False  # else it has no quality to keep
    if not trained or not (ours or isinstance(pipeline, PackedRaw)):
        return []
    stems = {Path(name).with_suffix("").as_posix() for name in images}
    pairs = load_pairs(demo_data(build, pipeline) / "training", pipeline.read)
    return [pair for pair in pairs if pair.name in stems]


def _windows(pairs: Sequence[Pair], size: Size, pipeline: Pipeline) -> list[Window]:
    """Cut windows from the diagonal of each image, as many of each."""
    each = math.ceil(WINDOWS / len(pairs))
    found = []
    for pair in pairs[:WINDOWS]:
        degraded, sharp = pair.degraded, pair.sharp
        height, width = (side * pipeline.px for side in size)
        room = degraded.shape[0] - height, degraded.shape[1] - width
        for share in np.linspace(0, 1, each + 2)[1:-1]:
            top, left = (
                max(0, int(length * share)) // pipeline.px * pipeline.px for length in room
            )
            at = np.s_[top : top + height, left : left + width]
            found.append(Window(pair.name, degraded[at], sharp[at]))
    return found
