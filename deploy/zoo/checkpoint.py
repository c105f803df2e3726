"""Checkpoints as users have them, read as plain tensors only, fitted strictly.

A checkpoint is an untrusted file: pickles are read weights-only, so one that carries code is
refused and none of it runs.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deploy.errors import CheckpointError

# BasicSR and NAFNet write `params`, with EMA `params_ema`; Lightning and many others `state_dict`.
NESTS = ("params_ema", "params", "state_dict")


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
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or ["it ends too early"])[0]
        raise CheckpointError(
            f"{path} is no readable checkpoint ({reason})", "save it again"
        ) from error


def load_checkpoint(network: nn.Module, path: Path) -> None:
    """Load a checkpoint into a network, strictly: every key, every shape.

    Raises:
        CheckpointError: it does not fit; the first keys or shapes that differ are named.
    """
    state = read_state_dict(path)
    wanted = network.state_dict()
    misfits = _misfits(wanted, state)
    if misfits:
        shown = "; ".join(misfits[:3]) + ("" if len(misfits) <= 3 else f"; {len(misfits) - 3} more")
        raise CheckpointError(
            f"{path} does not fit {type(network).__name__}: {shown}",
            "pass the checkpoint of this network, or the network of this checkpoint",
        )
    network.load_state_dict(state, strict=True)


def _misfits(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    missing = [f"missing {key}" for key in wanted if key not in state]
    unexpected = [f"unexpected {key}" for key in state if key not in wanted]
    reshaped = [
        f"{key} is {tuple(state[key].shape)}, the network has {tuple(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    return reshaped + missing + unexpected
