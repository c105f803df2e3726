"""What a launch is: a case at its place in a session, and how a runner is asked for it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from android_bench.coverage import PROVIDERS
from android_bench.outcome import Asked
from android_bench.plan import BenchPlan
from android_bench.rows import CountRow, MemorySampleRow, OpRow, RunRow, SampleRow, TelemetryRow
from deploy.artifact import Artifact
from deploy.errors import UsageError

OPT_LEVELS = ("disable", "basic", "extended", "all")
QUALITY = ("psnr_db", "ssim", "psnr_vs_fp32_db", "degraded_psnr_db", "degraded_ssim")
# in the session's folder; each launch writes them anew
OUTPUT_NAME = "output.f32"
PROFILE_NAME = "profile.json"
COUNTER_NAME = "counter.page"  # that an emulator's counter and the runner share
VERBOSE = "0"


@dataclass(frozen=True)
class Case:
    """One thing to measure: a model, what it is fed, and how the runtime is set up.

    Attributes:
        artifact: the model; one float32 input and one float32 output, of static shape.
        input: file of the input's values, raw little-endian float32.
        opt_level: the runtime's graph optimization level, one of `OPT_LEVELS`.
        config: entries of the runtime's session configuration.
        provider: the runtime's execution provider, a key of `coverage.PROVIDERS`.
        provider_options: its options.
        known: further columns of `runs` that whoever made the case knows, such as model_opset.
    """

    artifact: Artifact
    input: Path
    opt_level: str = "all"
    config: Mapping[str, str] = field(default_factory=dict)
    provider: str = "cpu"
    provider_options: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.opt_level not in OPT_LEVELS:
            raise UsageError(
                f"graph optimization level {self.opt_level!r} is unknown",
                f"pass one of {', '.join(OPT_LEVELS)}",
            )
        if self.provider not in PROVIDERS:
            raise UsageError(
                f"provider {self.provider!r} is unknown", f"pass one of {', '.join(PROVIDERS)}"
            )


@dataclass(frozen=True)
class Target:
    """A case that lies ready on a device.

    Attributes:
        case_id: see `case_id`.
        model: path of the model there.
        input: path of the input's values there.
        input_sha256: of those values.
    """

    case: Case
    case_id: str
    model: str
    input: str
    input_sha256: str


@dataclass(frozen=True)
class Session:
    """What all launches of a session share.

    Attributes:
        runner: the program that runs on the device, with its first arguments.
        cores: hexadecimal mask of the cores that are asked for.
        runner_sha256: of the program.
        runtime_sha256: of the runtime's library, where it is a file of its own.
    """

    session_id: str
    plan: BenchPlan
    device_id: str
    tool_version: str
    runner: Sequence[str]
    cores: str | None = None
    runner_sha256: str | None = None
    runtime_sha256: str | None = None


@dataclass(frozen=True)
class Slot:
    """A launch's place in its session.

    Attributes:
        case: index into the session's cases.
        mode: one of `rows.MODES`.
    """

    block: int
    order_in_block: int
    case: int
    mode: str = "latency"


@dataclass(frozen=True)
class Due:
    """A launch to be made.

    Attributes:
        attempt: 1, or one more than the attempt that was lost or throttled.
    """

    slot: Slot
    attempt: int


@dataclass(frozen=True)
class Finished:
    """The rows of a launch that is over, well or not.

    Attributes:
        final: taking it again would not help; known only while the session runs.
    """

    run: RunRow
    samples: tuple[SampleRow, ...] = ()
    memory: tuple[MemorySampleRow, ...] = ()
    telemetry: tuple[TelemetryRow, ...] = ()
    ops: tuple[OpRow, ...] = ()
    counts: tuple[CountRow, ...] = ()
    final: bool = field(default=False, compare=False)


def case_id(case: Case, plan: BenchPlan, input_sha256: str, cores: str | None = None) -> str:
    """Give the hash of what a case is, wherever and whenever it is measured."""
    artifact = case.artifact
    what = [artifact.model, artifact.kind, artifact.target, artifact.sha256, input_sha256]
    how = [case.provider, plan.threads, case.opt_level, sorted(case.config.items())]
    if case.provider_options or cores:
        how += [sorted(case.provider_options.items()), cores]
    return hashlib.sha256(json.dumps([what, how]).encode()).hexdigest()[:16]


def made_with(artifact: Artifact) -> dict[str, Any]:
    """Give the columns of `runs` that the file's own sidecar holds; missing is None."""
    quality = {name: artifact.fidelity.get(name) for name in QUALITY}
    return {
        "calibration_sha256": artifact.params.get("crops_sha256"),
        "fusion": artifact.fidelity.get("fusion", {}).get("line"),
        **quality,
    }


def asked_of(case: Case, session: Session, mode: str) -> Asked:
    """Give what a runner is asked to do, as it has to repeat it."""
    plan = session.plan
    return Asked(
        provider=case.provider,
        intra_op_threads=plan.threads,
        graph_opt_level=case.opt_level,
        warmup=plan.warmup,
        min_runs=plan.min_runs,
        mode=mode,
        cores_asked=session.cores,
        config=case.config,
        provider_options=case.provider_options,
    )


def command_line(target: Target, session: Session, mode: str) -> list[str]:
    """Give a launch's whole command line, as native/PROTOCOL.md has it.

    What version 1 does not know is left out where it is asked for by default.
    """
    case, plan = target.case, session.plan
    words = [*session.runner, target.model, "--input", target.input, "--output", OUTPUT_NAME]
    words += ["--provider", case.provider, "--threads", str(plan.threads)]
    words += ["--opt-level", case.opt_level, "--warmup", str(plan.warmup)]
    words += ["--seconds", str(plan.seconds), "--min-runs", str(plan.min_runs)]
    for option, entries in (
        ("--config", case.config),
        ("--provider-option", case.provider_options),
    ):
        for key, value in sorted(entries.items()):
            words += [option, f"{key}={value}"]
    if mode != "latency":
        words += ["--mode", mode]
    if mode == "memory":
        words += ["--interval-ms", str(plan.interval_ms)]
    if mode == "profile":
        words += ["--profile", PROFILE_NAME]
    if plan.metric == "instructions":
        words += ["--counter", COUNTER_NAME]
    if session.cores is not None:
        words += ["--cores", session.cores]
    if is_verbose(case, mode):
        words += ["--log-level", VERBOSE]
    return words


def is_verbose(case: Case, mode: str) -> bool:
    """Say whether a launch logs who takes which node, and why not: never where latency counts."""
    return mode != "latency" and case.provider != "cpu"
