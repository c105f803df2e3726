"""Which of several equal forms a rewrite writes. The closed sets, and what stands for what.

The fastest form of the same function differs by target, width and precision, so each is named and
can be asked for. `auto` is resolved by the rewrite, node by node, with its reason in the code.
"""

from collections.abc import Mapping
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

# padded: 4 input channels for the first convolution, 16 output channels for the last;
# rows: the same, but the first, the last and all others to few channels make several pixels of a
# row at a time; blocks: the same, but the last makes square blocks of pixels
EndsForm = Literal["auto", "rows", "blocks", "padded", "keep"]


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
        for name, value in self.record().items():
            known = _known(name)
            if value not in known:
                raise UsageError(f"unknown form {value!r} of {name}", f"use {', '.join(known)}")

    def record(self) -> dict[str, str]:
        """Give it as JSON-able values."""
        return asdict(self)


def _known(name: str) -> tuple[str, ...]:
    return get_args(get_type_hints(Forms)[name])


def choices(name: str) -> str:
    """Give the forms of one thing as a command line shows them, such as `auto|wide|keep`."""
    return "|".join(_known(name))


def chosen(**asked: str | None) -> Forms:
    """Give the forms asked for; None is not asked, which is `auto`. Raises UsageError."""
    return Forms(**{name: value for name, value in asked.items() if value is not None})  # type: ignore[arg-type]


def forms_of_record(record: Mapping[str, str]) -> Forms:
    """Give the forms that `Forms.record` described; those of another version are `auto`."""
    known = {name: value for name, value in record.items() if name in Forms().record()}
    return chosen(**{name: value for name, value in known.items() if value in _known(name)})
