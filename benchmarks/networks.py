"""Networks that the benchmarks measure besides the zoo's; seeded weights, for speed only."""

from deploy.zoo.nafnet import NAFNet


def nafnet_16_22() -> NAFNet:
    """NAFNet of width 16 with 22 blocks, most of them deep: 2.64 GMAC at 256x256."""
    return NAFNet(width=16, encoder_blocks=(1, 1, 1, 14), middle_blocks=1, decoder_blocks=(1,) * 4)
