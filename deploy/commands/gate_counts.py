"""Count instructions under emulation, and hold them against a committed baseline."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from android_bench.arm64_cpus import DEFAULT_CPU
from android_bench.devices import find_devices
from android_bench.plan import BenchPlan, counting
from android_bench.session import SESSION_NAME, list_sessions
from deploy.artifact import list_artifacts, read_artifact
from deploy.commands.bench import SESSIONS, bench_everywhere
from deploy.commands.gate import with_idle_patterns
from deploy.commands.progress import note
from deploy.commands.show import console, print_json
from deploy.errors import BenchOutputError, RowsError
from reports.budgets import COUNTED, Budgets
from reports.count_baseline import CountBaseline, read_baseline, write_baseline
from reports.count_cases import baseline_of, counted_cases
from reports.count_gate import baseline_changes, judge_counts
from reports.frame import Frames, load
from reports.gate import Verdict
from reports.rule import INVALID

ARM64 = "arm64"


@dataclass(frozen=True)
class CountRequest:
    """What is counted and held against what.

    Attributes:
        baseline: the JSON file.
        sources: model files; none: the line of `model` in `build`.
        current: a session that `bench --device arm64` left; None: count now.
        cpu: the emulated core.
        force: count again what is counted already.
    """

    baseline: Path
    build: Path
    sources: tuple[Path, ...] = ()
    current: Path | None = None
    model: str | None = None
    cpu: str = DEFAULT_CPU
    held_out: Path | None = None
    force: bool = False

    def rebaseline(self) -> str:
        """Give the command that writes the baseline anew: this one, with --rebaseline."""
        words = ["mofa-deploy", "gate", "--metric", "instructions"]
        words += ["--baseline", str(self.baseline)]
        if self.current is not None:
            words += ["--current", str(self.current)]
        else:
            words += [*map(str, self.sources), "--out", str(self.build)]
            words += ["--model", self.model] if self.model else []
            words += ["--cpu", self.cpu] if self.cpu != DEFAULT_CPU else []
            words += ["--held-out", str(self.held_out)] if self.held_out else []
        return shlex.join([*words, "--rebaseline"])


def gate_counts(request: CountRequest, budgets: Budgets) -> Verdict:
    """Count what is asked for, or read what was counted, and judge it.

    Raises:
        RowsError: the baseline or the session cannot be used.
        MofaError: it cannot be counted.
    """
    baseline = read_baseline(request.baseline)  # before anything is counted
    verdict = judge_counts(baseline, _current(request), budgets, request.rebaseline())
    return verdict if verdict.verdict == INVALID else with_idle_patterns(verdict, budgets, COUNTED)


def write_anew(request: CountRequest, as_json: bool) -> int:
    """Write what is counted now as the baseline, and say what that changes; give the exit code.

    Raises:
        RowsError: a case went wrong, or what lies there is no baseline; nothing is written then.
        MofaError: it cannot be counted, or not be written.
    """
    old = read_baseline(request.baseline) if request.baseline.exists() else None
    new = baseline_of(_current(request))
    changes = baseline_changes(old, new)
    if old != new:
        write_baseline(new, request.baseline)
    if as_json:
        print_json({"baseline": str(request.baseline), "written": old != new, "changes": changes})
    else:
        _say(request.baseline, old, new, changes)
    return 0


def _say(path: Path, old: CountBaseline | None, new: CountBaseline, changes: Sequence[str]) -> None:
    out = console()
    for line in changes:
        out.print(line, soft_wrap=True, highlight=False)
    what = f"{path}: {len(new.cases)} cases" if len(new.cases) != 1 else f"{path}: 1 case"
    done = "the same as before, left as it is" if old == new else "written"
    out.print(f"{what}, {done}", soft_wrap=True, highlight=False)


def _current(request: CountRequest) -> Frames:
    if request.current is None:
        return load(count(request))
    frames = load(request.current)
    try:
        counted_cases(frames)
    except RowsError as error:
        raise RowsError(f"{request.current}: {error.problem}", error.next_step) from error
    return frames


def count(request: CountRequest, *, profiled: bool = False) -> Path:
    """Count instructions of the files, or the line; a finished session is not counted again.

    Args:
        profiled: of every node too.

    Returns:
        The session's folder; a case that failed in it has no counts.

    Raises:
        MofaError: the emulator or a piece of it is missing, or a graph cannot be counted.
    """
    plan = counting(BenchPlan(profile_launches=int(profiled)))
    try:
        done = bench_everywhere(
            request.sources,
            request.build,
            model=request.model,
            devices=find_devices(ARM64, cpu=request.cpu),
            providers=("cpu",),
            plan=plan,
            held_out=request.held_out,
            force=request.force,
            pictures=False,
        )
    except BenchOutputError as error:
        # a case failed in every launch; its rows say how, and those of the others count
        left = _session_left(request, plan)
        if left is None:
            raise
        note(str(error.problem))
        return left
    done.require_all()
    return done.folders[0]


def _session_left(request: CountRequest, plan: BenchPlan) -> Path | None:
    """Give the finished session in which a case of these files failed, if there is one."""
    named = [read_artifact(path) for path in request.sources]
    here = named or list_artifacts(request.build)
    known = {one.sha256 for one in here if request.model in (None, one.model)}
    wanted = json.loads(json.dumps(asdict(plan)))
    for session in reversed(list_sessions(request.build / SESSIONS)):
        record = json.loads((session / SESSION_NAME).read_text())
        there = {one["model_sha256"] for one in record["cases"]}
        fits = there == known if named else there <= known
        on_it = record.get("counts_with", {}).get("cpu") == request.cpu
        if fits and on_it and record["plan"] == wanted:
            return session
    return None
