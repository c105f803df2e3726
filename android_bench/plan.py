"""How to measure: everything a session needs to know besides the models and the device."""

from dataclasses import dataclass

from deploy.errors import UsageError


@dataclass(frozen=True)
class BenchPlan:
    """How often, how long and under which conditions each case is launched.

    Attributes:
        launches: fresh processes per case; the unit that intervals are computed over.
        warmup: inferences after the first one that are kept but not counted.
        seconds: how long each launch samples steadily.
        min_runs: least steady inferences of a launch, however long they take.
        threads: intra-op threads of the runtime.
        provider: the runtime's execution provider.
        cooldown_s: pause before each launch.
        timeout_s: bound on one launch.
        seed: of the launch order and of the input crop.
    """

    launches: int = 8
    warmup: int = 3
    seconds: float = 1.0
    min_runs: int = 5
    threads: int = 2
    provider: str = "cpu"
    cooldown_s: float = 0.0
    timeout_s: float = 120.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("launches", "min_runs", "threads"):
            _at_least(self, name, 1)
        for name in ("warmup", "seconds", "cooldown_s", "seed"):
            _at_least(self, name, 0)
        if self.timeout_s <= self.seconds:
            raise UsageError(
                f"timeout_s {self.timeout_s} is not longer than seconds {self.seconds}",
                "raise --timeout or lower --seconds",
            )
        if self.provider != "cpu":
            raise UsageError(f"provider {self.provider!r} is not available", "use cpu")


def _at_least(plan: BenchPlan, name: str, least: int) -> None:
    value = getattr(plan, name)
    if value < least:
        raise UsageError(f"{name} is {value}", f"pass {least} or more")
