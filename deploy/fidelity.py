"""How far one model's output is from another's, and from the truth, on the same images."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from deploy.errors import DataError, FidelityError, GraphError
from deploy.inference import Run
from deploy.pipeline import RGB, Pipeline

SSIM_WINDOW_PX = 7  # the default of scikit-image
Size = tuple[int, int]  # height, width of what a model of fixed size takes, in px

BORDER_PX = 16  # of an image, where a network sees less than it was trained to
TILE_OVERLAP_PX = 32  # hides the border of each tile, where padding replaces real pixels


class ImagePair(Protocol):
    """A degraded image and its truth, each (H, W, 3) RGB or a mosaic (H, W), float32 in [0, 1]."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def degraded(self) -> np.ndarray: ...  # noqa: D102
    @property
    def sharp(self) -> np.ndarray: ...  # noqa: D102


def max_error(
    reference: Run, candidate: Run, crops: Iterable[np.ndarray], *, peak: float = 1.0
) -> float:
    """Give the greatest difference of two models over crops (1, C, H, W), as a share of `peak`."""
    errors = [float(np.abs(reference(crop) - candidate(crop)).max()) for crop in crops]
    return float(np.max(errors)) / peak  # NaN wins, as it should


def require_max_error(error: float, bound: float, what: str) -> None:
    """Raise FidelityError if an error is above its bound, or is not a number."""
    if not error <= bound:
        raise FidelityError(
            f"{what}: max error {error:.2g} of the output's range is above {bound:.0e}",
            "nothing was written; report it with the model if the network is deterministic",
        )


def restore(run: Run, image: np.ndarray, size: Size, pipeline: Pipeline = RGB) -> np.ndarray:
    """Run a fixed-size model over a whole image; the result has its shape, clipped to [0, 1].

    What the network sees is covered by overlapping tiles of `size`, the last ones flush with the
    border, and overlaps are averaged; where it is smaller than a tile, it is mirrored.
    """
    whole = pipeline.to_network(image)
    padded = _at_least(whole, size)
    total = np.zeros(padded.shape, np.float64)
    weight = np.zeros((1, 1, *padded.shape[2:]))
    for window in _windows(padded.shape, size):
        output = run(np.ascontiguousarray(padded[window]))
        if output.shape != padded[window].shape:
            raise GraphError(
                f"the model gives {output.shape} for {padded[window].shape}",
                "PSNR needs images of one size; leave out --held-out",
            )
        total[window] += output
        weight[window] += 1
    restored = (total / weight)[..., : whole.shape[2], : whole.shape[3]]
    return np.clip(pipeline.from_network(restored), 0, 1).astype(np.float32)


def restore_whole(run: Run, image: np.ndarray, pipeline: Pipeline = RGB) -> np.ndarray:
    """Run a model of open size over an image in one piece; same shape, clipped to [0, 1]."""
    padded = pipeline.pad_whole(image)
    output = pipeline.from_network(run(pipeline.to_network(padded)))
    return np.clip(pipeline.crop_whole(output, image), 0, 1)


def tiles(image: np.ndarray, size: Size, pipeline: Pipeline = RGB) -> list[np.ndarray]:
    """Cut an image into the (1, C, *size) batches that `restore` runs on."""
    padded = _at_least(pipeline.to_network(image), size)
    return [np.ascontiguousarray(padded[window]) for window in _windows(padded.shape, size)]


def _at_least(batch: np.ndarray, size: Size) -> np.ndarray:
    pairs = zip(size, batch.shape[2:], strict=True)
    grow = [(0, max(0, least - length)) for least, length in pairs]
    return np.pad(batch, [(0, 0), (0, 0), *grow], mode="symmetric")


def _windows(shape: tuple[int, ...], size: Size) -> list[tuple[slice, ...]]:
    height, width = size
    tops, lefts = (_tile_starts(length, side) for length, side in zip(shape[2:], size, strict=True))
    return [np.s_[:, :, top : top + height, left : left + width] for top in tops for left in lefts]


def _tile_starts(length: int, side: int) -> list[int]:
    step = max(1, side - TILE_OVERLAP_PX)
    return [*range(0, length - side, step), length - side]


def psnr_between_db(
    reference: Sequence[np.ndarray], images: Sequence[np.ndarray], *, peak: float = 1.0
) -> float:
    """Give PSNR in dB of the mean squared error over all images together.

    Infinite where they are equal.
    """
    squared = [
        np.square(a - b, dtype=np.float64).mean() for a, b in zip(reference, images, strict=True)
    ]
    mse = float(np.mean(squared))
    return float("inf") if mse == 0 else float(-10 * np.log10(mse / peak**2))


def score(truth: Sequence[np.ndarray], images: Sequence[np.ndarray]) -> tuple[float, float]:
    """Give mean PSNR (dB, peak 1) and mean SSIM over images (H, W, C) in [0, 1], no border cut.

    Source: scikit-image; SSIM with its defaults (7 px uniform window), channels averaged.
    """
    height_px, width_px = truth[0].shape[:2]
    if min(height_px, width_px) < SSIM_WINDOW_PX:
        raise DataError(
            f"a held-out image is {width_px}x{height_px}",
            f"SSIM needs at least {SSIM_WINDOW_PX} px a side; leave it out",
        )
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
        pipeline: of the model.
        on_image: told how many pairs are judged, and of how many.
    """

    name: str
    crops: Sequence[np.ndarray]
    pairs: Sequence[ImagePair] = ()
    pipeline: Pipeline = RGB
    on_image: Callable[[int, int], None] = lambda done, total: None

    @property
    def peak(self) -> float:
        """The range of the model's output, from 0."""
        return self.pipeline.peak

    def outputs(self, run: Run) -> list[np.ndarray]:
        """Give the model's output on each crop."""
        return [run(crop) for crop in self.crops]

    def restored(self, run: Run, pair: ImagePair) -> np.ndarray:
        """Give what a model of the crops' size makes of a degraded image."""
        height, width = self.crops[0].shape[-2:]
        return restore(run, pair.degraded, (height, width), self.pipeline.for_image(pair.name))

    def quality(self, run: Run) -> dict[str, float]:
        """Give PSNR (dB) and SSIM of the restored images, and of the degraded ones as degraded_*.

        border_psnr_db is of the outer BORDER_PX alone, seam_psnr_db of where tiles overlap, absent
        where one tile covers every image. Of mosaics, in linear raw, all are over their four
        planes. Empty without pairs.
        """
        if not self.pairs:
            return {}
        planes, size = self.pipeline.planes, self.crops[0].shape[-2:]
        scores = []  # one image in memory at a time: a test set may be larger than it
        self.on_image(0, len(self.pairs))
        for done, pair in enumerate(self.pairs, start=1):
            truth, restored = planes(pair.sharp), planes(self.restored(run, pair))
            psnr_db, ssim = score([truth], [restored])
            degraded = score([truth], [planes(pair.degraded)])
            of_parts = _psnr_of_parts_db(truth, restored, size)
            whole = {"psnr_db": psnr_db, "ssim": ssim}
            scores.append(
                whole | {"degraded_psnr_db": degraded[0], "degraded_ssim": degraded[1]} | of_parts
            )
            self.on_image(done, len(self.pairs))
        names = dict.fromkeys(name for one in scores for name in one)  # in their order
        return {
            name: float(np.mean([one[name] for one in scores if name in one])) for name in names
        }


def _parts(shape: tuple[int, ...], size: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Give masks (H, W) of an image's border, and of its tiles' overlaps where it has several."""
    inside = np.zeros(shape, bool)
    inside[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = True
    padded = tuple(max(length, least) for length, least in zip(shape, size, strict=True))
    covered = np.zeros(padded, np.int64)
    for *_, rows, columns in _windows((1, 1, *padded), (size[0], size[1])):
        covered[rows, columns] += 1
    seams = covered[: shape[0], : shape[1]] > 1
    parts = {"border_psnr_db": ~inside, "seam_psnr_db": seams}
    return {name: part for name, part in parts.items() if part.any()}


def _psnr_of_parts_db(
    truth: np.ndarray, image: np.ndarray, size: tuple[int, ...]
) -> dict[str, float]:
    """Give PSNR of each of `_parts`; none of one without any error, as of a white frame."""
    parts = _parts(truth.shape[:2], size)
    found = {name: psnr_between_db([truth[part]], [image[part]]) for name, part in parts.items()}
    return {name: db for name, db in found.items() if np.isfinite(db)}
