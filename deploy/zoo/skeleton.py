"""Registered networks without their numbers: layers, shapes and names, made in no time."""

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from deploy.spec import ModelSpec
from deploy.zoo.convert import convert

Shapes = dict[str, tuple[int, ...]]


def skeleton(spec: ModelSpec) -> nn.Module:
    """Give a registered network on the meta device, with its conversions: to count, not to run.

    For the networks of this package only: a user's factory may need real numbers.
    """
    with torch.device("meta"):
        network = spec.factory()
    return convert(network, spec)


def checkpoint_shapes(spec: ModelSpec) -> Shapes:
    """Give name -> shape of the tensors that a checkpoint of a registered network holds."""
    return _shapes_of(spec.factory)


@cache
def _shapes_of(factory: Callable[[], nn.Module]) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in factory().state_dict().items()}
