"""Image files of a folder: which there are, how large, and their pixels as RGB in [0, 1]."""

import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin
from skimage import util
from tifffile import TiffFile, TiffFileError

from deploy.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
# Pillow looks at the content, not at the suffix; no other of its readers shall see a user's file
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
MAX_PIXELS = 2**27  # above a 108-megapixel photograph; decoding one this large takes about 1 GB
# What Pillow and tifffile raise on damaged files: OSError most often, but any of these
_DECODING_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
    TiffFileError,
)


def list_images(folder: Path) -> list[Path]:
    """Give the image files under a folder, recursively, sorted by their path inside it.

    Hidden files and folders are left out, and so are links that lead out of the folder. Linked
    folders are not entered.

    Raises:
        DataError: no such folder, a folder that cannot be read, or one without images.
    """
    try:
        if not folder.exists():
            raise DataError(f"no folder {folder}", "check the path")
        if not folder.is_dir():
            raise DataError(f"{folder} is a file", "name the folder that holds the images")
        found = list(_image_files(folder))
    except OSError as error:
        raise DataError(
            f"{error.filename or folder} cannot be listed ({error.strerror})", "allow reading it"
        ) from error
    if not found:
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        raise DataError(f"no images in {folder}", f"put some there ({kinds}), or name another")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _image_files(folder: Path) -> Iterator[Path]:
    home = folder.resolve()
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if path.suffix.lower() not in SUFFIXES or name.startswith("."):
                continue
            if path.is_file() and path.resolve().is_relative_to(home):
                yield path


def _refuse(error: OSError) -> None:
    raise error  # os.walk would leave the folder out in silence


def image_size(path: Path) -> tuple[int, int]:
    """Give (height, width) in pixels as the image is displayed, from its header alone.

    Raises:
        DataError: the file is no readable image, or one of more than MAX_PIXELS.
    """
    with _reading(path):
        if _is_float_tiff(path):
            with TiffFile(path) as tiff:
                return _float_tiff_size(tiff)
        with Image.open(path, formats=_FORMATS) as image:
            return _displayed_size(image)


def load_image(path: Path) -> np.ndarray:
    """Give an image as (H, W, 3) float32 RGB in [0, 1], turned as its EXIF data say.

    Gray is repeated over the channels; transparency is dropped, not blended. Gray of 16 bit is
    read in full, colour of 16 bit by its high byte, which is what Pillow gives.

    Raises:
        DataError: the file is no readable image, is cut short, has more than MAX_PIXELS, or
            holds float samples outside [0, 1].
    """
    return unit_float(decode_image(path))


def unit_float(samples: np.ndarray) -> np.ndarray:
    """Give samples of any type `decode_image` gives as contiguous float32 in [0, 1]."""
    return np.ascontiguousarray(util.img_as_float32(samples))


def decode_image(path: Path) -> np.ndarray:
    """Give an image as (H, W, 3) RGB in its own depth: uint8, uint16, or float32 in [0, 1].

    As `load_image`, at a quarter of the memory where the file has 8 bits. May be read-only.

    Raises:
        DataError: as `load_image`.
    """
    with _reading(path):
        if _is_float_tiff(path):
            with TiffFile(path) as tiff:
                _float_tiff_size(tiff)
                samples, orientation = _float_tiff_samples(tiff)
        else:
            with Image.open(path, formats=_FORMATS) as image:
                _displayed_size(image)
                orientation = _orientation(image)
                samples = _samples(image)
        return _as_rgb(_turn(_in_range(samples, path), orientation))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS decides
            yield
    except Image.DecompressionBombError as error:
        raise DataError(f"{path} is too large ({error})", "cut it into smaller images") from error
    except _DECODING_ERRORS as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} cannot be read as an image ({reason})", "replace it or remove it"
        ) from error


def _checked_size(height_px: int, width_px: int) -> tuple[int, int]:
    if height_px * width_px > MAX_PIXELS:
        raise Image.DecompressionBombError(
            f"{width_px}x{height_px} pixels, at most {MAX_PIXELS} are read"
        )
    return height_px, width_px


def _displayed_size(image: Image.Image) -> tuple[int, int]:
    width_px, height_px = image.size
    turned = _orientation(image) >= 5
    return _checked_size(*((width_px, height_px) if turned else (height_px, width_px)))


def _orientation(image: Image.Image) -> int:
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return 1  # Pillow turns a TIFF itself, its size included
    # The base class's method, because that of PNG decodes the whole image in search of EXIF data
    # behind the pixels. Those are ignored here, so that the header's size always holds.
    return int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))


def _samples(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):
        return np.asarray(image)
    image.info.pop("transparency", None)  # or converting a palette warns that it drops it
    return np.asarray(image.convert("RGB"))


def _is_float_tiff(path: Path) -> bool:
    """Tell whether only tifffile reads it: Pillow has no float colour."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with TiffFile(path) as tiff:
            return tiff.pages.first.dtype is not None and tiff.pages.first.dtype.kind == "f"
    except TiffFileError:
        return False  # not a TIFF; Pillow finds out what it is


def _float_tiff_size(tiff: TiffFile) -> tuple[int, int]:
    page = tiff.pages.first
    turned = _float_tiff_orientation(tiff) >= 5
    sides = page.imagelength, page.imagewidth
    return _checked_size(*(sides[::-1] if turned else sides))


def _float_tiff_orientation(tiff: TiffFile) -> int:
    tag = tiff.pages.first.tags.get("Orientation")
    return int(tag.value) if tag else 1


def _float_tiff_samples(tiff: TiffFile) -> tuple[np.ndarray, int]:
    page = tiff.pages.first
    samples = page.asarray()
    if page.axes == "SYX":
        samples = np.moveaxis(samples, 0, -1)
    elif page.axes not in ("YX", "YXS"):
        raise ValueError(f"its axes are {page.axes}, not those of an image")
    return samples, _float_tiff_orientation(tiff)


def _in_range(samples: np.ndarray, path: Path) -> np.ndarray:
    """Give uint8, uint16 or float32 samples whose range is the type's, or [0, 1]."""
    if samples.dtype in (np.uint8, np.uint16):
        return samples
    lowest, highest = float(samples.min()), float(samples.max())
    limit, dtype = (1, np.float32) if samples.dtype.kind == "f" else (65535, np.uint16)
    if not (lowest >= 0 and highest <= limit):  # so that NaN fails too
        raise DataError(
            f"{path} holds values from {lowest:g} to {highest:g}", f"scale them to 0..{limit}"
        )
    return samples.astype(dtype)


def _turn(samples: np.ndarray, orientation: int) -> np.ndarray:
    """Turn (H, W, ...) samples as an EXIF orientation asks.

    Source: Exif 2.32 (CIPA DC-008), tag 274.
    """
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def _as_rgb(samples: np.ndarray) -> np.ndarray:
    if samples.ndim == 2:
        samples = samples[:, :, None]
    if samples.shape[2] >= 3:
        return samples[:, :, :3]
    return np.broadcast_to(samples[:, :, :1], (*samples.shape[:2], 3))
