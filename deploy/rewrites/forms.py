"""Which of several equal forms a rewrite writes. The closed sets, and what stands for what.

The fastest form of the same function differs by target, width and precision, so each is named and
can be asked for. `auto` is resolved by the rewrite, node by node, with its reason in the code.
"""

from dataclasses import asdict, dataclass
from typing import Literal, get_args, get_type_hints

from deploy.errors import UsageError

# lp: centering convolution + LpNormalization; fused: LayerNormalization between two Transposes;
# folded: the centering inside the 1x1 convolution that follows, the scale after it
LayerNormForm = Literal["auto", "lp", "fused", "folded", "keep"]

# nhwc: Reshape and Transpose in channels-last order; dcr: DepthToSpace, mode DCR
ShuffleForm = Literal["auto", "nhwc", "dcr", "keep"]

# convs: a convolution for each half of a gate, instead of one and a Split
GateForm = Literal["auto", "convs", "keep"]

# wide: per-channel factors (N, C, 1, 1) expanded to (N, C, 1, W) before they multiply
AttentionForm = Literal["auto", "wide", "keep"]

# padded: 4 input channels for the first convolution, 16 output channels for the last
EndsForm = Literal["auto", "padded", "keep"]


@dataclass(frozen=True)
class Forms:
    """The form asked for, of each thing that has several.

    Raises:
        UsageError: a form that there is not; all are listed.
    """

    layernorm: LayerNormForm = "auto"
    shuffle: ShuffleForm = "auto"
    gate: GateForm = "auto"
    attention: AttentionForm = "auto"
    ends: EndsForm = "auto"

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for name, value in self.record().items():
            known = get_args(hints[name])
            if value not in known:
                raise UsageError(f"unknown form {value!r} of {name}", f"use {', '.join(known)}")

    def record(self) -> dict[str, str]:
        """Give it as JSON-able values."""
        return asdict(self)
