"""Soft attention inside the skip connections of NAFNet, in the four steps of the thesis.

Source: thesis (N. Kuspys, UCU, 2023), section 4.4 and Table 6.5, after Attention U-Net (Oktay et
al., arXiv:1804.03999). The thesis' figures 4.3 and 5.5, which would define the gate, are lost. The
reading here (both projections 1x1 to F = C channels, the gating branch upsampled after its
projection) is the one in which the measured cost of every step is visible; F is a guess.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from deploy.errors import UsageError
from deploy.zoo.conversion import exchange
from deploy.zoo.nafnet import LayerNorm2d, NAFNet, PlainSkip
from deploy.zoo.nafnet_sizes import thesis_nafnet


@dataclass(frozen=True)
class GateChoices:
    """What the steps change in the gate."""

    activation: Literal["relu", "gelu"]
    normalization: Literal["batch", "layer"]
    upsampling: Literal["bilinear", "transposed"]


ATTENTION_STEPS: dict[str, GateChoices] = {
    "naive": GateChoices("relu", "batch", "bilinear"),
    "activation": GateChoices("gelu", "batch", "bilinear"),
    "normalization": GateChoices("gelu", "layer", "bilinear"),
    "upsample": GateChoices("gelu", "layer", "transposed"),
}
"""Rows 2 to 5 of Table 6.5, each with the changes of the rows before it."""

FINAL_STEP = "normalization"  # the thesis selects the first two changes


class AttentionGate(nn.Module):
    """skip (N, C, H, W), coarser (N, 2C, H/2, W/2) -> the skip times a map in (0, 1).

    The map is sigmoid(psi(act(norm(wx(skip)) + up(norm(wg(coarser)))))), one value a pixel. Only
    the C-channel projections are normalized: over the single channel of psi a layer
    normalization would be constant.
    """

    def __init__(self, channels: int, choices: GateChoices) -> None:
        super().__init__()
        self.wx = nn.Conv2d(channels, channels, 1)
        self.wg = nn.Conv2d(2 * channels, channels, 1)
        self.norm_x = _norm(channels, choices)
        self.norm_g = _norm(channels, choices)
        self.up: nn.Module = (
            nn.ConvTranspose2d(channels, channels, 2, stride=2)
            if choices.upsampling == "transposed"
            else nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        )
        self.act: nn.Module = nn.GELU() if choices.activation == "gelu" else nn.ReLU()
        self.psi = nn.Conv2d(channels, 1, 1)

    def forward(self, skip: Tensor, coarser: Tensor) -> Tensor:
        aligned = self.norm_x(self.wx(skip)) + self.up(self.norm_g(self.wg(coarser)))
        return skip * torch.sigmoid(self.psi(self.act(aligned)))


def with_attention(model: NAFNet, step: str) -> NAFNet:
    """Give a copy with a fresh gate of this step (see `ATTENTION_STEPS`) in every plain skip.

    Raises:
        UsageError: there is no such step.
    """
    if step not in ATTENTION_STEPS:
        raise UsageError(f"soft attention step {step!r}", f"choose {', '.join(ATTENTION_STEPS)}")
    coarsest = model.intro.out_channels * 2 ** (len(model.skips) - 1)
    gates = {
        f"skips.{index}": AttentionGate(coarsest // 2**index, ATTENTION_STEPS[step])
        for index, skip in enumerate(model.skips)
        if isinstance(skip, PlainSkip)
    }
    return exchange(model, gates)


def nafnet_16_18_sa() -> NAFNet:
    """NAFNet-16-18-SA, the thesis' final network, before its local conversion."""
    return with_attention(thesis_nafnet(16, 18), FINAL_STEP)


def _norm(channels: int, choices: GateChoices) -> nn.Module:
    layered = choices.normalization == "layer"
    return LayerNorm2d(channels) if layered else nn.BatchNorm2d(channels)
