"""Count instructions of files under emulation: for a gate, an audit, and whoever else asks."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from android_bench.arm64 import NAME as ARM64
from android_bench.arm64_cpus import DEFAULT_CPU
from android_bench.devices import find_devices
from android_bench.plan import BenchPlan
from android_bench.plan import counting as counting_plan
from android_bench.session import SESSION_NAME, list_sessions
from deploy.artifact import list_artifacts, read_artifact
from deploy.commands.bench import SESSIONS, bench_everywhere
from deploy.commands.progress import note
from deploy.errors import BenchOutputError


@dataclass(frozen=True)
class Counting:
    """What is counted.

    Attributes:
        build: results go into its folder of sessions.
        sources: model files; none: the line of `model` in `build`.
        cpu: the emulated core.
        force: count again what is counted already.
    """

    build: Path
    sources: tuple[Path, ...] = ()
    model: str | None = None
    cpu: str = DEFAULT_CPU
    held_out: Path | None = None
    force: bool = False


def count(counting: Counting, *, profiled: bool = False) -> Path:
    """Count instructions of the files, or the line; a finished session is not counted again.

    Args:
        profiled: of every node too.

    Returns:
        The session's folder; a case that failed in it has no counts.

    Raises:
        MofaError: the emulator or a piece of it is missing, or a graph cannot be counted.
    """
    plan = counting_plan(BenchPlan(profile_launches=int(profiled)))
    try:
        done = bench_everywhere(
            counting.sources,
            counting.build,
            model=counting.model,
            devices=find_devices(ARM64, cpu=counting.cpu),
            providers=("cpu",),
            plan=plan,
            held_out=counting.held_out,
            force=counting.force,
            pictures=False,
        )
    except BenchOutputError as error:
        # a case failed in every launch; its rows say how, and those of the others count
        left = _session_left(counting, plan)
        if left is None:
            raise
        note(str(error.problem))
        return left
    done.require_all()
    return done.folders[0]


def _session_left(counting: Counting, plan: BenchPlan) -> Path | None:
    """Give the finished session in which a case of these files failed, if there is one."""
    named = [read_artifact(path) for path in counting.sources]
    here = named or list_artifacts(counting.build)
    known = {one.sha256 for one in here if counting.model in (None, one.model)}
    wanted = json.loads(json.dumps(asdict(plan)))
    for session in reversed(list_sessions(counting.build / SESSIONS)):
        record = json.loads((session / SESSION_NAME).read_text())
        there = {one["model_sha256"] for one in record["cases"]}
        fits = there == known if named else there <= known
        on_it = record.get("counts_with", {}).get("cpu") == counting.cpu
        if fits and on_it and record["plan"] == wanted:
            return session
    return None
