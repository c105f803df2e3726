"""How to measure: everything a session needs to know besides the models and the device."""

import math
from dataclasses import dataclass

from android_bench.cores import check_wish
from deploy.errors import UsageError

METRICS = ("latency", "instructions")
COUNTING_TIMEOUT_S = 1800.0  # an emulated core takes some 50 times as long as a real one


@dataclass(frozen=True)
class BenchPlan:
    """How often, how long and under which conditions each case is launched.

    Attributes:
        launches: fresh processes per case; the unit that intervals are computed over.
        warmup: inferences after the first one that are kept but not counted.
        seconds: how long each launch samples steadily.
        min_runs: least steady inferences of a launch, however long they take.
        threads: intra-op threads of the runtime.
        cooldown_s: pause before each launch.
        timeout_s: bound on one launch.
        seed: of the launch order and of the input crop.
        memory_launches: further launches per case that read memory; their latency does not count.
        profile_launches: further ones that the runtime profiles node by node.
        interval_ms: between two readings of memory.
        until_interval_pct: launches end early once the 95 % interval of every case is within this
            much of its middle, to either side; None: all launches.
        min_launches: before which they do not.
        cores: `big`, `all`, `little` or a hexadecimal mask; None: big on a phone, else the
            system's choice.
        strict_provider: a provider that takes no node is a failed launch.
        max_wait_s: bound on waiting for the device to cool, before each launch.
        attempts: how often a launch is made that was lost or throttled.
        return_s: how long a phone that went away is waited for before the next launch.
        metric: one of `METRICS`: what the launches are for. Instructions are counted on an emulated
            processor, with one thread; such a plan has launches of mode `count` in place of
            `latency`, and none of memory, which is not the processor's there.
    """

    launches: int = 8
    warmup: int = 3
    seconds: float = 1.0
    min_runs: int = 5
    threads: int = 2
    cooldown_s: float = 0.0
    timeout_s: float = 120.0
    seed: int = 0
    memory_launches: int = 0
    profile_launches: int = 0
    interval_ms: int = 10
    until_interval_pct: float | None = None
    min_launches: int = 6
    cores: str | None = None
    strict_provider: bool = False
    max_wait_s: float = 180.0
    attempts: int = 3
    return_s: float = 60.0
    metric: str = "latency"

    def __post_init__(self) -> None:
        for name in ("launches", "min_runs", "threads", "interval_ms", "min_launches", "attempts"):
            _at_least(self, name, 1)
        for name in ("warmup", "seconds", "cooldown_s", "seed", "memory_launches"):
            _at_least(self, name, 0)
        for name in ("profile_launches", "max_wait_s", "return_s"):
            _at_least(self, name, 0)
        _at_least(self, "timeout_s", 0)
        if self.timeout_s <= self.seconds:
            raise UsageError(
                f"timeout_s {self.timeout_s} is not longer than seconds {self.seconds}",
                "raise --timeout or lower --seconds",
            )
        if self.until_interval_pct is not None and not self.until_interval_pct > 0:
            raise UsageError(
                f"until_interval_pct is {self.until_interval_pct}", "pass more than 0, such as 1"
            )
        check_wish(self.cores)
        self._check_metric()

    def _check_metric(self) -> None:
        if self.metric not in METRICS:
            raise UsageError(f"metric {self.metric!r} is unknown", f"pass {' or '.join(METRICS)}")
        if self.metric == "instructions" and self.threads != 1:
            raise UsageError(
                f"instructions of {self.threads} threads cannot be counted: they wait in loops",
                "pass --threads 1",
            )
        if self.metric == "instructions" and self.memory_launches:
            raise UsageError("an emulated processor says nothing of memory", "pass --no-memory")
        if self.metric == "instructions" and self.cores is not None:
            raise UsageError("an emulated processor has one core", "leave --cores out")


def counting(plan: BenchPlan) -> BenchPlan:
    """Give the plan that counts instructions where `plan` takes times: one launch, two inferences.

    Counts repeat, so that more would only repeat them. Profiled launches stay.
    """
    return BenchPlan(
        launches=1,
        warmup=0,
        seconds=0.0,
        min_runs=1,
        threads=1,
        timeout_s=COUNTING_TIMEOUT_S,
        seed=plan.seed,
        profile_launches=plan.profile_launches,
        strict_provider=plan.strict_provider,
        attempts=plan.attempts,
        metric="instructions",
    )


def _at_least(plan: BenchPlan, name: str, least: int) -> None:
    value = getattr(plan, name)
    if not (math.isfinite(value) and value >= least):
        raise UsageError(f"{name} is {value}", f"pass {least} or more")
