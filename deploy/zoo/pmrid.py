"""PMRID, and every simplification of it that the MOFA paper counts.

Sources: Wang et al., "Practical Deep Raw Image Denoising on Mobile Devices", ECCV 2020, with the
key names of its public checkpoint; MOFA (arXiv:2308.12494), Tables 1, 2, 3 and 6, with the key
names of the released class for PMRID_mofa.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from deploy.errors import UsageError
from deploy.zoo.partial_conv import HALF, QUARTER, pconv_or_pdwconv
from deploy.zoo.separable import SeparableConv

STAGES = 4
SIDE_MULTIPLE = 2**STAGES
ENCODER = ((16, 64, 2), (64, 128, 2), (128, 256, 4), (256, 512, 4))  # in, out, blocks; finest first
DECODER = ((64, 256, 64), (64, 128, 32), (32, 64, 32), (32, 16, 16))  # in, skip, out; deepest first


@dataclass(frozen=True)
class PmridChoices:
    """What the MOFA steps change in PMRID; the defaults are PMRID itself.

    Attributes:
        convolution: of every stride-1 place: separable, or partial (PConv or PDWConv).
        threshold: convolved channels from which a partial convolution is depthwise; None = never.
        middle: encoder stage (1 is the finest) that convolves half of its channels after its first
            block, together with decoder stage 5 - middle, its pair; None = a quarter everywhere.
        cheap: half of the channels in `encdec` and in all decoder stages.
        upsampling: transposed convolution, or a quarter partial convolution and bilinear x2.
        downsampling: strided separable convolution, or AvgPool 2x2 and a quarter partial one.
    """

    convolution: Literal["sep", "pconv"] = "sep"
    threshold: int | None = None
    middle: Literal[1, 2, 3, 4] | None = None
    cheap: bool = False
    upsampling: Literal["transposed", "decoupled"] = "transposed"
    downsampling: Literal["strided", "decoupled"] = "strided"

    def __post_init__(self) -> None:
        if self.convolution == "sep" and (self.middle is not None or self.cheap):
            raise UsageError(
                f"PMRID choices middle={self.middle}, cheap={self.cheap} with separable "
                "convolutions, which have no portion",
                'set convolution="pconv", or leave middle and cheap out',
            )
        if self.middle is not None and not 1 <= self.middle <= STAGES:
            raise UsageError(f"PMRID encoder stage middle={self.middle}", f"choose 1..{STAGES}")

    def encoder_portion(self, stage: int, block: int) -> Fraction:
        """Give the portion in a block of encoder stage 1..4; the first block keeps a quarter."""
        return HALF if stage == self.middle and block > 0 else QUARTER

    def decoder_portion(self, stage: int) -> Fraction:
        """Give the portion in decoder stage 1..4 (1 is the deepest), its upsampling excepted."""
        paired = self.middle is not None and stage == STAGES + 1 - self.middle
        return HALF if self.cheap or paired else QUARTER

    def same_size(self, channels: int, out: int, kernel: int, portion: Fraction) -> nn.Module:
        """Build one stride-1 convolution: (N, channels, H, W) -> (N, out, H, W)."""
        if self.convolution == "sep":
            return SeparableConv(channels, out, kernel)
        return self.partial(channels, out, kernel, portion)

    def partial(self, channels: int, out: int, kernel: int, portion: Fraction) -> nn.Sequential:
        """Build a PConv or PDWConv under the released class's extra level of names."""
        conv = pconv_or_pdwconv(channels, out, kernel, portion, self.threshold)
        return nn.Sequential(OrderedDict(pconvdw=conv))

    def downsample(self, channels: int, out: int, kernel: int) -> nn.Module:
        """Build one halving convolution: (N, channels, H, W) -> (N, out, H/2, W/2)."""
        if self.downsampling == "decoupled":
            partial = pconv_or_pdwconv(channels, out, kernel, QUARTER, self.threshold)
            return nn.Sequential(OrderedDict(pool=nn.AvgPool2d(2), pconvdw=partial))
        strided = SeparableConv(channels, out, kernel, stride=2)
        if self.convolution == "sep":
            return strided
        return nn.Sequential(OrderedDict(sep=strided))

    def upsample(self, channels: int, out: int) -> nn.Module:
        """Build one doubling: (N, channels, H, W) -> (N, out, 2H, 2W)."""
        if self.upsampling == "transposed":
            return nn.ConvTranspose2d(channels, out, 2, stride=2)
        return nn.Sequential(
            self.partial(channels, out, 3, QUARTER),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        )


class EncoderBlock(nn.Module):
    """(N, C, H, W) -> (N, out, H/stride, W/stride): a 5x5 bottleneck plus its shortcut, ReLU.

    Stride 2 has a convolution in the shortcut; stride 1 wants out = C and has the identity.
    """

    def __init__(
        self, channels: int, out: int, stride: int, portion: Fraction, choices: PmridChoices
    ) -> None:
        super().__init__()
        narrow, halves = out // 4, stride == 2
        self.conv1 = (
            choices.downsample(channels, narrow, 5)
            if halves
            else choices.same_size(channels, narrow, 5, portion)
        )
        self.conv2 = choices.same_size(narrow, out, 5, portion)
        self.proj = choices.downsample(channels, out, 3) if halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(functional.relu(self.conv1(x)))
        return functional.relu(y + self.proj(x))


class DecoderBlock(nn.Module):
    """(N, C, H, W) -> (N, C, H, W): two 3x3 convolutions plus the input, no last activation."""

    def __init__(self, channels: int, portion: Fraction, choices: PmridChoices) -> None:
        super().__init__()
        self.conv0 = choices.same_size(channels, channels, 3, portion)
        self.conv1 = choices.same_size(channels, channels, 3, portion)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv1(functional.relu(self.conv0(x)))


class DecoderStage(nn.Module):
    """(N, C, H, W), skip (N, S, 2H, 2W) -> (N, out, 2H, 2W); no activation after the sum."""

    def __init__(
        self, channels: int, skip: int, out: int, portion: Fraction, choices: PmridChoices
    ) -> None:
        super().__init__()
        self.decode_conv = DecoderBlock(channels, portion, choices)
        self.upsample = choices.upsample(channels, out)
        self.proj_conv = choices.same_size(skip, out, 3, portion)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.upsample(self.decode_conv(x)) + functional.relu(self.proj_conv(skip))


class Pmrid(nn.Module):
    """(N, C, H, W) -> (N, C, H, W); H and W are multiples of 16. The output adds to the input.

    Args:
        image_channels: 3 for RGB (MOFA), 4 for packed raw (the original).
        choices: which MOFA steps are taken.

    Raises:
        UsageError: (forward) a side is not a multiple of 16. The network does not pad.
    """

    def __init__(self, image_channels: int = 3, choices: PmridChoices = PmridChoices()) -> None:
        super().__init__()
        self.side_multiple = SIDE_MULTIPLE
        self.conv0 = _with_name_conv(nn.Conv2d(image_channels, 16, 3, padding=1))
        self.enc1, self.enc2, self.enc3, self.enc4 = (
            _encoder_stage(stage, *ENCODER[stage - 1], choices) for stage in range(1, STAGES + 1)
        )
        portion = HALF if choices.cheap else QUARTER
        self.encdec = choices.same_size(512, 64, 3, portion)
        self.dec1, self.dec2, self.dec3, self.dec4 = (
            DecoderStage(*DECODER[stage - 1], choices.decoder_portion(stage), choices)
            for stage in range(1, STAGES + 1)
        )
        self.out0 = DecoderBlock(16, QUARTER, choices)
        self.out1 = _with_name_conv(nn.Conv2d(16, image_channels, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE:
            raise UsageError(
                f"image of {height}x{width} pixels for PMRID",
                f"pad or crop both sides to a multiple of {SIDE_MULTIPLE}",
            )
        full = functional.relu(self.conv0(image))
        half = self.enc1(full)
        quarter = self.enc2(half)
        eighth = self.enc3(quarter)
        x = functional.relu(self.encdec(self.enc4(eighth)))
        x = self.dec1(x, eighth)
        x = self.dec2(x, quarter)
        x = self.dec3(x, half)
        x = self.dec4(x, full)
        return self.out1(self.out0(x)) + image


def _with_name_conv(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=conv))  # the checkpoint says conv0.conv.weight


def _encoder_stage(
    stage: int, channels: int, out: int, blocks: int, choices: PmridChoices
) -> nn.Sequential:
    portions = [choices.encoder_portion(stage, block) for block in range(blocks)]
    first = EncoderBlock(channels, out, 2, portions[0], choices)
    return nn.Sequential(
        first, *(EncoderBlock(out, out, 1, portion, choices) for portion in portions[1:])
    )


PCONV = PmridChoices(convolution="pconv")
MIDDLE_AND_CHEAP = replace(PCONV, middle=3, cheap=True)

MOFA_TABLE_1: dict[int, PmridChoices] = {
    1: PmridChoices(),
    2: PCONV,
    3: replace(PCONV, middle=3),
    4: replace(PCONV, cheap=True),
    5: MIDDLE_AND_CHEAP,
    6: PmridChoices(upsampling="decoupled"),
    7: replace(PCONV, threshold=0),
    8: replace(MIDDLE_AND_CHEAP, upsampling="decoupled", threshold=32),
}
"""Row of MOFA Table 1 -> choices. The printed table lost its tick marks; this reading reproduces
every count but row 1's 1.11 G (Table 4 prints 1.15 for the same network)."""

MOFA_TABLE_2: dict[str, PmridChoices] = {
    "enc3-dec2": replace(PCONV, middle=3),
    "enc2-dec3": replace(PCONV, middle=2),
    "enc1-dec4": replace(PCONV, middle=1),
}
"""Where the middle layers are; the table's other two rows are rows 1 and 2 of Table 1."""

MOFA_TABLE_3: dict[str, PmridChoices] = {
    "none": MIDDLE_AND_CHEAP,
    "upsampling": replace(MIDDLE_AND_CHEAP, upsampling="decoupled"),
    "downsampling": replace(MIDDLE_AND_CHEAP, downsampling="decoupled"),
}
"""What is decoupled, on the base of row 5 of Table 1."""

MOFA_TABLE_6: dict[int, PmridChoices] = {
    threshold: replace(MIDDLE_AND_CHEAP, upsampling="decoupled", threshold=threshold)
    for threshold in (0, 16, 32, 64, 128)
}
"""Threshold -> the final model with it; 32 is PMRID_mofa."""


def pmrid_mofa() -> Pmrid:
    """PMRID_mofa, 970,915 parameters. Source: MOFA paper, Table 1 row 8 and Table 4 row 2."""
    return Pmrid(choices=MOFA_TABLE_1[8])
