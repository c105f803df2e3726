"""What there is to choose from when a graph is tuned: one dimension after another."""

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args, get_type_hints

from android_bench.device import DeviceInfo
from deploy.commands.bench_cases import OF_PROVIDERS
from deploy.errors import UsageError
from deploy.placement import PRESETS
from deploy.rewrites.forms import Forms
from deploy.targets import TARGETS, find_target, made_for_other_hardware
from deploy.tuning import Choice

# The cheap ones first: a target and a preset need no new float graph and no other calibration.
# Those of forms in the order of how many nodes they usually concern, fewest first.
DIMENSIONS = ("target", "preset", "attention", "shuffle", "ends", "gate", "layernorm")


def targets_for(asked: str | None, info: DeviceInfo) -> list[str]:
    """Give the targets to try on a device: those named by commas, else all of its processor's CPU.

    Raises:
        UsageError: one that there is not, of other hardware, or of another provider than the CPU.
    """
    if asked is None:
        return [
            name
            for name in TARGETS
            if name not in OF_PROVIDERS and not made_for_other_hardware(name, info.abi)
        ]
    names = list(dict.fromkeys(find_target(name.strip()).name for name in asked.split(",")))
    for name in names:
        if name in OF_PROVIDERS:
            raise UsageError(f"target {name} is a provider's own", "tune measures on the CPU")
        if made_for_other_hardware(name, info.abi):
            raise UsageError(
                f"target {name} is for other processors than {info.name} ({info.abi})",
                f"use {' or '.join(targets_for(None, info))}",
            )
    return names


def presets_for(asked: str | None) -> list[str]:
    """Give the presets to try: those named by commas, else all. Raises UsageError."""
    names = list(dict.fromkeys(name.strip() for name in asked.split(","))) if asked else [*PRESETS]
    for name in names:
        if name not in PRESETS:
            raise UsageError(f"unknown preset {name!r}", f"use one of {', '.join(PRESETS)}")
    return names


def others(choice: Choice, dimension: str, allowed: Sequence[Choice]) -> list[Choice]:
    """Give what differs from a choice in one dimension.

    Args:
        allowed: the targets and presets that go together; of their forms nothing is asked.
    """
    if dimension in ("target", "preset"):
        fixed = "preset" if dimension == "target" else "target"
        return [
            replace(one, forms=choice.forms)
            for one in allowed
            if getattr(one, fixed) == getattr(choice, fixed)
            and getattr(one, dimension) != getattr(choice, dimension)
        ]
    values = get_args(get_type_hints(Forms)[dimension])
    now = getattr(choice.forms, dimension)
    return [
        replace(choice, forms=replace(choice.forms, **{dimension: value}))
        for value in values
        if value != now
    ]


def difference(choice: Choice, start: Choice) -> str:
    """Give what tells a choice from the one that is started from, as people and folders take it."""
    before, after = start.record(), choice.record()
    changed = [f"{name}={value}" for name, value in after.items() if value != before[name]]
    return ", ".join(changed) or "default"


def forms_name(forms: Forms) -> str:
    """Give a name for a folder of what is made in these forms."""
    changed = [f"{name}-{value}" for name, value in forms.record().items() if value != "auto"]
    return "_".join(changed) or "auto"
