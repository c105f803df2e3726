"""Untrained networks to count, for `mofa-deploy export --model arm64.networks:NAME`.

Counts do not depend on weights, but for ones and zeros: an exporter leaves out what multiplies by
one or adds zero. A NAFNet starts with such scales and normalizations and no trained one has them,
so they are drawn, from a fixed seed.
"""

import networks
import torch
from torch import nn

from deploy.zoo.nafnet import LayerNorm2d, NAFBlock, NAFNet
from deploy.zoo.nafnet_sizes import thesis_nafnet

SEED = 0
SPREAD = 0.1


def nafnet_16_22() -> NAFNet:
    """Width 16, 22 blocks: 1, 1, 1, 14 / 1 / 1, 1, 1, 1."""
    torch.manual_seed(SEED)
    return _with_drawn_affines(networks.nafnet_16_22())


def nafnet_32_36() -> NAFNet:
    """Width 32, 36 blocks: 1, 1, 1, 28 / 1 / 1, 1, 1, 1; the public GoPro configuration."""
    torch.manual_seed(SEED)
    return _with_drawn_affines(thesis_nafnet(32, 36))


def _with_drawn_affines(network: NAFNet) -> NAFNet:
    for module in network.modules():
        if isinstance(module, NAFBlock):
            nn.init.normal_(module.beta, std=SPREAD)
            nn.init.normal_(module.gamma, std=SPREAD)
        if isinstance(module, LayerNorm2d):
            nn.init.normal_(module.weight, mean=1.0, std=SPREAD)
            nn.init.normal_(module.bias, std=SPREAD)
    return network
