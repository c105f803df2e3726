"""Held-out images: each degraded file with its sharp one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calib.images import image_size, list_images, load_image
from deploy.errors import DataError


@dataclass(frozen=True)
class Pair:
    """A degraded image and its truth; pixels are read anew each time they are asked for.

    Attributes:
        name: path of both inside their folders, without suffix.
        read: gives a file's image.
    """

    name: str
    degraded_path: Path
    sharp_path: Path
    read: Callable[[Path], np.ndarray] = load_image

    @property
    def degraded(self) -> np.ndarray:
        """What the network gets: (H, W, 3) float32 RGB in [0, 1]. Raises DataError."""
        return self.read(self.degraded_path)

    @property
    def sharp(self) -> np.ndarray:
        """What it should give: (H, W, 3) float32 RGB in [0, 1]. Raises DataError."""
        return self.read(self.sharp_path)


def load_pairs(folder: Path, read: Callable[[Path], np.ndarray] = load_image) -> list[Pair]:
    """Give the pairs of `folder`/input and `folder`/target, matched by name, in its order.

    Args:
        read: gives a file's image, where that is not RGB.

    Raises:
        DataError: a missing folder or partner, two files of one name, or unlike sizes.
    """
    degraded, sharp = _by_name(folder / "input"), _by_name(folder / "target")
    _require_partners(degraded, sharp, folder / "target")
    _require_partners(sharp, degraded, folder / "input")
    pairs = [Pair(name, degraded[name], sharp[name], read) for name in sorted(degraded)]
    for pair in pairs:
        _require_same_size(pair)
    return pairs


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in list_images(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise DataError(f"{found[name]} and {path} have one name", "remove one of them")
        found[name] = path
    return found


def _require_partners(have: Mapping[str, Path], partners: Mapping[str, Path], where: Path) -> None:
    alone = [path for name, path in have.items() if name not in partners]
    if alone:
        raise DataError(
            f"{alone[0]} has no partner in {where} ({len(alone)} such)",
            "each file in input/ needs one of the same name in target/, and the reverse",
        )


def _require_same_size(pair: Pair) -> None:
    (height, width), (sharp_height, sharp_width) = map(
        image_size, (pair.degraded_path, pair.sharp_path)
    )
    if (height, width) != (sharp_height, sharp_width):
        raise DataError(
            f"{pair.degraded_path} is {width}x{height}, "
            f"{pair.sharp_path} is {sharp_width}x{sharp_height}",
            "a pair needs one size",
        )
