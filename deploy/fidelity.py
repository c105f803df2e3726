"""How far one model's output is from another's, and from the truth, on the same images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deploy.errors import FidelityError
from deploy.inference import Run

TILE_OVERLAP_PX = 32  # hides the border of each tile, where padding replaces real pixels


class ImagePair(Protocol):
    """A degraded image and its truth, each (H, W, 3) float32 RGB in [0, 1]."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def degraded(self) -> np.ndarray: ...  # noqa: D102
    @property
    def sharp(self) -> np.ndarray: ...  # noqa: D102


def max_error(reference: Run, candidate: Run, crops: Iterable[np.ndarray]) -> float:
    """Give the greatest absolute difference of two models over crops (1, C, H, W)."""
    errors = [float(np.abs(reference(crop) - candidate(crop)).max()) for crop in crops]
    return float(np.max(errors))  # NaN wins, as it should


def require_max_error(error: float, bound: float, what: str) -> None:
    """Raise FidelityError if an error is above its bound, or is not a number."""
    if not error <= bound:
        raise FidelityError(
            f"{what}: max error {error:.2g} is above {bound:.0e}",
            "nothing was written; report it with the model if the network is deterministic",
        )


def restore(run: Run, image: np.ndarray, side: int) -> np.ndarray:
    """Run a fixed-size model over a whole image: (H, W, 3) to (H, W, 3), clipped to [0, 1].

    The image is covered by overlapping square tiles of `side` px, the last one flush with the
    border, and overlaps are averaged; an image smaller than a tile is mirrored up to its size.
    """
    padded = _at_least(image, side)
    total = np.zeros(padded.shape, np.float64)
    weight = np.zeros((*padded.shape[:2], 1))
    for top, left in _tile_corners(padded.shape, side):
        window = np.s_[top : top + side, left : left + side]
        total[window] += run(_batch(padded[window]))[0].transpose(1, 2, 0)
        weight[window] += 1
    restored = np.clip(total / weight, 0, 1).astype(np.float32)
    return restored[: image.shape[0], : image.shape[1]]


def tiles(image: np.ndarray, side: int) -> list[np.ndarray]:
    """Cut an image (H, W, 3) into the (1, 3, side, side) batches that `restore` runs on."""
    padded = _at_least(image, side)
    corners = _tile_corners(padded.shape, side)
    return [_batch(padded[top : top + side, left : left + side]) for top, left in corners]


def _at_least(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    grow = ((0, max(0, side - height)), (0, max(0, side - width)), (0, 0))
    return np.pad(image, grow, mode="symmetric")


def _tile_corners(shape: tuple[int, ...], side: int) -> list[tuple[int, int]]:
    tops, lefts = (_tile_starts(length, side) for length in shape[:2])
    return [(top, left) for top in tops for left in lefts]


def _tile_starts(length: int, side: int) -> list[int]:
    step = max(1, side - TILE_OVERLAP_PX)
    return [*range(0, length - side, step), length - side]


def _batch(window: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(window.transpose(2, 0, 1)[None])


def psnr_between_db(reference: Sequence[np.ndarray], images: Sequence[np.ndarray]) -> float:
    """Give PSNR in dB (peak 1) of the mean squared error over all images together.

    Infinite where they are equal.
    """
    squared = [
        np.square(a - b, dtype=np.float64).mean() for a, b in zip(reference, images, strict=True)
    ]
    mse = float(np.mean(squared))
    return float("inf") if mse == 0 else float(-10 * np.log10(mse))


def score(truth: Sequence[np.ndarray], images: Sequence[np.ndarray]) -> tuple[float, float]:
    """Give mean PSNR (dB, peak 1) and mean SSIM over images (H, W, 3) in [0, 1], no border cut.

    Source: scikit-image; SSIM with its defaults (7 px uniform window), channels averaged.
    """
    psnr_db = [
        peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(truth, images, strict=True)
    ]
    ssim = [
        structural_similarity(a, b, data_range=1, channel_axis=2)
        for a, b in zip(truth, images, strict=True)
    ]
    return float(np.mean(psnr_db)), float(np.mean(ssim))


@dataclass(frozen=True)
class Probe:
    """The images that every stage measures its output on; none of them is calibrated on.

    Attributes:
        name: what they are, for the sidecar.
        crops: each (1, C, H, W) float32, of the model's input size.
        pairs: whole images with their truth; empty where there is no truth, or no trained
            weights: an untrained network has no quality.
    """

    name: str
    crops: Sequence[np.ndarray]
    pairs: Sequence[ImagePair] = ()

    def outputs(self, run: Run) -> list[np.ndarray]:
        """Give the model's output on each crop."""
        return [run(crop) for crop in self.crops]

    def quality(self, run: Run) -> dict[str, float]:
        """Give PSNR (dB) and SSIM of the restored images, and of the degraded ones as degraded_*.

        Empty without pairs.
        """
        if not self.pairs:
            return {}
        side = self.crops[0].shape[-1]
        truth = [pair.sharp for pair in self.pairs]
        degraded = [pair.degraded for pair in self.pairs]
        psnr_db, ssim = score(truth, [restore(run, image, side) for image in degraded])
        degraded_psnr_db, degraded_ssim = score(truth, degraded)
        return {
            "psnr_db": psnr_db,
            "ssim": ssim,
            "degraded_psnr_db": degraded_psnr_db,
            "degraded_ssim": degraded_ssim,
        }
