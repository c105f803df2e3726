"""Untrained networks to count, for `mofa-deploy export --model arm64.networks:NAME`.

Counts do not depend on weights. But a NAFNet's blocks start as the identity, with scales of zero,
and graphs of zeros are easier to simplify than any trained one; so the scales are drawn, from a
fixed seed.
"""

import torch
from torch import nn

from deploy.zoo.nafnet import NAFBlock
from deploy.zoo.nafnet_sizes import thesis_nafnet

SEED = 0
SCALE = 0.1


def nafnet_16_22() -> nn.Module:
    """Width 16, 22 blocks: 1, 1, 1, 14 / 1 / 1, 1, 1, 1."""
    return _drawn(16, 22)


def nafnet_32_36() -> nn.Module:
    """Width 32, 36 blocks: 1, 1, 1, 28 / 1 / 1, 1, 1, 1; the public GoPro configuration."""
    return _drawn(32, 36)


def _drawn(width: int, blocks: int) -> nn.Module:
    torch.manual_seed(SEED)
    network = thesis_nafnet(width, blocks)
    for block in network.modules():
        if isinstance(block, NAFBlock):
            nn.init.normal_(block.beta, std=SCALE)
            nn.init.normal_(block.gamma, std=SCALE)
    return network
