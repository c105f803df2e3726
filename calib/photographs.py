"""The photographs that scikit-image carries, split for the demo, as folders of image pairs.

They are the only real images available without a download, so the demo network is trained on
one part and judged on the other.
"""

import json
import zlib
from collections.abc import Callable
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
    record = _demo_record(seed)
    if _is_finished(folder, record):
        return folder
    _require_ours(folder)
    names = [(part, name) for part, names in _PARTS.items() for name in names]
    with unfinished(folder) as temporary:
        for done, (part, name) in enumerate(names, start=1):
            for kind, pixels in zip(("input", "target"), degraded_pair(name, seed), strict=True):
                _save_png(temporary / part / kind / f"{name}.png", pixels)
            if on_progress:
                on_progress(done, len(names))
        (temporary / _RECORD_NAME).write_text(json.dumps(record, indent=1) + "\n")
    return folder


def _demo_record(seed: int) -> dict[str, Any]:
    return {
        "schema": DEMO_DATA_SCHEMA,
        "seed": seed,
        "degradation": asdict(Degradation()),
        "versions": {name: metadata.version(name) for name in ("numpy", "scikit-image", "scipy")},
        "photographs": {part: list(names) for part, names in _PARTS.items()},
    }


def _is_finished(folder: Path, record: dict[str, Any]) -> bool:
    try:
        there = json.loads((folder / _RECORD_NAME).read_text())
    except (OSError, ValueError):
        return False
    files = [
        folder / part / kind / f"{name}.png"
        for part, names in _PARTS.items()
        for kind in ("input", "target")
        for name in names
    ]
    return bool(there == record) and all(file.is_file() for file in files)


def _require_ours(folder: Path) -> None:
    """Refuse to replace what this module did not write."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file", "name a folder for the demo data")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _RECORD_NAME).exists():
        raise OutputError(f"{folder} holds other files", "name an empty folder for the demo data")


def _save_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(path)
