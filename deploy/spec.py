"""What a network is, before it is a file: its tensors, where it comes from, how to build it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from deploy.pipeline import RGB, Pipeline

if TYPE_CHECKING:
    from torch import nn

TRAIN_PX = 256  # the crops of the papers

# what is asked of a network by option; done after its checkpoint is loaded, in deploy/zoo/convert
Conversion = Literal["local", "no-layernorm"]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a network.

    Attributes:
        name: fixed name in the exported graph.
        shape: (N, C, H, W).
        value_range: least and greatest value the tensor is meant to hold.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    value_range: tuple[float, float] = (0.0, 1.0)


def network_image(name: str, pipeline: Pipeline, side_px: int = 256) -> TensorSpec:
    """Give the spec of a square image as a pipeline hands it over: (1, C, side_px, side_px)."""
    shape = (1, pipeline.channels, side_px, side_px)
    return TensorSpec(name, shape, value_range=(0.0, pipeline.peak))


@dataclass(frozen=True)
class ModelSpec:
    """A named network.

    Attributes:
        name: what the user types; also the stem of every file made from it.
        factory: builds the network with untrained weights.
        checkpoint: trained weights, or None. Without them no quality is ever reported.
        inputs: one spec per input, in call order.
        outputs: one spec per output.
        source: paper, table and row that the network stands for.
        licence: of the checkpoint, or of the code when there is none.
        pipeline: what images go through before the network and behind it.
        conversions: done in this order after the checkpoint is loaded; the name says them too.
        train_px: side of the training crops as the network sees them, which TLC goes by.
    """

    name: str
    factory: "Callable[[], nn.Module]"
    checkpoint: Path | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    source: str
    licence: str
    pipeline: Pipeline = RGB
    conversions: tuple[Conversion, ...] = ()
    train_px: int = TRAIN_PX

    @property
    def trained(self) -> bool:
        """Tell whether this very function was trained, so that its images may be judged.

        TLC belongs to trained networks: it is how their public code scores them. A network that
        lost its normalization computes something that its weights were never trained for.
        """
        return self.checkpoint is not None and "no-layernorm" not in self.conversions
