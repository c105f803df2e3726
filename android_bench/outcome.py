"""What became of a launch: an ended program -> a status, a reason and what was seen. Pure."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass

from android_bench.device import Completed
from android_bench.plan import BenchPlan
from android_bench.protocol import EXIT_LOAD, EXIT_RUN, Begin, Launch, parse_launch
from deploy.errors import BenchOutputError

SIGNAL_BASE = 128  # a shell's convention, kept by `Completed`
REASON_LENGTH = 500  # at most; a runtime's messages can hold a whole graph


@dataclass(frozen=True)
class Outcome:
    """How a launch ended.

    Attributes:
        status: one of `rows.STATUSES`.
        reason: one line; None where the status is ok.
        seen: what the runner reported; None where the status is not ok.
    """

    status: str
    reason: str | None = None
    seen: Launch | None = None


def judge(
    completed: Completed, plan: BenchPlan, opt_level: str, config: Mapping[str, str]
) -> Outcome:
    """Say how a launch ended.

    Args:
        completed: the runner's process.
        plan: what the runner was asked to do.
        opt_level: the graph optimization level that was asked for.
        config: the session's entries that were asked for.
    """
    code = completed.exit_code
    if code is None:
        return Outcome("timeout", f"no end within {plan.timeout_s:g} s")
    try:
        seen = parse_launch(completed.stdout)
    except BenchOutputError as error:
        return _broken(code, error.problem, completed.stderr)
    if code != _due_code(seen):
        return _broken(code, "exit code 0 after an `error`", completed.stderr)
    problem = _misunderstood(seen.begin, plan, opt_level, config)
    if problem is not None:
        return Outcome("bad_output", _line(problem))
    if seen.failure is None:
        return Outcome("ok", seen=seen)
    status = {"load": "load_error", "run": "crash"}[seen.failure.stage]
    return Outcome(status, _line(f"{seen.failure.stage} failed: {seen.failure.message}"))


def _due_code(seen: Launch) -> int:
    if seen.failure is None:
        return 0
    return {"load": EXIT_LOAD, "run": EXIT_RUN}[seen.failure.stage]


def _broken(code: int, problem: str, stderr: str) -> Outcome:
    """Blame the output only where the runner says that all is well."""
    if code == 0:
        return Outcome("bad_output", _line(problem))
    return Outcome("crash", _line(_ended_by(code), stderr))


def _misunderstood(
    begin: Begin, plan: BenchPlan, opt_level: str, config: Mapping[str, str]
) -> str | None:
    """Say where the runner understood something other than what it was asked; None if nowhere."""
    asked = {
        "provider": plan.provider,
        "intra_op_threads": plan.threads,
        "graph_opt_level": opt_level,
        "warmup": plan.warmup,
        "min_runs": plan.min_runs,
    }
    for name, value in asked.items():
        if getattr(begin, name) != value:
            return f"the runner ran with {name} {getattr(begin, name)}, asked was {value}"
    for key, value in config.items():
        if begin.config.get(key) != value:
            return f"the runner ran with {key}={begin.config.get(key)}, asked was {value}"
    return None


def _ended_by(code: int) -> str:
    try:
        name = signal.Signals(code - SIGNAL_BASE).name
    except ValueError:  # no such signal here: an exit code like any other
        return f"exit code {code}"
    if name == "SIGKILL":
        return "ended by SIGKILL, as the kernel does when memory runs out"
    return f"ended by {name}"


def _line(reason: str, stderr: str = "") -> str:
    """Give the reason, with the last line of standard error if there is one, as one short line."""
    last = stderr.strip().rpartition("\n")[2]
    words = f"{reason}: {last}" if last else reason
    return " ".join(words.split())[:REASON_LENGTH]
