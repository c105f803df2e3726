"""From the options of `bench` to a plan of times and one of counts: each has its own defaults."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from android_bench.arm64 import NAME as ARM64
from android_bench.plan import BenchPlan, counting
from deploy.errors import UsageError

Number = TypeVar("Number", int, float)

TIMED = BenchPlan(memory_launches=1)  # the defaults where times are taken
# options that say how times are taken
_OF_TIMES = ("seconds", "until_interval", "cooldown", "cores", "memory")


@dataclass(frozen=True)
class Asked:
    """What the command line says of the plan; None: as the metric wants it."""

    launches: int | None = None
    until_interval: float | None = None
    seconds: float | None = None
    warmup: int | None = None
    threads: int | None = None
    cores: str | None = None
    memory: bool | None = None
    profile: bool = False
    strict_provider: bool = False
    cooldown: float | None = None
    timeout: float | None = None
    seed: int = 0


def plans_for(devices: str, asked: Asked) -> tuple[BenchPlan, BenchPlan]:
    """Give the plan of devices with a clock, and the one of those that count instructions.

    Args:
        devices: names, by commas.

    Raises:
        UsageError: an option does not fit the devices, or its value fits nothing.
    """
    names = {name.strip() for name in devices.split(",")}
    if names == {ARM64}:
        _require_no_times(asked)
        return TIMED, counted(asked)
    return timed(asked), counted(asked) if ARM64 in names else counted(Asked())


def timed(asked: Asked) -> BenchPlan:
    """Give the plan that takes times.

    Raises:
        UsageError: a value fits nothing.
    """
    return BenchPlan(
        launches=_or(asked.launches, TIMED.launches),
        seconds=_or(asked.seconds, TIMED.seconds),
        warmup=_or(asked.warmup, TIMED.warmup),
        threads=_or(asked.threads, TIMED.threads),
        cooldown_s=_or(asked.cooldown, TIMED.cooldown_s),
        timeout_s=_or(asked.timeout, TIMED.timeout_s),
        seed=asked.seed,
        memory_launches=int(asked.memory is not False),
        profile_launches=int(asked.profile),
        until_interval_pct=asked.until_interval,
        cores=asked.cores,
        strict_provider=asked.strict_provider,
    )


def counted(asked: Asked) -> BenchPlan:
    """Give the plan that counts instructions: a launch of two inferences, for a count repeats.

    Raises:
        UsageError: more than one thread is asked for, or a value fits nothing.
    """
    usual = counting(
        BenchPlan(
            seed=asked.seed,
            profile_launches=int(asked.profile),
            strict_provider=asked.strict_provider,
        )
    )
    return replace(
        usual,
        launches=_or(asked.launches, usual.launches),
        warmup=_or(asked.warmup, usual.warmup),
        threads=_or(asked.threads, usual.threads),
        timeout_s=_or(asked.timeout, usual.timeout_s),
    )


def _or(value: Number | None, default: Number) -> Number:
    return default if value is None else value


def _require_no_times(asked: Asked) -> None:
    given: Sequence[str] = [name for name in _OF_TIMES if asdict(asked)[name] not in (None, False)]
    for name in given:
        option = f"--{name.replace('_', '-')}"
        raise UsageError(
            f"{option} is of times, and {ARM64} counts instructions", f"leave {option} out"
        )
