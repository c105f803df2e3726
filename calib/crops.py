"""Square crops of a folder's images: which ones, chosen from a seed, and their pixels.

Choosing reads headers and file bytes only; pixels are read by `read_crops`, image by image.
"""

import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from calib.images import decode_image, image_size, list_images, unit_float
from deploy.errors import DataError, UsageError
from deploy.files import file_sha256

STRIDES_PX = (256, 128, 64, 32, 16)  # tried in this order; a larger one repeats fewer pixels


@dataclass(frozen=True)
class Crop:
    """A square window of one image.

    Attributes:
        image: path inside the folder, with forward slashes.
        top: first row, in px.
        left: first column, in px.
        side: rows and columns, in px.
    """

    image: str
    top: int
    left: int
    side: int


def rgb_input(window: np.ndarray, image: str) -> np.ndarray:
    """Give a window (side, side, 3) as decoded as (1, 3, side, side) float32 in [0, 1]."""
    return unit_float(window.transpose(2, 0, 1)[None])


@dataclass(frozen=True)
class CropSet:
    """Which crops of a folder, in the order they are read: by image, then from the top left.

    Attributes:
        stride: distance of neighbouring windows in px, as asked for or as found.
        seed: of the choice.
        sha256: over the list and the bytes of the images it names, wherever the folder lies.
        to_input: makes what a network takes of a window as decoded and its image's name.
    """

    folder: Path
    crops: tuple[Crop, ...]
    side: int
    stride: int
    seed: int
    sha256: str
    to_input: Callable[[np.ndarray, str], np.ndarray] = rgb_input

    def through(self, to_input: Callable[[np.ndarray, str], np.ndarray], key: str) -> "CropSet":
        """Give the same crops as another network input.

        Args:
            key: what `to_input` does, in words or numbers; it enters the sha256.
        """
        sha256 = hashlib.sha256(f"{self.sha256} {key}".encode()).hexdigest()
        return replace(self, to_input=to_input, sha256=sha256)

    def record(self) -> dict[str, Any]:
        """Give what a sidecar keeps: JSON-able, one line an image, nothing of this machine."""
        return {
            "crops": len(self.crops),
            "side": self.side,
            "stride": self.stride,
            "seed": self.seed,
            "sha256": self.sha256,
            "top_left": {image: _window_text(crops) for image, crops in _by_image(self.crops)},
        }


def choose_crops(
    folder: Path,
    *,
    count: int = 1000,
    side: int = 256,
    stride: int | None = None,
    seed: int = 0,
    leave_out: Collection[str] = (),
) -> CropSet:
    """Choose windows of a folder's images, spread evenly over them; same seed, same choice.

    Windows stand on a grid, the last of each row and column flush with the border. Every image
    gives the same number, but for one more or less; those with too few windows give all they
    have, and the others make up for it.

    Args:
        count: how many crops.
        side: of a crop, in px.
        stride: of the grid, in px; None takes the largest of STRIDES_PX with enough windows.
        leave_out: images, by their path inside the folder, to take no crop of.

    Raises:
        UsageError: a count, side, stride or seed out of range.
        DataError: no images, one that cannot be read or is smaller than a crop, or too few
            windows.
    """
    for name, value, least in (
        ("count", count, 1),
        ("side", side, 1),
        ("stride", stride, 1),
        ("seed", seed, 0),
    ):
        if value is not None and value < least:
            raise UsageError(f"{name} of crops is {value}", f"pass {least} or more")
    names = {path.relative_to(folder).as_posix(): path for path in list_images(folder)}
    sizes = {name: image_size(path) for name, path in names.items() if name not in leave_out}
    _require_large_enough(folder, sizes, side)
    stride = _fitting_stride(folder, sizes, count, side, stride)
    quotas = _quotas([_windows(size, side, stride) for size in sizes.values()], count, seed)
    crops = tuple(
        Crop(image, top, left, side)
        for (image, (height, width)), quota in zip(sizes.items(), quotas, strict=True)
        for top, left in _pick(
            _starts(height, side, stride), _starts(width, side, stride), quota, _rng(seed, image)
        )
    )
    return CropSet(folder, crops, side, stride, seed, _sha256(folder, crops, side))


def read_crops(crop_set: CropSet) -> Iterator[np.ndarray]:
    """Give each crop as its set's `to_input` makes it, in the set's order.

    That is (1, 3, side, side) float32 RGB in [0, 1], contiguous, unless the set says otherwise.
    Each image is decoded once; one image and one crop are in memory at a time.

    Raises:
        DataError: an image that cannot be read, has the same value everywhere, or is not the
            one the crops were chosen from.
    """
    for image, crops in _by_image(crop_set.crops):
        path = crop_set.folder / image
        pixels = decode_image(path)
        _require_varied(path, pixels)
        for crop in crops:
            window = pixels[crop.top : crop.top + crop.side, crop.left : crop.left + crop.side]
            if window.shape[:2] != (crop.side, crop.side):
                raise DataError(f"{path} changed after its crops were chosen", "run it again")
            yield crop_set.to_input(window, image)


def _require_large_enough(folder: Path, sizes: Mapping[str, tuple[int, int]], side: int) -> None:
    for image, (height, width) in sizes.items():
        if min(height, width) < side:
            raise DataError(
                f"{folder / image} is {width}x{height}, a crop needs {side}x{side}",
                "remove it, or replace it with a larger one",
            )


def _require_varied(path: Path, pixels: np.ndarray) -> None:
    if (pixels == pixels[0, 0]).all():
        value = ", ".join(f"{channel:g}" for channel in unit_float(pixels[0, 0]))
        raise DataError(
            f"{path} has the same value everywhere ({value})", "remove it: it holds no picture"
        )


def _starts(length: int, side: int, stride: int) -> list[int]:
    """Give the first pixel of each window along one axis, the last one flush with the end."""
    starts = list(range(0, length - side, stride))
    return [*starts, length - side]


def _windows(size: tuple[int, int], side: int, stride: int) -> int:
    height, width = size
    return len(_starts(height, side, stride)) * len(_starts(width, side, stride))


def _fitting_stride(
    folder: Path,
    sizes: Mapping[str, tuple[int, int]],
    count: int,
    side: int,
    stride: int | None,
) -> int:
    for candidate in STRIDES_PX if stride is None else (stride,):
        windows = sum(_windows(size, side, candidate) for size in sizes.values())
        if windows >= count:
            return candidate
    raise DataError(
        f"{folder} has {windows} windows of {side}x{side} at stride {candidate} "
        f"in {len(sizes)} images, {count} are needed",
        f"add images, or pass --crops {windows}",
    )


def _quotas(windows: list[int], count: int, seed: int) -> list[int]:
    """Spread `count` over images that have so many windows each; the seed says who gives one more.

    `count` is at most their sum.
    """
    quotas = [0] * len(windows)
    order = np.random.default_rng(seed).permutation(len(windows)).tolist()
    while missing := count - sum(quotas):
        able = [index for index in order if quotas[index] < windows[index]]
        share = max(1, missing // len(able))
        for index in able[:missing]:
            quotas[index] = min(windows[index], quotas[index] + share)
    return quotas


def _rng(seed: int, image: str) -> np.random.Generator:
    """Give the generator of one image, so that the others in the folder do not shift it."""
    return np.random.default_rng([seed, zlib.crc32(image.encode(errors="surrogateescape"))])


def _pick(
    tops: list[int], lefts: list[int], quota: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    chosen = rng.choice(len(tops) * len(lefts), quota, replace=False)
    return [(tops[one // len(lefts)], lefts[one % len(lefts)]) for one in sorted(chosen.tolist())]


def _by_image(crops: tuple[Crop, ...]) -> Iterator[tuple[str, list[Crop]]]:
    for image, group in groupby(crops, key=lambda crop: crop.image):
        yield image, list(group)


def _window_text(crops: list[Crop]) -> str:
    return " ".join(f"{crop.top},{crop.left}" for crop in crops)


def _sha256(folder: Path, crops: tuple[Crop, ...], side: int) -> str:
    content = [
        [image, _image_sha256(folder / image), _window_text(windows)]
        for image, windows in _by_image(crops)
    ]
    return hashlib.sha256(json.dumps([side, content]).encode()).hexdigest()


def _image_sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})", "allow reading it") from error
