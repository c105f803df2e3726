"""NAFNet_mofa: NAFNet-tiny after the MOFA roadmap, as the released class has it.

Source: MOFA paper (arXiv:2308.12494), Table 4, row 4, and the key names of the public class. The
paper prints 222.1K parameters; the class has 221,955. Its threshold is 16, not PMRID's 32.
"""

from fractions import Fraction

from torch import nn

from deploy.zoo.conversion import exchange
from deploy.zoo.nafnet import NAFNet, nafnet_tiny
from deploy.zoo.partial_conv import HALF, QUARTER, PartialConv, is_depthwise

THRESHOLD = 16
WIDTH = 16
STAGES = 3


def nafnet_mofa() -> NAFNet:
    """NAFNet_mofa, 221,955 parameters, 135 tensors.

    In every block of NAFNet-tiny the depthwise convolution becomes a partial one, and the
    resampling convolutions become pooling or bilinear steps with a partial and a 1x1 convolution.
    """
    deepest = 2 ** (STAGES - 1) * WIDTH
    exchanged: dict[str, nn.Module] = {
        "middle_blks.0.conv2": _partial(2 * 2 * deepest, QUARTER),
    }
    for stage in range(STAGES):
        fine = 2**stage * WIDTH
        portion = HALF if fine == deepest else QUARTER
        mirrored = STAGES - 1 - stage  # decoder stages count from the deepest
        exchanged[f"encoders.{stage}.0.conv2"] = _partial(2 * fine, portion)
        exchanged[f"decoders.{mirrored}.0.conv2"] = _partial(2 * fine, portion)
        exchanged[f"downs.{stage}"] = _down(fine)
        exchanged[f"ups.{mirrored}"] = _up(2 * fine)
    return exchange(nafnet_tiny(), exchanged)


def _partial(channels: int, portion: Fraction) -> PartialConv:
    return PartialConv(channels, 3, portion, depthwise=is_depthwise(channels, portion, THRESHOLD))


def _down(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.AvgPool2d(2),
        _partial(channels, QUARTER),
        nn.Conv2d(channels, 2 * channels, 1, bias=False),
    )


def _up(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(
            _partial(channels, QUARTER), nn.Conv2d(channels, channels // 2, 1, bias=False)
        ),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
    )
