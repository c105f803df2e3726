"""NAFNet in the sizes that the papers train, beside NAFNet-tiny.

Sources: thesis (N. Kuspys, "Single Image Motion Deblurring for Mobile Devices", UCU, 2023),
NAFNetLocal-W-N; Chen et al. (arXiv:2204.04676) for the public SIDD configuration.
"""

from deploy.errors import UsageError
from deploy.zoo.nafnet import NAFNet

THESIS_SIZES = ((32, 36), (32, 18), (16, 36), (16, 18), (16, 9))  # width, blocks
BLOCKS_OUTSIDE_ENCODER_4 = 8


def thesis_nafnet(width: int, blocks: int) -> NAFNet:
    """Build the network of NAFNetLocal-`width`-`blocks`, before its local conversion.

    `blocks` counts all NAFBlocks: one in each stage, the rest in the fourth encoder. Certain for
    32-36, the public GoPro configuration; for the others it follows from the thesis' text, which
    says that the width and the fourth encoder are reduced.

    Raises:
        UsageError: fewer than 9 blocks.
    """
    deepest = blocks - BLOCKS_OUTSIDE_ENCODER_4
    if deepest < 1:
        raise UsageError(
            f"NAFNet of {blocks} blocks, one in each of nine stages",
            f"ask for at least {BLOCKS_OUTSIDE_ENCODER_4 + 1}",
        )
    return NAFNet(
        width, encoder_blocks=(1, 1, 1, deepest), middle_blocks=1, decoder_blocks=(1, 1, 1, 1)
    )


def nafnet_sidd_width32() -> NAFNet:
    """NAFNet of width 32 in its public SIDD configuration, 29.160 M parameters."""
    return NAFNet(32, encoder_blocks=(2, 2, 4, 8), middle_blocks=12, decoder_blocks=(2, 2, 2, 2))
