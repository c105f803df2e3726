"""Keep what graphs make of the held-out photographs, for a report to show before and after."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from skimage.io import imsave
from skimage.util import img_as_ubyte

from deploy.artifact import Artifact
from deploy.commands.bench_cases import config_of, level_of
from deploy.commands.plans import metric_of
from deploy.commands.progress import clock
from deploy.fidelity import Probe
from deploy.files import unfinished
from deploy.inference import open_run

PICTURE_SIDE_PX = 256
MAX_PICTURES = 4  # images shown before and after; all are scored
PICTURES = "pictures"
SHARP = "sharp"


def keep_pictures(artifacts: Sequence[Artifact], probe: Probe, folder: Path) -> None:
    """Write the pictures of a finished session beside its rows, where they are not there yet.

    Raises:
        OutputError: the folder refuses.
    """
    if metric_of(folder) == "instructions":
        return  # a count is quick, and pictures are the same on every device
    judged = [artifact for artifact in artifacts if "psnr_db" in artifact.fidelity]
    if judged and probe.pairs and not (folder / PICTURES).exists():
        with clock("restoring the held-out photographs") as count:
            _write_pictures(judged, replace(probe, on_image=count), folder / PICTURES)


def _write_pictures(artifacts: Sequence[Artifact], probe: Probe, folder: Path) -> None:
    """Write a crop of each held-out image as it was given, as it is, and as each graph restores it.

    PICTURE.INDEX.LABEL.png, so that names sort in the order in which they are shown.
    """
    several = len({artifact.model for artifact in artifacts}) > 1
    with unfinished(folder) as temporary:
        temporary.mkdir()
        pictured = probe.pairs[:MAX_PICTURES]
        probe.on_image(0, len(pictured))
        for done, pair in enumerate(pictured, start=1):
            shown = [("degraded", pair.degraded), (SHARP, pair.sharp)]
            for artifact in artifacts:
                run = open_run(artifact.path, level=level_of(artifact), config=config_of(artifact))
                label = f"{artifact.model} {artifact.kind}" if several else artifact.kind
                shown.append((label, probe.restored(run, pair)))
            for index, (label, image) in enumerate(shown):
                name = f"{pair.name.replace('/', '-')}.{index:02d}.{label}.png"
                picture = _middle(probe.pipeline.picture(image))
                imsave(temporary / name, img_as_ubyte(picture), check_contrast=False)
            probe.on_image(done, len(pictured))


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (length - PICTURE_SIDE_PX) // 2) for length in image.shape[:2])
    return image[top : top + PICTURE_SIDE_PX, left : left + PICTURE_SIDE_PX]
