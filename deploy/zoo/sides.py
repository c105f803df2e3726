"""Image sides that a network takes as they are, and the others made to fit."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

MULTIPLES = (1, 2, 4, 8, 16, 32, 64, 128)  # of the sides; halving is what asks for them


class PaddedToMultiple(nn.Module):
    """(N, C, H, W) -> (N, C, H, W) of any side: zeros at the bottom and right, cut off again.

    Zeros because NAFNet and PMRID were trained and are scored with them, and because phone
    runtimes know no other padding. An output that is larger by a whole factor is cut alike.

    Args:
        network: takes sides that are multiples of `multiple`.
    """

    def __init__(self, network: nn.Module, multiple: int) -> None:
        super().__init__()
        self.network = network
        self.multiple = multiple

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        bottom, right = -height % self.multiple, -width % self.multiple
        padded = functional.pad(image, (0, right, 0, bottom))
        restored = self.network(padded)
        factor = restored.shape[-1] // padded.shape[-1]
        return restored[..., : height * factor, : width * factor]


def takes(network: nn.Module, shape: Sequence[int]) -> bool:
    """Tell whether a network gives an output of the input's sides, or a whole multiple of them.

    Found by running it on the meta device, where shapes are computed and nothing else.
    """
    return _takes(_shadow(network), shape)


def side_multiple(network: nn.Module, shape: Sequence[int]) -> int | None:
    """Give the least of MULTIPLES that both sides must be divisible by; None if none helps.

    Args:
        shape: (N, C, H, W) wanted; sides near these are tried.
    """
    shadow = _shadow(network)
    for multiple in MULTIPLES:
        sides = (_odd_multiple(side, multiple) for side in shape[2:])
        if _takes(shadow, (*shape[:2], *sides)):
            return multiple
    return None


def _odd_multiple(side: int, multiple: int) -> int:
    """Give a side near the wanted one that no larger power of two divides."""
    times = -(-side // multiple)
    return multiple * (times if times % 2 else times + 1)


def _shadow(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).to("meta").eval()


def _takes(shadow: nn.Module, shape: Sequence[int]) -> bool:
    try:
        with torch.no_grad():
            output = shadow(torch.empty(tuple(shape), device="meta"))
    except Exception:  # any network, so any type; what is wrong shows when it is exported
        return False
    if not isinstance(output, Tensor) or output.ndim != 4:
        return False
    height, width = output.shape[-2:]
    factor = width // shape[-1]
    return factor >= 1 and (height, width) == (factor * shape[-2], factor * shape[-1])
