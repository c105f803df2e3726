"""What was chosen when a graph was quantized: everything but the hardware and the images."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from deploy.errors import UsageError
from deploy.placement import PRESETS

METHODS = ("minmax", "percentile-P", "entropy", "mse")  # P: a number above 50, to 100
DEFAULT_METHOD = "mse"
EQUALIZE = {
    "no": "channels keep their scales",
    "whole": "by all that each channel ever held",
    "typical": "by what each channel mostly holds: an extreme value decides no scale",
}


@dataclass(frozen=True)
class Recipe:
    """How to make an integer graph of a float one.

    Attributes:
        preset: of `deploy.placement.PRESETS`.
        method: how ranges are chosen: of METHODS, with a number for P.
        equalize: how channels were scaled to like ranges before, of EQUALIZE.
        correct_bias: biases give back the mean that rounding moved.
        float_nodes: names of nodes that stay in float, sorted.
    """

    preset: str = "fast"
    method: str = DEFAULT_METHOD
    equalize: str = "no"
    correct_bias: bool = False
    float_nodes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise UsageError(f"unknown preset {self.preset!r}", f"use one of {', '.join(PRESETS)}")
        require_method(self.method)
        if self.equalize not in EQUALIZE:
            raise UsageError(
                f"unknown way to equalize {self.equalize!r}", f"use one of {', '.join(EQUALIZE)}"
            )
        object.__setattr__(self, "float_nodes", tuple(sorted(set(self.float_nodes))))

    def record(self) -> dict[str, Any]:
        """Give it as JSON-able values; `recipe_of_record` gives it back."""
        return {**asdict(self), "float_nodes": list(self.float_nodes)}


def recipe_of_record(record: Mapping[str, Any]) -> Recipe:
    """Give the recipe that a record, as of `Recipe.record`, describes.

    Raises:
        UsageError: an unknown field, or a value that cannot be.
    """
    try:
        return Recipe(**{**record, "float_nodes": tuple(record.get("float_nodes", ()))})
    except TypeError as error:
        raise UsageError(f"no recipe ({error})", f"give the fields of {Recipe()}") from error


def require_method(method: str) -> None:
    """Check the name of a range method. Raises UsageError."""
    percentile = re.fullmatch(r"percentile-(\d+(?:\.\d+)?)", method)
    known = 50 < float(percentile[1]) <= 100 if percentile else method in METHODS
    if not known or method == "percentile-P":
        raise UsageError(
            f"unknown range method {method!r}",
            f"use one of {', '.join(METHODS)}, such as percentile-99.99",
        )
