"""The photographs that scikit-image carries, split for the demo, as folders of image pairs.

They are the only real images available without a download, so the demo network is trained on
one part and judged on the other.
"""

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage import color, data, util

from calib.degrade import Degradation, degrade
from deploy.errors import OutputError
from deploy.files import unfinished

TRAINING = (
    "astronaut",
    "brick",
    "camera",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "motorcycle_left",
    "motorcycle_right",
    "rocket",
)
HELD_OUT = ("chelsea", "coffee")

DEMO_DATA_SCHEMA = 1  # 1: first version; raise it when the pictures change
_RECORD_NAME = "demo-data.json"
_PARTS = {"training": TRAINING, "held-out": HELD_OUT}
_KINDS = ("input", "target")


def load_photograph(name: str) -> np.ndarray:
    """Give one bundled photograph as (H, W, 3) float32 RGB in [0, 1]."""
    if name.startswith("motorcycle"):  # a pair with one loader
        pixels = data.stereo_motorcycle()[0 if name.endswith("left") else 1]
    else:
        pixels = getattr(data, name)()
    rgb = color.gray2rgb(pixels) if pixels.ndim == 2 else pixels[..., :3]
    return util.img_as_float32(rgb)


def degraded_pair(
    name: str, seed: int, how: Degradation = Degradation()
) -> tuple[np.ndarray, np.ndarray]:
    """Give (degraded, sharp) of one photograph, each (H, W, 3) float32; same seed, same pair."""
    sharp = load_photograph(name)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return degrade(sharp, rng, how), sharp


def write_demo_data(
    folder: Path, seed: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write the photographs as 8-bit PNG pairs, unless they are there already; give the folder.

    `folder`/training and `folder`/held-out each get input/NAME.png (degraded) and
    target/NAME.png (sharp). A folder of another seed or of other library versions is replaced.

    Args:
        on_progress: called after each photograph with how many are done, and of how many.

    Raises:
        OutputError: the folder cannot be written, or holds something else.
    """
    record = {
        "schema": DEMO_DATA_SCHEMA,
        "seed": seed,
        "degradation": asdict(Degradation()),
        "versions": demo_versions(),
        "photographs": {part: list(names) for part, names in _PARTS.items()},
    }
    return write_pairs(
        folder, record, lambda name: degraded_pair(name, seed), np.uint8, on_progress
    )


def demo_versions() -> dict[str, str]:
    """Give the versions of the libraries that the demo pictures depend on."""
    return {name: metadata.version(name) for name in ("numpy", "scikit-image", "scipy")}


def write_pairs(
    folder: Path,
    record: Mapping[str, Any],
    make: Callable[[str], tuple[np.ndarray, np.ndarray]],
    samples: type[np.uint8] | type[np.uint16],
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write PNG pairs as `write_demo_data` lays them out, unless a folder of this record is there.

    Args:
        record: what the pictures are made from; under "photographs", part -> their names.
        make: gives the input and the target of a name, in [0, 1].
        samples: of the files.
        on_progress: called after each pair with how many are done, and of how many.

    Raises:
        OutputError: the folder cannot be written, or holds something else.
    """
    names = [(part, name) for part, names in record["photographs"].items() for name in names]
    if _is_finished(folder, record, names):
        return folder
    _require_ours(folder)
    with unfinished(folder) as temporary:
        for done, (part, name) in enumerate(names, start=1):
            for kind, pixels in zip(_KINDS, make(name), strict=True):
                _save_png(temporary / part / kind / f"{name}.png", pixels, samples)
            if on_progress:
                on_progress(done, len(names))
        (temporary / _RECORD_NAME).write_text(json.dumps(record, indent=1) + "\n")
    return folder


def _is_finished(folder: Path, record: Mapping[str, Any], names: Sequence[tuple[str, str]]) -> bool:
    try:
        there = json.loads((folder / _RECORD_NAME).read_text())
    except (OSError, ValueError):
        return False
    files = [folder / part / kind / f"{name}.png" for part, name in names for kind in _KINDS]
    same = there == json.loads(json.dumps(record))
    return bool(same) and all(file.is_file() for file in files)


def _require_ours(folder: Path) -> None:
    """Refuse to replace what this module did not write."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file", "name a folder for the demo data")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _RECORD_NAME).exists():
        raise OutputError(f"{folder} holds other files", "name an empty folder for the demo data")


def _save_png(path: Path, pixels: np.ndarray, samples: type[np.uint8] | type[np.uint16]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    white = np.iinfo(samples).max
    Image.fromarray(np.rint(pixels * white).astype(samples)).save(path)
