"""Untrained networks to count, for `mofa-deploy export --model arm64.networks:NAME`.

Counts do not depend on weights. But a NAFNet's blocks start as the identity, with scales of zero,
and graphs of zeros are easier to simplify than any trained one; so the scales are drawn, from a
fixed seed.
"""

import networks
import torch
from torch import nn

from deploy.zoo.nafnet import NAFBlock, NAFNet
from deploy.zoo.nafnet_sizes import thesis_nafnet

SEED = 0
SCALE = 0.1


def nafnet_16_22() -> NAFNet:
    """Width 16, 22 blocks: 1, 1, 1, 14 / 1 / 1, 1, 1, 1."""
    torch.manual_seed(SEED)
    return _with_scales(networks.nafnet_16_22())


def nafnet_32_36() -> NAFNet:
    """Width 32, 36 blocks: 1, 1, 1, 28 / 1 / 1, 1, 1, 1; the public GoPro configuration."""
    torch.manual_seed(SEED)
    return _with_scales(thesis_nafnet(32, 36))


def _with_scales(network: NAFNet) -> NAFNet:
    for block in network.modules():
        if isinstance(block, NAFBlock):
            nn.init.normal_(block.beta, std=SCALE)
            nn.init.normal_(block.gamma, std=SCALE)
    return network
