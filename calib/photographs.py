"""The photographs that scikit-image carries, split for the demo, as folders of image pairs.

They are the only real images available without a download, so the demo network is trained on
one part and judged on the other.
"""

import zlib

import numpy as np
from skimage import color, data, util

from calib.degrade import Degradation, degrade

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
