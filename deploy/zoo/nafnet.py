"""NAFNet: a U-Net of activation-free blocks, written from the facts of its paper.

Source: Chen et al., "Simple Baselines for Image Restoration", ECCV 2022 (arXiv:2204.04676),
sections 3 and 4; parameter names as in the public BasicSR checkpoints, so those load strictly.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPS = 1e-6  # the public configuration; part of the trained function


class LayerNorm2d(nn.Module):
    """Normalize over channels at each pixel: (N, C, H, W) -> (N, C, H, W), biased variance, affine.

    Written out in primitive operators on purpose: this is what an exporter meets in the public
    code, and `prepare` is the stage that turns it into a fused form.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        centered = x - x.mean(1, keepdim=True)
        variance = centered.pow(2).mean(1, keepdim=True)
        normalized = centered / (variance + LAYER_NORM_EPS).sqrt()
        return normalized * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


class SimpleGate(nn.Module):
    """Split the channels in halves and multiply them: (N, 2C, H, W) -> (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=1)
        return first * second


class NAFBlock(nn.Module):
    """(N, C, H, W) -> (N, C, H, W): a gated depthwise half and a gated feed-forward half.

    `beta` and `gamma` start at zero, so an untrained block is the identity.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = 2 * channels
        self.norm1 = LayerNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, wide, 1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1))
        self.conv3 = nn.Conv2d(channels, channels, 1)
        self.norm2 = LayerNorm2d(channels)
        self.conv4 = nn.Conv2d(channels, wide, 1)
        self.conv5 = nn.Conv2d(channels, channels, 1)
        self.gate = SimpleGate()
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        gated = self.gate(self.conv2(self.conv1(self.norm1(x))))
        y = x + self.conv3(gated * self.sca(gated)) * self.beta
        return y + self.conv5(self.gate(self.conv4(self.norm2(y)))) * self.gamma


class PlainSkip(nn.Module):
    """skip (N, C, H, W), coarser (N, 2C, H/2, W/2) -> the skip as it is; where a gate can go."""

    def forward(self, skip: Tensor, coarser: Tensor) -> Tensor:
        return skip


class NAFNet(nn.Module):
    """RGB in, RGB out, same size; the network adds its output to its input.

    Args:
        width: channels after the first convolution; doubled by each encoder stage.
        encoder_blocks: blocks of each encoder stage, finest first.
        middle_blocks: blocks at the coarsest resolution.
        decoder_blocks: blocks of each decoder stage, coarsest first.
    """

    def __init__(
        self,
        width: int,
        encoder_blocks: Sequence[int],
        middle_blocks: int,
        decoder_blocks: Sequence[int],
    ) -> None:
        super().__init__()
        self.side_multiple = 2 ** len(encoder_blocks)
        self.intro = nn.Conv2d(3, width, 3, padding=1)
        self.ending = nn.Conv2d(width, 3, 3, padding=1)
        self.encoders, self.downs = nn.ModuleList(), nn.ModuleList()
        self.decoders, self.ups = nn.ModuleList(), nn.ModuleList()
        channels = width
        for blocks in encoder_blocks:
            self.encoders.append(_stage(channels, blocks))
            self.downs.append(nn.Conv2d(channels, 2 * channels, 2, stride=2))
            channels *= 2
        self.middle_blks = _stage(channels, middle_blocks)
        for blocks in decoder_blocks:
            self.ups.append(
                nn.Sequential(nn.Conv2d(channels, 2 * channels, 1, bias=False), nn.PixelShuffle(2))
            )
            channels //= 2
            self.decoders.append(_stage(channels, blocks))
        self.skips = nn.ModuleList(PlainSkip() for _ in decoder_blocks)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W), RGB in [0, 1]; zero-padded inside to `side_multiple`."""
        height, width = image.shape[-2:]
        padded = self._pad(image)
        x = self.intro(padded)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        decoding = zip(self.decoders, self.ups, self.skips, reversed(skips), strict=True)
        for decoder, up, carry, skip in decoding:
            x = decoder(up(x) + carry(skip, x))
        restored = self.ending(x) + padded
        if padded is image:
            return restored
        return restored[..., :height, :width]

    def _pad(self, image: Tensor) -> Tensor:
        bottom = -image.shape[-2] % self.side_multiple
        right = -image.shape[-1] % self.side_multiple
        if bottom == 0 and right == 0:  # keeps Pad and Slice out of graphs that do not need them
            return image
        return functional.pad(image, (0, right, 0, bottom))


def nafnet_tiny() -> NAFNet:
    """NAFNet-tiny, 288,691 parameters. Source: MOFA paper (arXiv:2308.12494), Table 4, row 3."""
    return NAFNet(width=16, encoder_blocks=(1, 1, 1), middle_blocks=1, decoder_blocks=(1, 1, 1))


def _stage(channels: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(NAFBlock(channels) for _ in range(blocks)))
