"""Names of networks, and how to make a spec of one that has no name here."""

import difflib
import importlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.errors import UsageError
from deploy.spec import ModelSpec, TensorSpec, rgb_image

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = Path(__file__).parent / "weights"


def _build_nafnet_tiny() -> "nn.Module":
    from deploy.zoo.nafnet import nafnet_tiny

    return nafnet_tiny()


def _nafnet_tiny() -> ModelSpec:
    return ModelSpec(
        name="nafnet-tiny",
        factory=_build_nafnet_tiny,
        checkpoint=WEIGHTS / "nafnet-tiny-demo.safetensors",
        inputs=(rgb_image("input"),),
        outputs=(rgb_image("output"),),
        source="MOFA paper (arXiv:2308.12494), Table 4, row 3; weights trained by this project",
        licence="Apache-2.0",
    )


# name -> maker of its spec; only its factory imports torch, which a bench machine lacks
MODELS = {"nafnet-tiny": _nafnet_tiny}


def find_model(name: str) -> ModelSpec:
    """Give the spec of a registered network.

    Raises:
        UsageError: no such name; the nearest ones are given.
    """
    if name in MODELS:
        return MODELS[name]()
    nearest = difflib.get_close_matches(name, MODELS, n=3, cutoff=0.3) or sorted(MODELS)
    raise UsageError(
        f"unknown model {name!r}",
        f"did you mean {', '.join(nearest)}? `mofa-deploy models` lists them all; "
        "your own network is --model package.module:factory",
    )


def user_model(factory: str, checkpoint: Path | None, shape: Sequence[int]) -> ModelSpec:
    """Give the spec of a user's own network, imported from `package.module:factory`.

    The current folder is importable, as it is for `python -m`.

    Raises:
        UsageError: the text has another form, or names nothing that can be called.
    """
    module_name, _, attribute = factory.partition(":")
    if not re.fullmatch(r"[\w.]+:[\w.]+", factory):
        raise UsageError(f"model {factory!r} is not package.module:factory", "name it like that")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        built = importlib.import_module(module_name)
        for part in attribute.split("."):
            built = getattr(built, part)
    except Exception as error:  # a user's module may raise anything
        raise UsageError(
            f"cannot import {factory!r} ({error})", "check the spelling and the current folder"
        ) from error
    if not callable(built):
        raise UsageError(f"{factory!r} is not callable", "name a class or a function")

    def build() -> "nn.Module":
        try:
            return built()
        except Exception as error:  # a user's factory may raise anything
            raise UsageError(
                f"{factory} builds no network ({type(error).__name__}: {error})",
                "call it without arguments, as mofa-deploy does, and mend what it raises",
            ) from error

    tensor = TensorSpec("input", tuple(shape))
    return ModelSpec(
        name=attribute.lower().replace("_", "-").replace(".", "-"),
        factory=build,
        checkpoint=checkpoint,
        inputs=(tensor,),
        outputs=(TensorSpec("output", tuple(shape)),),
        source=factory,
        licence="the user's own",
    )
