"""The hardware that files are made for: one table."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field

from deploy.errors import UsageError


@dataclass(frozen=True)
class Target:
    """The hardware that a file is made for.

    Attributes:
        activations: QInt8, QUInt8 or QUInt16.
        level: ONNX Runtime's optimization level when the graph is saved.
        config: session config entries, set when saving and when running.
        why: the reason, for people.
        weights: QInt8 always, per output channel: the fast kernels want zero point 0.
        disabled_optimizers: graph transformers that would tie the file to other hardware.
        operators: that it takes in QDQ form; None: all that `deploy.placement` knows.
        hardware: the processors that it means: arm or x86.
        pads_integers: Pad works on codes, which is no QDQ form; else it is a QDQ unit.
    """

    name: str
    activations: str
    level: str
    config: Mapping[str, str]
    why: str
    weights: str = "QInt8"
    disabled_optimizers: tuple[str, ...] = field(default=())
    operators: tuple[str, ...] | None = None
    pads_integers: bool = True
    hardware: str = "arm"


# A convolution that was left in float between integers on purpose: ONNX Runtime would quantize its
# weights all the same, with one scale for all channels. To be said at every load; what an argument
# of the session disables takes the entry's place, so it is said there too.
KEEPS_FLOAT = "WeightBiasQuantization"
_FLOAT_STAYS = {"optimization.disable_specified_optimizers": KEEPS_FLOAT}
_SIGNED = {"session.qdqisint8allowed": "1", **_FLOAT_STAYS}  # without it, x86 fuses hardly anything
_UNSIGNED = {"session.qdqisint8allowed": "0", **_FLOAT_STAYS}
# NCHWc is a layout of x86 kernels; a file that holds it does not load elsewhere.
_PORTABLE = ("NchwcTransformer", KEEPS_FLOAT)

TARGETS = {
    target.name: target
    for target in (
        Target(
            "arm-cpu",
            activations="QInt8",
            level="all",
            config=_SIGNED,
            disabled_optimizers=_PORTABLE,
            why="signed activations take the SDOT path of ARM chips with dotprod",
        ),
        Target(
            "arm-cpu-u8",
            activations="QUInt8",
            level="all",
            config=_SIGNED,
            disabled_optimizers=_PORTABLE,
            why="on chips with i8mm only unsigned activations take the matrix instructions",
        ),
        Target(
            "x86",
            activations="QUInt8",
            level="all",
            config=_UNSIGNED,
            hardware="x86",
            why="VNNI multiplies unsigned by signed; signed activations have no fast kernel",
        ),
        Target(
            "nnapi",
            activations="QUInt8",
            # the provider takes QDQ units, which higher levels have fused away
            level="basic",
            config=_UNSIGNED,
            disabled_optimizers=_PORTABLE,
            operators=("Conv", "Add", "Mul", "Concat", "Transpose", "Reshape", "AveragePool"),
            why="the provider takes unsigned activations only, in these operators only",
        ),
        Target(
            "xnnpack",
            activations="QInt8",
            level="basic",
            config=_SIGNED,
            disabled_optimizers=_PORTABLE,
            why="its kernels with weights per channel are signed; the CPU provider runs the rest",
        ),
        Target(
            "qnn",
            activations="QUInt8",
            level="basic",
            config=_UNSIGNED,
            disabled_optimizers=_PORTABLE,
            pads_integers=False,
            why="the NPU's 8-bit form",
        ),
        Target(
            "qnn-u16",
            activations="QUInt16",
            level="basic",
            config=_UNSIGNED,
            disabled_optimizers=_PORTABLE,
            pads_integers=False,
            why="the NPU's form for images: 16-bit activations; the CPU runs it in float",
        ),
    )
}

ACTIVATIONS = {"s8": "QInt8", "u8": "QUInt8", "u16": "QUInt16"}  # as a target's name says them

# as a processor names itself, or as Android names its interface -> hardware
_HARDWARE = {
    **dict.fromkeys(("x86_64", "amd64", "x86"), "x86"),
    **dict.fromkeys(("aarch64", "arm64", "arm64-v8a", "armeabi-v7a"), "arm"),
}
_OF_HARDWARE = {"x86": "x86", "arm": "arm-cpu"}


def find_target(name: str) -> Target:
    """Give a target by name; a type of activations may follow: `arm-cpu-u8`, `arm-cpu-s8`.

    Raises:
        UsageError: no such target, or it cannot take the type; those that can are named.
    """
    if name in TARGETS:
        return TARGETS[name]
    base, _, suffix = name.rpartition("-")
    if base not in TARGETS or suffix not in ACTIVATIONS:
        raise UsageError(f"unknown target {name!r}", f"use one of {', '.join(TARGETS)}")
    wanted = ACTIVATIONS[suffix]
    if TARGETS[base].activations == wanted:
        return TARGETS[base]
    able = [one.name for one in TARGETS.values() if one.activations == wanted]
    raise UsageError(
        f"target {base} takes no {wanted} activations ({TARGETS[base].why})",
        f"use --target {' or '.join(able)}",
    )


def host_target() -> Target:
    """Give the target that this machine is.

    Raises:
        UsageError: there is none for this processor.
    """
    machine = platform.machine().lower()
    if machine not in _HARDWARE:
        raise UsageError(f"no target for processor {machine!r}", "pass --target")
    return TARGETS[_OF_HARDWARE[_HARDWARE[machine]]]


def made_for_other_hardware(target: str | None, abi: str) -> bool:
    """Say whether a file of this target was made for other processors; not known is no."""
    found = TARGETS.get(target or "")
    hardware = _HARDWARE.get(abi.lower())
    return found is not None and hardware is not None and found.hardware != hardware
