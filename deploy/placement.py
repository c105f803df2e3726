"""What is quantized, with which types, for which hardware, and why. One table each."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy.errors import UsageError


@dataclass(frozen=True)
class Target:
    """The hardware that a file is made for.

    Attributes:
        activations: QInt8 or QUInt8.
        weights: QInt8 always: the fast kernels want weights with zero point 0.
        level: ONNX Runtime's optimization level when the graph is saved.
        config: session config entries, set when saving and when running.
        disabled_optimizers: graph transformers that would tie the file to other hardware.
        why: the reason, for people.
    """

    name: str
    activations: str
    level: str
    config: Mapping[str, str]
    why: str
    weights: str = "QInt8"
    disabled_optimizers: tuple[str, ...] = field(default=())


TARGETS = {
    target.name: target
    for target in (
        Target(
            "arm-cpu",
            activations="QInt8",
            level="all",
            # The default of ARM builds only: a graph saved on x86 without it loses most fusions.
            config={"session.qdqisint8allowed": "1"},
            # NCHWc is a layout of x86 kernels; a file that holds it does not load on ARM.
            disabled_optimizers=("NchwcTransformer",),
            why="signed activations take the SDOT path of ARM chips with dotprod",
        ),
        Target(
            "x86",
            activations="QUInt8",
            level="all",
            config={"session.qdqisint8allowed": "0"},
            why="VNNI multiplies unsigned by signed; signed activations have no fast kernel",
        ),
    )
}

_MACHINES = {"x86_64": "x86", "amd64": "x86", "aarch64": "arm-cpu", "arm64": "arm-cpu"}

# operator -> why it is quantized; everything else stays in float
QUANTIZED_OPS = {
    "Conv": "nearly all multiply-adds, and the operator with real int8 kernels",
    "Add": "residual and skip sums; in float they would break the int8 chain",
    "Mul": "gates and channel attention between int8 convolutions",
    "GlobalAveragePool": "the pool of channel attention",
    "AveragePool": "decoupled downsampling",
    "MaxPool": "costs nothing in int8",
    "Concat": "joins int8 branches",
    "Split": "halves of a gate; same parameters in and out, so it moves bytes only",
}
# Left in float on purpose: LayerNormalization and its parts (variance spans too many decades for
# 8 bits), Resize (integer bilinear changes results), Transpose and DepthToSpace (ONNX Runtime
# moves them into the int8 chain by itself where parameters agree).


def find_target(name: str) -> Target:
    """Give a target by name.

    Raises:
        UsageError: no such target; all are listed.
    """
    if name not in TARGETS:
        raise UsageError(f"unknown target {name!r}", f"use one of {', '.join(TARGETS)}")
    return TARGETS[name]


def host_target() -> Target:
    """Give the target that this machine is.

    Raises:
        UsageError: there is none for this processor.
    """
    machine = platform.machine().lower()
    if machine not in _MACHINES:
        raise UsageError(f"no target for processor {machine!r}", "pass --target")
    return TARGETS[_MACHINES[machine]]
