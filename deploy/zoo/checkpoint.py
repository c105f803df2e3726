"""Checkpoints as users have them, read as plain tensors only, fitted strictly, and told apart.

A checkpoint is an untrusted file: pickles are read weights-only, so one that carries code is
refused and none of it runs.
"""

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deploy.errors import CheckpointError
from deploy.zoo.registry import MODELS
from deploy.zoo.skeleton import Shapes, checkpoint_shapes

# BasicSR and NAFNet write `params`, with EMA `params_ema`; Lightning and many others `state_dict`.
NESTS = ("params_ema", "params", "state_dict")

SHOWN_MISFITS = 3


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file or a torch pickle; on the CPU, `module.` stripped.

    Raises:
        CheckpointError: no such file, or it is not a plain state dict.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}", "check the path")
    loaded = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for nest in NESTS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(nest), Mapping):
            loaded = loaded[nest]
            break
    if (
        not isinstance(loaded, Mapping)
        or not loaded
        or not all(isinstance(value, Tensor) for value in loaded.values())
    ):
        raise CheckpointError(
            f"{path} holds no plain state dict",
            "save `model.state_dict()`, alone or under params, params_ema or state_dict",
        )
    return {str(key).removeprefix("module."): value for key, value in loaded.items()}


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is no safetensors file ({error})", "save it again"
        ) from error


def _read_pickle(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is a pickle that holds more than tensors, so it was not run",
            "save `model.state_dict()` instead of the whole model, or convert it to safetensors",
        ) from error
    except Exception as error:  # a damaged file fails in a dozen types
        reason = (str(error).splitlines() or ["it ends too early"])[0]
        raise CheckpointError(
            f"{path} is no readable checkpoint ({reason})", "save it again"
        ) from error


@dataclass(frozen=True)
class Identity:
    """Which registered networks a checkpoint belongs to.

    Attributes:
        fits: names of those whose every tensor it has, in its shape, and no other. Several where
            networks differ in what holds no weights: in TLC, in an activation.
        nearest: the name that shares most tensors with it; None where none shares any.
        shared: of the tensors that either has, those that both have by name and shape; 0 to 1.
        misfits: what keeps it from fitting the nearest; empty where it fits.
    """

    fits: tuple[str, ...]
    nearest: str | None
    shared: float
    misfits: tuple[str, ...]


def identify(path: Path) -> Identity:
    """Tell which registered networks a checkpoint belongs to.

    Raises:
        CheckpointError: as `read_state_dict`.
    """
    given = _shapes(read_state_dict(path))
    fits = _fitting_models(given)
    if fits:
        return Identity(fits, fits[0], 1.0, ())
    shares = {name: _shared(checkpoint_shapes(spec), given) for name, spec in MODELS.items()}
    nearest = max(shares, key=shares.__getitem__)
    if not shares[nearest]:
        return Identity((), None, 0.0, ())
    misfits = _misfits(checkpoint_shapes(MODELS[nearest]), given)
    return Identity((), nearest, shares[nearest], tuple(misfits))


def load_checkpoint(network: nn.Module, path: Path) -> None:
    """Load a checkpoint into a network, strictly: every key, every shape.

    Raises:
        CheckpointError: it does not fit; the first keys or shapes that differ are named, and the
            registered networks that it does fit.
    """
    state = read_state_dict(path)
    given = _shapes(state)
    misfits = _misfits(_shapes(network.state_dict()), given)
    if misfits:
        raise CheckpointError(
            f"{path} does not fit {type(network).__name__}: {shorten(misfits)}",
            _advice(_fitting_models(given)),
        )
    network.load_state_dict(state, strict=True)


def shorten(misfits: Sequence[str]) -> str:
    """Give the first misfits, and how many there are besides."""
    left = len(misfits) - SHOWN_MISFITS
    return "; ".join(misfits[:SHOWN_MISFITS]) + (f"; {left} more" if left > 0 else "")


def _advice(fits: Sequence[str]) -> str:
    if fits:
        return f"it fits {', '.join(fits)}; pass --model {fits[0]}, or another checkpoint"
    return (
        "pass the checkpoint of this network, or the network of this checkpoint "
        "(`mofa-deploy models --identify FILE` names the nearest)"
    )


def _fitting_models(given: Shapes) -> tuple[str, ...]:
    return tuple(name for name, spec in MODELS.items() if checkpoint_shapes(spec) == given)


def _shared(wanted: Shapes, given: Shapes) -> float:
    return len(wanted.items() & given.items()) / len(wanted.items() | given.items())


def _shapes(state: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(value.shape) for name, value in state.items()}


def _misfits(wanted: Shapes, given: Shapes) -> list[str]:
    missing = [f"missing {key}" for key in wanted if key not in given]
    unexpected = [f"unexpected {key}" for key in given if key not in wanted]
    reshaped = [
        f"{key} is {given[key]}, the network has {shape}"
        for key, shape in wanted.items()
        if key in given and given[key] != shape
    ]
    return reshaped + missing + unexpected
