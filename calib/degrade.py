"""Seeded synthetic degradation: mild motion blur, then gaussian noise, on the 8-bit grid.

For the demo network's training pairs and for tests. The degradation model is the usual one,
g = h * f + n (thesis, eq. 2.1).
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Degradation:
    """How strong. Noise is in 8-bit levels, as the denoising literature counts it."""

    noise_sigma: float = 25.0
    max_blur_px: float = 5.0


def motion_kernel(length_px: float, angle_rad: float) -> np.ndarray:
    """Give the kernel of a straight camera motion: (k, k) float32, sums to 1, k odd.

    The segment is sampled densely and each sample spread over its four nearest pixels, so that
    any length >= 0 and any angle work; length 0 is the identity.
    """
    radius = math.ceil(length_px / 2)
    kernel = np.zeros((2 * radius + 3, 2 * radius + 3))  # one spare pixel for the spreading
    steps = np.linspace(-length_px / 2, length_px / 2, max(1, 8 * math.ceil(length_px) + 1))
    for step in steps:
        y = step * math.sin(angle_rad) + radius + 1
        x = step * math.cos(angle_rad) + radius + 1
        top, left = math.floor(y), math.floor(x)
        down, right = y - top, x - left
        kernel[top, left] += (1 - down) * (1 - right)
        kernel[top, min(left + 1, len(kernel) - 1)] += (1 - down) * right
        kernel[min(top + 1, len(kernel) - 1), left] += down * (1 - right)
        kernel[min(top + 1, len(kernel) - 1), min(left + 1, len(kernel) - 1)] += down * right
    return (kernel / kernel.sum()).astype(np.float32)


def degrade(
    sharp: np.ndarray, rng: np.random.Generator, how: Degradation = Degradation()
) -> np.ndarray:
    """Blur along a random direction and add noise: (H, W, 3) float32 in [0, 1] to the same.

    The result is clipped and rounded to 1/255 steps: what an 8-bit camera image can hold.
    """
    kernel = motion_kernel(rng.uniform(0, how.max_blur_px), rng.uniform(0, math.pi))
    blurred = ndimage.convolve(sharp, kernel[:, :, None], mode="mirror")
    noise = rng.standard_normal(sharp.shape, dtype=np.float32) * (how.noise_sigma / 255)
    return (np.clip(blurred + noise, 0, 1) * 255).round().astype(np.float32) / np.float32(255)
