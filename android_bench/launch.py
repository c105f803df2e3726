"""One launch of one case: a fresh process on the device, judged, as rows."""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from android_bench.device import Completed, Device
from android_bench.outcome import Outcome, judge
from android_bench.plan import BenchPlan
from android_bench.rows import SCHEMA_VERSION, MemorySampleRow, RunRow, SampleRow
from deploy.artifact import Artifact
from deploy.errors import UsageError

OPT_LEVELS = ("disable", "basic", "extended", "all")
QUALITY = ("psnr_db", "ssim", "psnr_vs_fp32_db", "degraded_psnr_db", "degraded_ssim")
OUTPUT_NAME = "output.f32"  # in the session's folder; each launch writes it anew


@dataclass(frozen=True)
class Case:
    """One thing to measure: a model, what it is fed, and how the runtime is set up.

    Attributes:
        artifact: the model; one float32 input and one float32 output, of static shape.
        input: file of the input's values, raw little-endian float32.
        opt_level: the runtime's graph optimization level, one of `OPT_LEVELS`.
        config: entries of the runtime's session configuration.
    """

    artifact: Artifact
    input: Path
    opt_level: str = "all"
    config: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.opt_level not in OPT_LEVELS:
            raise UsageError(
                f"graph optimization level {self.opt_level!r} is unknown",
                f"pass one of {', '.join(OPT_LEVELS)}",
            )


@dataclass(frozen=True)
class Target:
    """A case that lies ready on a device.

    Attributes:
        case_id: see `case_id`.
        model: path of the model there.
        input: path of the input's values there.
    """

    case: Case
    case_id: str
    model: str
    input: str


@dataclass(frozen=True)
class Session:
    """What all launches of a session share.

    Attributes:
        runner: the program that runs on the device, with its first arguments.
    """

    session_id: str
    plan: BenchPlan
    device_id: str
    tool_version: str
    runner: Sequence[str]


@dataclass(frozen=True)
class Slot:
    """A launch's place in its session.

    Attributes:
        case: index into the session's cases.
    """

    block: int
    order_in_block: int
    case: int


@dataclass(frozen=True)
class Finished:
    """The rows of a launch that is over, well or not."""

    run: RunRow
    samples: tuple[SampleRow, ...]
    memory: tuple[MemorySampleRow, ...]


def case_id(case: Case, plan: BenchPlan, input_sha256: str) -> str:
    """Give the hash of what a case is, wherever and whenever it is measured."""
    artifact = case.artifact
    what = [artifact.model, artifact.kind, artifact.target, artifact.sha256, input_sha256]
    how = [plan.provider, plan.threads, case.opt_level, sorted(case.config.items())]
    return hashlib.sha256(json.dumps([what, how]).encode()).hexdigest()[:16]


def made_with(artifact: Artifact) -> dict[str, Any]:
    """Give the columns of `runs` that the file's own sidecar holds; missing is None."""
    quality = {name: artifact.fidelity.get(name) for name in QUALITY}
    return {
        "calibration_sha256": artifact.params.get("crops_sha256"),
        "fusion": artifact.fidelity.get("fusion", {}).get("line"),
        **quality,
    }


def launch(device: Device, session: Session, target: Target, slot: Slot) -> Finished:
    """Run a case once in a fresh process and give its rows, whatever became of it.

    Raises:
        DeviceError: the device is gone, or the runner cannot be started. A runner that starts and
            fails is a row with its status.
    """
    case, plan = target.case, session.plan
    started = datetime.now(UTC)
    completed = device.run([*session.runner, *_arguments(target, plan)], plan.timeout_s)
    outcome = judge(completed, plan, case.opt_level, case.config)
    run = _run_row(session, target, slot, started=started, completed=completed, outcome=outcome)
    if outcome.seen is None:
        return Finished(run, (), ())
    return Finished(
        run,
        tuple(
            SampleRow(run.run_id, one.iteration, one.phase, one.t_start_ns, one.latency_ns)
            for one in outcome.seen.samples
        ),
        tuple(MemorySampleRow(run.run_id, **asdict(one)) for one in outcome.seen.memory),
    )


def _arguments(target: Target, plan: BenchPlan) -> list[str]:
    """Give what follows the runner on its command line, as native/PROTOCOL.md has it."""
    arguments = [target.model, "--input", target.input, "--output", OUTPUT_NAME]
    arguments += ["--provider", plan.provider, "--threads", str(plan.threads)]
    arguments += ["--opt-level", target.case.opt_level, "--warmup", str(plan.warmup)]
    arguments += ["--seconds", str(plan.seconds), "--min-runs", str(plan.min_runs)]
    for key, value in sorted(target.case.config.items()):
        arguments += ["--config", f"{key}={value}"]
    return arguments


def _run_row(
    session: Session,
    target: Target,
    slot: Slot,
    *,
    started: datetime,
    completed: Completed,
    outcome: Outcome,
) -> RunRow:
    artifact, seen = target.case.artifact, outcome.seen
    return RunRow(
        schema_version=SCHEMA_VERSION,
        session_id=session.session_id,
        run_id=uuid.uuid4().hex,
        case_id=target.case_id,
        block=slot.block,
        order_in_block=slot.order_in_block,
        status=outcome.status,
        # by the name that the user knows; the path there is gone when this is read
        status_message=outcome.reason and outcome.reason.replace(target.model, artifact.path.name),
        exit_code=completed.exit_code,
        started_at_utc=started.isoformat(timespec="milliseconds"),
        duration_ns=completed.duration_ns,
        model=artifact.model,
        kind=artifact.kind,
        target=artifact.target,
        model_sha256=artifact.sha256,
        model_bytes=artifact.path.stat().st_size,
        device_id=session.device_id,
        provider=session.plan.provider,
        intra_op_threads=session.plan.threads,
        runtime=seen.begin.runtime if seen else None,
        runtime_version=seen.begin.runtime_version if seen else None,
        tool_version=session.tool_version,
        seed=session.plan.seed,
        session_create_ns=seen.session.create_ns if seen and seen.session else None,
        n_samples=len(seen.samples) if seen else 0,
        peak_rss_bytes=seen.peak.rss_bytes if seen and seen.peak else None,
        peak_rss_reset=seen.peak.reset if seen and seen.peak else None,
        output_sha256=seen.output.sha256 if seen and seen.output else None,
        graph_opt_level=target.case.opt_level,
        session_config=json.dumps(dict(sorted(target.case.config.items()))),
        **made_with(artifact),
    )
