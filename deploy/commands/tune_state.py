"""What is asked of a tuning, and what it knows while it goes on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from android_bench.arm64_cpus import DEFAULT_CPU
from android_bench.plan import BenchPlan
from deploy.commands.tune_builds import Built, Calibration, Workshop
from deploy.commands.tune_ledger import Ledger
from deploy.commands.tune_measure import Stopwatch
from deploy.tuning import Choice
from reports.stats import Estimate


@dataclass(frozen=True)
class TuneRequest:
    """What the command line asks for.

    Attributes:
        source: a plain model; None: the one in `build`.
        targets, presets: by commas; None: all that the device's processor takes, and all.
        max_psnr_drop_db: most that may be lost on held-out images; None: no bound.
        plan: its launches are those of a candidate that stays to the end.
        force: measure again what is measured already.
        cpu: the core that `arm64` emulates.
    """

    source: Path | None
    build: Path
    device_name: str
    plan: BenchPlan
    targets: str | None = None
    presets: str | None = None
    max_psnr_drop_db: float | None = None
    calibration: Calibration = field(default_factory=Calibration)
    force: bool = False
    touch: bool = True
    cpu: str = DEFAULT_CPU


@dataclass
class Tuning:
    """A tuning while it goes on: what it works with, and what it knows.

    Attributes:
        allowed: targets and presets, in the forms of the default; the first is the default.
        best: of all that was compared so far.
        graphs: sha256 of an optimized file -> the candidate that was it first.
        full: candidate -> what was made of it as the line makes it.
    """

    request: TuneRequest
    workshop: Workshop
    stopwatch: Stopwatch
    allowed: Sequence[Choice]
    ledger: Ledger
    best: Choice
    graphs: dict[str, str] = field(default_factory=dict)
    full: dict[Choice, Built] = field(default_factory=dict)
    confirmed: Estimate | None = None

    @property
    def start(self) -> Choice:
        """The default, which all candidates are compared with."""
        return self.allowed[0]

    def in_full(self, choice: Choice, where: str) -> Built:
        """Give a choice as the line makes it; each is made once."""
        if choice not in self.full:
            self.full[choice] = self.workshop.full(choice, where)
        return self.full[choice]
