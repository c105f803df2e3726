"""What an audit finds in a model file, and what of it a well-made quantized graph has not."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deploy.integer_ops import CONVERSIONS, CONVOLUTIONS, float_name

AUDITED = (
    *(*CONVOLUTIONS, "Add", "Mul", "Concat", "MatMul", "Gemm", "GlobalAveragePool", "AveragePool"),
    *("MaxPool", "GlobalMaxPool", "LpPool", "GlobalLpPool"),
)
LEFT = (*CONVERSIONS, "Transpose")
# float kernels by design; each needs a DQ before it and a Q after it
NORMALIZATIONS = ("InstanceNormalization", "LayerNormalization", "LpNormalization")
CONVERSIONS_PER_NORM = 2
CONVERSIONS_AT_ENDS = 4
ON_PURPOSE = "on-purpose"
NAMED = 3  # nodes named in one line; all are in the table


@dataclass(frozen=True)
class Unfused:
    """An operator that stays in float.

    Attributes:
        where: of a convolution as `integer_ops.positions` has it; of anything else empty.
        reason: a key of `fusion.REASONS`.
        detail: the tensors and nodes that are the reason; why, of what is in float on purpose.
        conversions: Q and DQ right beside it.
    """

    node: str
    operator: str
    where: str
    reason: str
    detail: str
    conversions: int

    @property
    def is_wanted(self) -> bool:
        """Whether somebody wanted it in float.

        That is recorded, or it is a convolution at an end of the graph with float weights: nobody
        quantized that one, while one with int8 weights fell out of fusion.
        """
        at_end = self.where in ("first", "last") and self.reason == "float-weights"
        return at_end or self.reason == ON_PURPOSE


@dataclass(frozen=True)
class OddChannels:
    """An integer convolution whose channels are off the multiple that its kernels are made for."""

    node: str
    what: str  # "depthwise channels" or "outputs"
    channels: int
    multiple: int


@dataclass(frozen=True)
class Audit:
    """What was found in a file.

    Attributes:
        form: one of `integer_ops.FORMS`.
        target: the hardware that it was looked at for.
        session: level and config entries that it was optimized with here; empty where it was not.
        integer: integer operators by their own name, and how many.
        unfused: audited operators that are in float, in the order of the graph.
        left: Q, DQ and Transpose that are left.
        in_float: other operators that are in float.
        odd_channels: in the order of the graph.
    """

    path: Path
    form: str
    target: str
    session: Mapping[str, str] = field(default_factory=dict)
    integer: Mapping[str, int] = field(default_factory=dict)
    unfused: tuple[Unfused, ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)
    in_float: Mapping[str, int] = field(default_factory=dict)
    odd_channels: tuple[OddChannels, ...] = ()

    @property
    def norms(self) -> int:
        """Normalizations, which run in float by design."""
        return sum(self.in_float.get(name, 0) for name in NORMALIZATIONS)

    @property
    def kept(self) -> tuple[Unfused, ...]:
        """What is in float because somebody wanted it."""
        return tuple(one for one in self.unfused if one.is_wanted)

    @property
    def conversions(self) -> int:
        """Q and DQ that are left."""
        return sum(self.left.get(name, 0) for name in CONVERSIONS)

    @property
    def most_conversions(self) -> int:
        """How many Q and DQ a well-made graph has at most.

        Two a normalization, four for the ends, and those beside what is wanted in float.
        """
        needed = sum(one.conversions for one in self.kept)
        return CONVERSIONS_PER_NORM * self.norms + CONVERSIONS_AT_ENDS + needed

    def counts(self) -> dict[str, tuple[int, int]]:
        """Give for each audited operator how many are in integers and how many in float."""
        integer: Counter[str] = Counter()
        for name, count in self.integer.items():
            integer[float_name(name)] += count
        unfused = Counter(one.operator for one in self.unfused)
        names = [*AUDITED, *sorted(set(integer) - set(AUDITED))]
        pairs = {name: (integer[name], unfused[name]) for name in names}
        return {name: pair for name, pair in pairs.items() if any(pair)}

    def violations(self) -> list[str]:
        """Say what a well-made quantized graph has not; a float one has nothing to break."""
        if self.form == "float":
            return []
        said = []
        fallen = [one for one in self.unfused if one.where and not one.is_wanted]
        if fallen:
            named = [f"{one.node} ({one.where}: {one.reason})" for one in fallen[:NAMED]]
            named += [f"{len(fallen) - NAMED} more"] if len(fallen) > NAMED else []
            said.append(f"{len(fallen)} of the convolutions in float: {', '.join(named)}")
        if self.conversions > self.most_conversions:
            said.append(
                f"{self.conversions} Q and DQ left, at most {self.most_conversions} expected"
            )
        return said

    def summary(self) -> dict[str, Any]:
        """Give the counts, for a sidecar."""
        return {
            "form": self.form,
            "line": self.line(),
            "integer": dict(self.integer),
            "in_float": dict(Counter(one.operator for one in self.unfused)),
            "reasons": dict(Counter(one.reason for one in self.unfused)),
            "on_purpose": {
                one.node: one.detail for one in self.unfused if one.reason == ON_PURPOSE
            },
            "left": dict(self.left),
            "normalizations": self.norms,
            "odd_channels": len(self.odd_channels),
            "violations": self.violations(),
        }

    def record(self) -> dict[str, Any]:
        """Give all of it as plain values."""
        counts = {
            name: {"integer": integer, "float": unfused}
            for name, (integer, unfused) in self.counts().items()
        }
        return {
            **asdict(self),
            "path": str(self.path),
            "counts": counts,
            "normalizations": self.norms,
            "conversions": self.conversions,
            "most_conversions": self.most_conversions,
            "violations": self.violations(),
        }

    def line(self) -> str:
        """Give it in one line."""
        if self.form == "float":
            return "a float graph: no operator is quantized"
        counts = self.counts()
        integer = sum(pair[0] for pair in counts.values())
        every = integer + len(self.unfused)
        in_float = ", ".join(f"{pair[1]} {name}" for name, pair in counts.items() if pair[1])
        left = ", ".join(f"{count} {name}" for name, count in self.left.items())
        why = " on purpose" if self.kept == self.unfused else ""
        unfused = f" (in float{why}: {in_float})" if in_float else ""
        # a file in QDQ form is for a provider that fuses on the device, out of sight here
        where = "on the CPU provider " if self.form == "qdq" else ""
        return f"{where}{integer} of {every} operators in integers{unfused}; left: {left}"
