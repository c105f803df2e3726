"""How an image becomes what a network takes, and what it gives becomes an image again.

A pipeline belongs to the ModelSpec and travels as a record in every artifact's params, so that
calibration, fidelity and device checks see what the network sees.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from calib.images import decode_image, unit_float
from calib.raw import (
    DISPLAY_GAMMA,
    OPPO_RENO_10X,
    PATTERNS,
    Sensor,
    mosaic_of_samples,
    pack,
    turn_to_rggb,
    unpack,
)
from deploy.errors import DataError, UsageError

WHOLE_MULTIPLE = 32  # what PMRID's code pads whole images to, although the network needs 16


@dataclass(frozen=True)
class Rgb:
    """Images (H, W, 3) RGB in [0, 1] <-> (1, 3, H, W), the same values."""

    name: ClassVar[str] = "rgb"
    channels: ClassVar[int] = 3
    px: ClassVar[int] = 1  # side of the image's pixels that make one of the network's
    peak: ClassVar[float] = 1.0  # the network's values go from 0 to this
    turns: ClassVar[bool] = True  # an image mirrored or turned by 90 degrees is still one

    def for_image(self, name: str) -> "Rgb":
        """Give the pipeline of one image; for RGB, all images are alike."""
        return self

    def image(self, samples: np.ndarray, name: str) -> np.ndarray:
        """Give decoded samples (H, W, 3) of any depth as an image."""
        return unit_float(samples)

    def read(self, path: Path) -> np.ndarray:
        """Give a file as an image. Raises DataError."""
        return self.image(decode_image(path), str(path))

    def to_network(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 3) -> (1, 3, H, W) float32."""
        return np.ascontiguousarray(image.transpose(2, 0, 1)[None])

    def from_network(self, output: np.ndarray) -> np.ndarray:
        """(1, 3, H, W) -> (H, W, 3), not clipped."""
        return output[0].transpose(1, 2, 0)

    def planes(self, image: np.ndarray) -> np.ndarray:
        """Give an image as (H, W, C), neighbours in a plane being neighbours in the scene."""
        return image

    def picture(self, image: np.ndarray) -> np.ndarray:
        """Give an image as (H, W, 3) RGB in [0, 1], for people to look at."""
        return image

    def pad_whole(self, image: np.ndarray) -> np.ndarray:
        """Give an image with the margin that it has when it is restored in one piece."""
        return image

    def crop_whole(self, padded: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Cut the margin of `pad_whole(image)` off again."""
        return padded

    def record(self) -> dict[str, Any]:
        """Give it as JSON-able values; `pipeline_of_record` gives it back."""
        return {"name": self.name}


@dataclass(frozen=True)
class PackedRaw:
    """Bayer mosaics (H, W) in [0, 1], H and W even <-> (1, 4, H/2, W/2), planes R, G, G, B.

    Clipped, k-sigma transform, times `scale`. The k-sigma transform makes the noise of any ISO
    that of the anchor ISO, which is the only one that the network knows.

    Attributes:
        pattern: colours of the mosaic's first 2x2 pixels; the network sees RGGB.
        iso: of all images, or None: each image's name says its own (`scene.iso3200.png`).
        anchor_iso: that the network was trained at.
        scale: of the values that the network takes and gives.
        sensor: that took the images.

    Source: PMRID (ECCV 2020), section 3.2, and MegEngine/PMRID@8ebb9e8:run_benchmark.py.
    """

    name: ClassVar[str] = "packed-raw"
    channels: ClassVar[int] = 4
    px: ClassVar[int] = 2
    turns: ClassVar[bool] = False  # the order of the colours would change

    pattern: str = "BGGR"
    iso: float | None = None
    anchor_iso: float = 1600
    scale: float = 256
    sensor: Sensor = OPPO_RENO_10X

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise UsageError(f"Bayer pattern {self.pattern!r}", f"use one of {', '.join(PATTERNS)}")
        numbers = {
            "iso": 1 if self.iso is None else self.iso,
            "anchor_iso": self.anchor_iso,
            "scale": self.scale,
            "white_level": self.sensor.white_level,
            "gain at anchor_iso": self.sensor.gain_at(self.anchor_iso),
            "read variance at anchor_iso": self.sensor.read_variance_at(self.anchor_iso),
        }
        for name, value in numbers.items():
            if not 0 < value < np.inf:
                raise UsageError(f"{name} of a raw pipeline is {value}", "it must be above 0")

    @property
    def peak(self) -> float:
        """The network's values go from 0 to this, at the anchor ISO."""
        return self.scale

    def for_image(self, name: str) -> "PackedRaw":
        """Give the pipeline of one image, whose name says its ISO unless `iso` does.

        Raises:
            DataError: it does not.
        """
        if self.iso is not None:
            return self
        found = re.findall(r"iso[-_ ]?(\d+)", name, re.IGNORECASE)
        if not found:
            raise DataError(
                f"{name} does not say its ISO",
                "name it like scene.iso3200.png, or pass --pipeline with one iso for all",
            )
        return replace(self, iso=float(found[-1]))

    def image(self, samples: np.ndarray, name: str) -> np.ndarray:
        """Give decoded samples (H, W, 3) of 16-bit gray as a mosaic. Raises DataError."""
        return mosaic_of_samples(samples, name)

    def read(self, path: Path) -> np.ndarray:
        """Give a file as a mosaic. Raises DataError."""
        return self.image(decode_image(path), str(path))

    def to_network(self, image: np.ndarray) -> np.ndarray:
        """(H, W) -> (1, 4, H/2, W/2) float32."""
        slope, offset = self._k_sigma()
        planes = pack(turn_to_rggb(image, self.pattern)).clip(0, 1)
        return ((planes * slope + offset) * self.scale).astype(np.float32)[None]

    def from_network(self, output: np.ndarray) -> np.ndarray:
        """(1, 4, H/2, W/2) -> (H, W), not clipped."""
        slope, offset = self._k_sigma()
        planes = (output[0] / self.scale - offset) / slope
        return turn_to_rggb(unpack(planes), self.pattern)

    def _k_sigma(self) -> tuple[float, float]:
        """Give slope and offset of the transform, for values in [0, 1]."""
        if self.iso is None:
            raise ValueError("the ISO is an image's own: call for_image(name) first")
        gain, anchor_gain = (self.sensor.gain_at(iso) for iso in (self.iso, self.anchor_iso))
        read, anchor_read = (
            self.sensor.read_variance_at(iso) for iso in (self.iso, self.anchor_iso)
        )
        offset = (read / gain**2 - anchor_read / anchor_gain**2) * anchor_gain
        return anchor_gain / gain, offset / self.sensor.white_level

    def planes(self, image: np.ndarray) -> np.ndarray:
        """Give a mosaic (H, W) as (H/2, W/2, 4)."""
        return pack(turn_to_rggb(image, self.pattern)).transpose(1, 2, 0)

    def picture(self, image: np.ndarray) -> np.ndarray:
        """Give a mosaic (H, W) as (H/2, W/2, 3) RGB with display gamma; no white balance."""
        red, green, other_green, blue = pack(turn_to_rggb(image, self.pattern)).clip(0, 1)
        linear = np.stack([red, (green + other_green) / 2, blue], axis=-1)
        return np.power(linear, 1 / DISPLAY_GAMMA, dtype=np.float32)

    def pad_whole(self, image: np.ndarray) -> np.ndarray:
        """Add black around a mosaic, up to a multiple of 32 planes' pixels, 32 more if it is one.

        Source: as above; odd remainders, which that code does not handle, get the pixel that is
        left over at the bottom or right.
        """
        return np.pad(image, self._margins(image))

    def crop_whole(self, padded: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Cut the margin of `pad_whole(image)` off again."""
        (top, _), (left, _) = self._margins(image)
        return padded[top : top + image.shape[0], left : left + image.shape[1]]

    def _margins(self, image: np.ndarray) -> list[tuple[int, int]]:
        margins = []
        for side in image.shape:
            room = WHOLE_MULTIPLE - side // 2 % WHOLE_MULTIPLE
            margins.append((2 * (room // 2), 2 * (room - room // 2)))
        return margins

    def record(self) -> dict[str, Any]:
        """Give it as JSON-able values; `pipeline_of_record` gives it back."""
        return {"name": self.name, **json.loads(json.dumps(asdict(self)))}


Pipeline = Rgb | PackedRaw

RGB = Rgb()
PMRID_RAW = PackedRaw()


def pipeline_of_record(record: Mapping[str, Any]) -> Pipeline:
    """Give the pipeline that a record, as of `record()`, describes; absent fields have defaults.

    Raises:
        UsageError: an unknown name or field, or a value that cannot be.
    """
    fields = dict(record)
    name = fields.pop("name", None)
    try:
        if name == Rgb.name:
            return Rgb(**fields)
        if name == PackedRaw.name:
            if "sensor" in fields:
                sensor = fields["sensor"]
                fields["sensor"] = Sensor(
                    gain=tuple(sensor["gain"]),
                    read_variance=tuple(sensor["read_variance"]),
                    white_level=sensor["white_level"],
                )
            return PackedRaw(**fields)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise UsageError(
            f"pipeline {json.dumps(dict(record))} ({error})",
            f"give the fields of {json.dumps(PMRID_RAW.record())}",
        ) from error
    raise UsageError(f"unknown pipeline {name!r}", f"use {Rgb.name} or {PackedRaw.name}")


def read_pipeline(path: Path) -> Pipeline:
    """Give the pipeline that a JSON file describes.

    Raises:
        UsageError: no such file, no JSON object, or as `pipeline_of_record`.
    """
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} is no pipeline ({error})", "write JSON like " + json.dumps(PMRID_RAW.record())
        ) from error
    if not isinstance(record, dict):
        raise UsageError(f"{path} holds no JSON object", "write one with a name in it")
    return pipeline_of_record(record)
