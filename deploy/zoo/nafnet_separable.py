"""NAFNet with depthwise-separable convolutions in a part of it: the thesis' three variants.

Source: thesis (N. Kuspys, UCU, 2023), section 5.4. It does not say which convolutions: a block has
only 1x1 dense ones and one that is depthwise already. The literal reading is taken (every dense
convolution, so that a 1x1 becomes a depthwise 1x1 and a 1x1; both with a bias where the original
has one), since it is the only one that changes the blocks. MACs fall by 2 to 5 % and the number of
operators grows, which is the thesis' finding.
"""

from typing import Literal, get_args

from torch import nn

from deploy.errors import UsageError
from deploy.zoo.conversion import exchange
from deploy.zoo.nafnet import NAFNet
from deploy.zoo.separable import SeparableConv

Part = Literal["high", "low", "all"]
PARTS: tuple[Part, ...] = get_args(Part)


def with_separable_convs(model: NAFNet, part: Part) -> NAFNet:
    """Give a copy whose dense convolutions in `part` are separable, with fresh weights.

    Args:
        model: a NAFNet whose stages are resampled by single convolutions.
        part: "high" is the two finest encoder and decoder stages, "low" the rest between `intro`
            and `ending`, "all" everything with those two. A stage's down or up convolution
            belongs to it.

    Raises:
        UsageError: there is no such part.
    """
    if part not in PARTS:
        raise UsageError(f"separable convolutions in {part!r}", f"choose {', '.join(PARTS)}")
    separable = {
        name: _separable(module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.groups == 1 and _within(name, part, model)
    }
    return exchange(model, separable)


def _within(name: str, part: Part, model: NAFNet) -> bool:
    room, stage = [*name.split("."), ""][:2]
    if part == "all" or room in ("intro", "ending"):
        return part == "all"
    finest_decoder = len(model.decoders) - 1
    high = {
        "encoders": ("0", "1"),
        "downs": ("0", "1"),
        "decoders": (str(finest_decoder), str(finest_decoder - 1)),
        "ups": (str(finest_decoder), str(finest_decoder - 1)),
    }
    return (stage in high.get(room, ())) == (part == "high")


def _separable(conv: nn.Conv2d) -> SeparableConv:
    bias = conv.bias is not None
    return SeparableConv(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size[0],
        conv.stride[0],
        padding=int(conv.padding[0]),
        depthwise_bias=bias,
        pointwise_bias=bias,
    )
