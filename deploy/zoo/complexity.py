"""Parameters and MACs of a network, layer by layer: the true count and the papers' count.

The MOFA paper's "FLOPs" are MACs as the tool `thop` 0.1.1 reports them. It over-counts transposed
convolutions by the square of their stride, counts pooling and upsampling, and skips parameters of
modules it does not know. Both counts stand side by side: thop's to compare with print, the true
one to compare networks.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn

from deploy.zoo.trace import Call, trace_calls

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

    The layers are in the order in which they first end; those that are not called come last.

    Args:
        model: left untouched; counted in evaluation mode.
        input_shapes: of each input, in call order.
    """
    calls: dict[str, list[Call]] = {}
    for call in trace_calls(model, input_shapes):
        calls.setdefault(call.layer, []).append(call)
    seen: set[Tensor] = set()
    modules = dict(model.named_modules())
    costs = (_cost(name, modules[name], calls.get(name, []), seen) for name in calls | modules)
    return Complexity(tuple(cost for cost in costs if cost.params or cost.thop_macs))


def _cost(name: str, module: nn.Module, calls: list[Call], seen: set[Tensor]) -> LayerCost:
    own = [p for p in module.parameters(recurse=False) if p not in seen]
    seen.update(own)  # a shared parameter counts once
    params = sum(parameter.numel() for parameter in own)
    return LayerCost(
        layer=name,
        kind=type(module).__name__,
        macs=sum(true_macs(call) for call in calls),
        thop_macs=sum(_thop_macs(call) for call in calls),
        params=params,
        thop_params=params if isinstance(module, THOP_KNOWS_PARAMETERS_OF) else 0,
        output_shape=calls[-1].output_shape if calls else (),
    )


def true_macs(call: Call) -> int:
    """Give the multiply-adds of one call of a Conv2d or ConvTranspose2d; 0 for other modules."""
    match call.module:
        case nn.Conv2d() as conv:
            elements, channels = math.prod(call.output_shape), conv.in_channels
        case nn.ConvTranspose2d() as conv:
            elements, channels = math.prod(call.input_shape), conv.out_channels
        case _:
            return 0
    return elements * (channels // conv.groups) * math.prod(conv.kernel_size)


def _thop_macs(call: Call) -> int:
    """Apply the rules of thop 0.1.1 (vision/basic_hooks.py) that the zoo's layers need."""
    outputs = math.prod(call.output_shape)
    match call.module:
        case nn.Conv2d() | nn.ConvTranspose2d() as conv:
            return outputs * (conv.in_channels // conv.groups) * math.prod(conv.kernel_size)
        case nn.AvgPool2d():
            return outputs
        case nn.AdaptiveAvgPool2d():
            (height, width), (rows, columns) = call.input_shape[-2:], call.output_shape[-2:]
            return outputs * ((height // rows) * (width // columns) + 1)
        case nn.Upsample(mode="bilinear"):
            return outputs * THOP_BILINEAR_OPS
        case nn.BatchNorm2d(affine=True):
            return math.prod(call.input_shape) * THOP_AFFINE_NORM_OPS
        case _:
            return 0
