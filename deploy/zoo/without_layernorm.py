"""The runtime variant of the MOFA paper: layer normalization removed.

Source: MOFA paper (arXiv:2308.12494), section 4: LN is removed to measure on the phone, as "not
deployable". It does not say what replaces it; the identity is the reading taken here. Nothing is
retrained, so the images it gives are not to be judged.
"""

from torch import nn

from deploy.errors import UsageError
from deploy.zoo.conversion import Net, exchange

# this package's class, and those of the public NAFNet and BasicSR code, each of which has its own
LAYER_NORM_2D = "LayerNorm2d"


def without_layernorm(model: Net) -> Net:
    """Give a copy with every layer normalization replaced by the identity; other weights are kept.

    Load a checkpoint before this conversion: its normalization tensors have no place after it.

    Raises:
        UsageError: the model has no LayerNorm2d and no LayerNorm.
    """
    norms = [name for name, module in model.named_modules() if _is_layer_norm(module)]
    if not norms:
        raise UsageError(
            f"{type(model).__name__} has no LayerNorm2d to remove", "leave --no-layernorm out"
        )
    return exchange(model, {name: nn.Identity() for name in norms})


def _is_layer_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.LayerNorm) or type(module).__name__ == LAYER_NORM_2D
