"""Partial convolutions: only a portion of the channels is convolved, the rest passes.

Source: MOFA paper (arXiv:2308.12494), sections 3.2 and 3.6; its `split_cat` implementation, which
is the one that can be trained and exported.
"""

from fractions import Fraction

import torch
from torch import Tensor, nn

from deploy.errors import UsageError

QUARTER = Fraction(1, 4)
HALF = Fraction(1, 2)


def convolved_channels(channels: int, portion: Fraction) -> int:
    """Give m = channels * portion, the number of channels that a partial convolution convolves.

    Raises:
        UsageError: the portion does not divide the channels, or leaves none on one side.
    """
    convolved = channels * portion
    if convolved.denominator != 1 or not 0 < convolved < channels:
        raise UsageError(
            f"portion {portion} of {channels} channels is not a whole number of them below all",
            f"choose 1/n with n above 1 dividing {channels}",
        )
    return int(convolved)


def is_depthwise(channels: int, portion: Fraction, threshold: int | None) -> bool:
    """Tell whether this partial convolution is a PDWConv: m >= threshold; None means never.

    The paper's text says "larger than"; only >= reproduces its Table 6.
    """
    return threshold is not None and convolved_channels(channels, portion) >= threshold


class PartialConv(nn.Module):
    """(N, C, H, W) -> (N, C, H, W): convolve the first m = C * portion channels, pass the rest.

    Stride 1, no bias. The convolution is dense over the m channels (PConv) or depthwise (PDWConv);
    the second dimension of its weight tells which.
    """

    def __init__(
        self, channels: int, kernel: int, portion: Fraction, *, depthwise: bool = False
    ) -> None:
        super().__init__()
        convolved = convolved_channels(channels, portion)
        self.channels, self.kernel, self.portion = channels, kernel, portion
        self.depthwise = depthwise
        self.sections = [convolved, channels - convolved]
        self.partial_conv3 = nn.Conv2d(
            convolved,
            convolved,
            kernel,
            padding=kernel // 2,
            groups=convolved if depthwise else 1,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        first, rest = torch.split(x, self.sections, dim=1)
        return torch.cat((self.partial_conv3(first), rest), dim=1)


class PConv(nn.Module):
    """(N, C, H, W) -> (N, out, H, W): a dense partial convolution, then 1x1 without bias.

    It takes the place of a separable convolution of the same kernel. `depthwise` is the released
    name of its first half, whether that is depthwise or not.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int,
        portion: Fraction,
        *,
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        self.depthwise = PartialConv(channels, kernel, portion, depthwise=depthwise)
        self.pointwise = nn.Conv2d(channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


class PDWConv(PConv):
    """(N, C, H, W) -> (N, out, H, W): `PConv` with its k x k convolution made depthwise."""

    def __init__(self, channels: int, out_channels: int, kernel: int, portion: Fraction) -> None:
        super().__init__(channels, out_channels, kernel, portion, depthwise=True)


def pconv_or_pdwconv(
    channels: int, out_channels: int, kernel: int, portion: Fraction, threshold: int | None
) -> PConv:
    """Give the PDWConv if the portion reaches `threshold` channels, else the PConv."""
    kind = PDWConv if is_depthwise(channels, portion, threshold) else PConv
    return kind(channels, out_channels, kernel, portion)
