"""What the papers' networks are trained to make small; all of (N, C, H, W) pairs in [0, 1].

Sources: the thesis, section 4.4, and NAFNet's code for the PSNR loss. The thesis prints Charbonnier
as the root of one sum and the FFT loss as a signed difference; both are read as the means per value
that their names stand for.
"""

import math
import re
from collections.abc import Callable

import torch
from torch import Tensor

from deploy.errors import UsageError

Loss = Callable[[Tensor, Tensor], Tensor]  # (restored, sharp) -> a scalar

CHARBONNIER_EPS = 1e-3  # usual; the thesis gives none
_TERM = re.compile(r"(\d*\.?\d*)([a-z]+)")


def psnr_loss(restored: Tensor, sharp: Tensor) -> Tensor:
    """Minus PSNR in dB, mean over the batch; 1e-8 inside the logarithm bounds it at -80 dB."""
    squared = (restored - sharp).square().mean(dim=(1, 2, 3))
    return (10 / math.log(10)) * torch.log(squared + 1e-8).mean()


def charbonnier_loss(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean of sqrt(difference squared + eps squared): the absolute error, smooth at 0."""
    return ((restored - sharp).square() + CHARBONNIER_EPS**2).sqrt().mean()


def fft_loss(restored: Tensor, sharp: Tensor) -> Tensor:
    """Mean absolute difference of the real and imaginary parts of the 2-D Fourier transforms.

    The transform is the plain sum, not divided by the number of pixels.
    """
    return torch.view_as_real(torch.fft.fft2(restored) - torch.fft.fft2(sharp)).abs().mean()


LOSSES: dict[str, Loss] = {
    "psnr": psnr_loss,
    "charbonnier": charbonnier_loss,
    "fft": fft_loss,
}


def find_loss(name: str) -> Loss:
    """Give a loss, or a weighted sum of some: "psnr", "charbonnier+0.01fft", "psnr+0.01fft".

    Raises:
        UsageError: a term that is none of LOSSES, or that weighs nothing.
    """
    terms = [_term(text.strip(), name) for text in name.split("+")]

    def loss(restored: Tensor, sharp: Tensor) -> Tensor:
        values = [one(restored, sharp) * weight for weight, one in terms]
        return torch.stack(values).sum()

    # one loss is given as it is, so that it is computed as it was before sums had names
    return terms[0][1] if len(terms) == 1 and terms[0][0] == 1 else loss


def _term(text: str, name: str) -> tuple[float, Loss]:
    match = _TERM.fullmatch(text)
    if match is None or match[2] not in LOSSES or match[1] == ".":
        raise UsageError(
            f"unknown loss {text!r} in {name!r}" if text != name else f"unknown loss {name!r}",
            f"use {', '.join(LOSSES)}, or a sum of them as charbonnier+0.01fft",
        )
    weight = float(match[1] or 1)
    if weight == 0:
        raise UsageError(f"loss {text!r} weighs nothing", "leave it out")
    return weight, LOSSES[match[2]]
