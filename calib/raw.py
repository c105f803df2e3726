"""Raw camera images: Bayer mosaics, their noise, and mosaics made from photographs.

Noise model and coefficients: Wang et al., "Practical Deep Raw Image Denoising on Mobile Devices",
ECCV 2020, section 3, and the public code of that paper, MegEngine/PMRID@8ebb9e8.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from calib.images import decode_image, unit_float
from deploy.errors import DataError

DISPLAY_GAMMA = 2.2  # of the benchmark in the paper's code

# pattern of the first 2x2 pixels -> step of rows and of columns that make it RGGB
PATTERNS = {"RGGB": (1, 1), "GRBG": (1, -1), "GBRG": (-1, 1), "BGGR": (-1, -1)}


@dataclass(frozen=True)
class Sensor:
    """How noisy a sensor is, in its own units: 0 is black, `white_level` is white.

    Attributes:
        gain: (per ISO, constant) of the shot noise: its variance is gain(iso) times the signal.
        read_variance: (per ISO squared, per ISO, constant) of the noise that darkness has.
        white_level: greatest value above black.
    """

    gain: tuple[float, float]
    read_variance: tuple[float, float, float]
    white_level: float

    def gain_at(self, iso: float) -> float:
        """Give the variance of the shot noise per unit of signal."""
        return self.gain[0] * iso + self.gain[1]

    def read_variance_at(self, iso: float) -> float:
        """Give the variance of the noise in the dark."""
        squared, linear, constant = self.read_variance
        return squared * iso**2 + linear * iso + constant


# The phone whose raw images PMRID was trained for.
OPPO_RENO_10X = Sensor(
    gain=(0.0005995267, 0.00868861),
    read_variance=(7.11772e-7, 6.514934e-4, 0.11492713),
    white_level=959,
)


def turn_to_rggb(mosaic: np.ndarray, pattern: str) -> np.ndarray:
    """Mirror a mosaic (H, W), even sides, so that it starts with RG over GB; its own inverse.

    BGGR is turned by 180 degrees. No copy.
    """
    rows, columns = PATTERNS[pattern]
    return mosaic[::rows, ::columns]


def pack(mosaic: np.ndarray) -> np.ndarray:
    """Give the planes R, G, G, B of an RGGB mosaic: (H, W) to (4, H/2, W/2)."""
    return np.stack([mosaic[top::2, left::2] for top in (0, 1) for left in (0, 1)])


def unpack(planes: np.ndarray) -> np.ndarray:
    """Give the RGGB mosaic of the planes R, G, G, B: (4, H, W) to (2H, 2W)."""
    _, height, width = planes.shape
    mosaic = np.empty((2 * height, 2 * width), planes.dtype)
    for plane, (top, left) in zip(planes, np.ndindex(2, 2), strict=True):
        mosaic[top::2, left::2] = plane
    return mosaic


def mosaic_of_samples(samples: np.ndarray, name: str) -> np.ndarray:
    """Give decoded samples (H, W, 3) as a mosaic (H, W) float32 in [0, 1]: 65535 is white.

    Raises:
        DataError: they are not 16-bit gray with even sides; `name` says whose they are.
    """
    if samples.dtype != np.uint16:  # colour of 16 bit is decoded to 8: only gray arrives here
        raise DataError(
            f"{name} is no raw mosaic: it is in colour, or not of 16 bit",
            "raw images are 16-bit grayscale .png or .tif, one sample a pixel",
        )
    height, width = samples.shape[:2]
    if height % 2 or width % 2:
        raise DataError(f"{name} is {width}x{height}", "a Bayer mosaic has even sides")
    return unit_float(samples[..., 0])


def load_mosaic(path: Path) -> np.ndarray:
    """Give a 16-bit grayscale file as a mosaic (H, W) float32 in [0, 1]. Raises DataError."""
    return mosaic_of_samples(decode_image(path), str(path))


def mosaic_of_photograph(photograph: np.ndarray, pattern: str = "RGGB") -> np.ndarray:
    """Give what a noiseless sensor would hold: (H, W, 3) in [0, 1] to (2H, 2W), linear.

    The photograph is linearised and doubled in size first, so that each plane of the mosaic is as
    sharp as the photograph.
    """
    linear = np.power(photograph, DISPLAY_GAMMA, dtype=np.float32)
    red, green, blue = (_doubled(linear[..., channel]) for channel in range(3))
    planes = [red[::2, ::2], green[::2, 1::2], green[1::2, ::2], blue[1::2, 1::2]]
    return turn_to_rggb(unpack(np.stack(planes)), pattern)


def _doubled(channel: np.ndarray) -> np.ndarray:
    height, width = channel.shape
    resized = Image.fromarray(channel).resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
    return np.asarray(resized).clip(0, 1)


def add_sensor_noise(
    mosaic: np.ndarray, iso: float, sensor: Sensor, rng: np.random.Generator
) -> np.ndarray:
    """Give a noiseless mosaic in [0, 1] as the sensor would see it at an ISO; float32 in [0, 1].

    gain * Poisson(signal / gain) + N(0, read variance), rounded to the sensor's own steps.
    """
    gain = sensor.gain_at(iso)
    shot = gain * rng.poisson(mosaic * (sensor.white_level / gain))
    read = rng.normal(0, np.sqrt(sensor.read_variance_at(iso)), mosaic.shape)
    levels = np.rint(shot + read).clip(0, sensor.white_level)
    return (levels / sensor.white_level).astype(np.float32)
