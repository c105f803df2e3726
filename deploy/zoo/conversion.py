"""Model -> model: a copy with some submodules exchanged, the argument left as it was."""

import copy
from collections.abc import Mapping
from typing import TypeVar

from torch import nn

Net = TypeVar("Net", bound=nn.Module)


def exchange(model: Net, replacements: Mapping[str, nn.Module]) -> Net:
    """Give a deep copy of `model` with the submodules at these dotted names replaced.

    Names and order of the untouched parameters stay, so their checkpoint keys do too. A replaced
    module takes over training mode, but no weights.
    """
    converted = copy.deepcopy(model)
    for name, module in replacements.items():
        converted.set_submodule(name, module.train(converted.training), strict=True)
    return converted
