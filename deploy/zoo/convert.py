"""What is done to a network by option, once it has its weights: TLC, and LayerNorm removed."""

from collections.abc import Callable

from torch import nn

from deploy.errors import MofaError, UsageError
from deploy.spec import Conversion, ModelSpec
from deploy.zoo.local_converter import BASE_PER_TRAIN, LocalAvgPool2d, local_converter
from deploy.zoo.without_layernorm import without_layernorm

# At multiples of this, windows are whole pixels in features up to 32 times coarser than the image;
# at other training sizes they are rounded down, to less than 1.5 times that size.
EXACT_PX = 64


def convert(network: nn.Module, spec: ModelSpec) -> nn.Module:
    """Give the network that `spec.conversions` make of it; itself where there are none.

    Raises:
        UsageError: a conversion finds nothing to change, or TLC cannot run the network.
    """
    for conversion in spec.conversions:
        network = CONVERSIONS[conversion](network, spec)
    return network


def window_px(spec: ModelSpec) -> int:
    """Give the side of TLC's windows in pixels of the image."""
    return int(BASE_PER_TRAIN * spec.train_px)


def sees_whole_image(spec: ModelSpec) -> bool:
    """Tell whether TLC changes nothing at this input size: the windows cover the whole image.

    That is no error. It is what the converter's paper defines (a window as large as the features
    is the global mean), it holds at the size that networks are trained at, and the thesis measured
    its phones there. What would be wrong at every size is a window below the training size, in
    which a pool would see less than it was trained on, and a training size below what the network
    makes one pixel of, whose windows are no means; `local_converter` refuses both.
    """
    exact = spec.train_px % EXACT_PX == 0
    covered_px = window_px(spec) if exact else spec.train_px
    return "local" in spec.conversions and max(spec.inputs[0].shape[-2:]) <= covered_px


def require_fixed_size(spec: ModelSpec) -> None:
    """Make sure that a network is not asked to be both local and of open size.

    Each local pool is a global one below its window's size and another graph above it. The
    exporter takes the branch of the size that it traces, and would be wrong at the others without
    a word.

    Raises:
        UsageError: it is asked for.
    """
    if "local" in spec.conversions:
        raise UsageError(
            f"{spec.name} with open height and width: its local pools are other graphs at other "
            "sizes",
            "leave --dynamic out and pass --shape, once for each size",
        )


def _to_local(network: nn.Module, spec: ModelSpec) -> nn.Module:
    train_shape = (1, spec.inputs[0].shape[1], spec.train_px, spec.train_px)
    try:
        local = local_converter(network, train_shape)
    except MofaError:
        raise
    except Exception as error:  # a user's network may raise anything
        size = "x".join(map(str, train_shape))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"{spec.name} cannot be run at {size}, the training size of TLC ({reason})",
            "pass --local-train-px with the side of its training crops, or leave --local out",
        ) from error
    if not any(isinstance(module, LocalAvgPool2d) for module in local.modules()):
        raise UsageError(
            f"{spec.name} has no global average pool to make local", "leave --local out"
        )
    return local


def _to_no_layernorm(network: nn.Module, spec: ModelSpec) -> nn.Module:
    return without_layernorm(network)


CONVERSIONS: dict[Conversion, Callable[[nn.Module, ModelSpec], nn.Module]] = {
    "local": _to_local,
    "no-layernorm": _to_no_layernorm,
}
