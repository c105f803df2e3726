"""Parameters and MACs of a network, layer by layer: the true count and the papers' count.

The MOFA paper's "FLOPs" are MACs as the tool `thop` 0.1.1 reports them. It over-counts transposed
convolutions by the square of their stride, counts pooling and upsampling, and skips parameters of
modules it does not know. Both counts stand side by side: thop's to compare with print, the true
one to compare networks.
"""

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

THOP_BILINEAR_OPS = 11  # per output element
THOP_AFFINE_NORM_OPS = 4  # per input element
THOP_KNOWS_PARAMETERS_OF = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d)


@dataclass(frozen=True)
class LayerCost:
    """One module with parameters of its own, or with a count.

    Attributes:
        layer: dotted name in the network; "" is the network itself.
        kind: class name.
        macs: multiply-adds of Conv2d and ConvTranspose2d (on input elements); no bias, no pooling,
            no elementwise work.
        thop_macs: what thop 0.1.1 would say.
        params: parameters held by this very module.
        thop_params: the same, 0 where thop has no rule for the module.
        output_shape: of its last call; () if it was not called.
    """

    layer: str
    kind: str
    macs: int
    thop_macs: int
    params: int
    thop_params: int
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class Complexity:
    """The sums of `layers`."""

    layers: tuple[LayerCost, ...]

    @property
    def macs(self) -> int:
        """Give the true multiply-adds."""
        return sum(layer.macs for layer in self.layers)

    @property
    def thop_macs(self) -> int:
        """Give the multiply-adds as the MOFA paper counts them."""
        return sum(layer.thop_macs for layer in self.layers)

    @property
    def params(self) -> int:
        """Give the number of all parameters."""
        return sum(layer.params for layer in self.layers)

    @property
    def thop_params(self) -> int:
        """Give the number of parameters as the MOFA paper counts them."""
        return sum(layer.thop_params for layer in self.layers)


def measure_complexity(
    model: nn.Module, input_shapes: Iterable[tuple[int, ...]] = ((1, 3, 256, 256),)
) -> Complexity:
    """Count one forward pass; nothing is computed (the pass runs on shapes only).

    Args:
        model: left untouched; counted in evaluation mode.
        input_shapes: of each input, in call order.
    """
    shadow = copy.deepcopy(model).to("meta").eval()
    tallies = {name: _Tally() for name, _ in shadow.named_modules()}
    for name, module in shadow.named_modules():
        module.register_forward_hook(tallies[name].add)
    with torch.no_grad():
        shadow(*(torch.empty(shape, device="meta") for shape in input_shapes))
    seen: set[Tensor] = set()
    costs = (_cost(name, module, tallies[name], seen) for name, module in shadow.named_modules())
    return Complexity(tuple(cost for cost in costs if cost.params or cost.thop_macs))


@dataclass
class _Tally:
    """What the calls of one module add up to."""

    macs: int = 0
    thop_macs: int = 0
    output_shape: tuple[int, ...] = field(default=())

    def add(self, module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        if not isinstance(output, Tensor):
            return
        self.output_shape = tuple(output.shape)
        if inputs:  # a container may be called with keywords; a counted layer is not
            self.macs += _true_macs(module, inputs[0], output)
            self.thop_macs += _thop_macs(module, inputs[0], output)


def _cost(name: str, module: nn.Module, tally: _Tally, seen: set[Tensor]) -> LayerCost:
    own = [p for p in module.parameters(recurse=False) if p not in seen]
    seen.update(own)  # a shared parameter counts once
    params = sum(parameter.numel() for parameter in own)
    return LayerCost(
        layer=name,
        kind=type(module).__name__,
        macs=tally.macs,
        thop_macs=tally.thop_macs,
        params=params,
        thop_params=params if isinstance(module, THOP_KNOWS_PARAMETERS_OF) else 0,
        output_shape=tally.output_shape,
    )


def _true_macs(module: nn.Module, x: Tensor, y: Tensor) -> int:
    if isinstance(module, nn.Conv2d):
        return y.numel() * (module.in_channels // module.groups) * math.prod(module.kernel_size)
    if isinstance(module, nn.ConvTranspose2d):
        return x.numel() * (module.out_channels // module.groups) * math.prod(module.kernel_size)
    return 0


def _thop_macs(module: nn.Module, x: Tensor, y: Tensor) -> int:
    """Apply the rules of thop 0.1.1 (vision/basic_hooks.py) that the zoo's layers need."""
    match module:
        case nn.Conv2d() | nn.ConvTranspose2d():
            window = math.prod(module.kernel_size)
            return y.numel() * (module.in_channels // module.groups) * window
        case nn.AvgPool2d():
            return y.numel()
        case nn.AdaptiveAvgPool2d():
            window = (x.shape[-2] // y.shape[-2]) * (x.shape[-1] // y.shape[-1])
            return y.numel() * (window + 1)
        case nn.Upsample(mode="bilinear"):
            return y.numel() * THOP_BILINEAR_OPS
        case nn.BatchNorm2d(affine=True):
            return x.numel() * THOP_AFFINE_NORM_OPS
        case _:
            return 0
