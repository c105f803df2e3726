"""What became of a launch: an ended program -> a status, a reason and what was seen. Pure."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from android_bench.device import Completed
from android_bench.protocol import EXIT_CODES, Begin, Launch, parse_launch, parse_so_far
from deploy.errors import BenchOutputError

SIGNAL_BASE = 128  # a shell's convention, kept by `Completed`
REASON_LENGTH = 500  # at most; a runtime's messages can hold a whole graph
LOG_LINES, LOG_LENGTH = 20, 4000  # at most, of what failed

_STATUS_OF_STAGE = {"load": "load_error", "run": "crash", "provider": "unavailable"}


@dataclass(frozen=True)
class Asked:
    """What a runner was asked to do, as far as it has to repeat it. See native/PROTOCOL.md."""

    provider: str = "cpu"
    intra_op_threads: int = 1
    graph_opt_level: str = "all"
    warmup: int = 3
    min_runs: int = 5
    mode: str = "latency"
    cores_asked: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    provider_options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a launch ended.

    Attributes:
        status: one of `rows.STATUSES`.
        reason: one line; None where the status is ok.
        seen: what the runner reported. Where it crashed or was killed: its memory alone, up to
            there. None where that is nothing.
        signal: that ended it, if one did.
        log_tail: the last lines of its log; None where the status is ok.
    """

    status: str
    reason: str | None = None
    seen: Launch | None = None
    signal: int | None = None
    log_tail: str | None = None


def judge(completed: Completed, asked: Asked, timeout_s: float) -> Outcome:
    """Say how a launch ended.

    Args:
        completed: the runner's process.
        timeout_s: the bound that it had.
    """
    outcome = _judge(completed, asked, timeout_s)
    if outcome.status == "ok":
        return outcome
    return replace(
        outcome,
        reason=outcome.reason and _line(outcome.reason),
        signal=_signal(completed.exit_code),
        log_tail=_tail(completed.stderr),
    )


def mark_out_of_memory(outcome: Outcome, evidence: str) -> Outcome:
    """Give the outcome of a launch that a SIGKILL ended while memory ran out."""
    return replace(outcome, status="oom_killed", reason=_line(f"{outcome.reason}; {evidence}"))


def was_killed(outcome: Outcome) -> bool:
    """Say whether SIGKILL ended a launch, as it does where memory runs out."""
    return outcome.status == "crash" and outcome.signal == signal.SIGKILL


def _judge(completed: Completed, asked: Asked, timeout_s: float) -> Outcome:
    code = completed.exit_code
    if code is None:
        return Outcome("timeout", f"no end within {timeout_s:g} s", parse_so_far(completed.stdout))
    try:
        seen = parse_launch(completed.stdout)
    except BenchOutputError as error:
        return _broken(completed, error.problem)
    if code != _due_code(seen):
        return _broken(completed, "exit code 0 after an `error`")
    problem = _misunderstood(seen.begin, asked)
    if problem is not None:
        return Outcome("bad_output", problem)
    if seen.failure is None:
        return Outcome("ok", seen=seen)
    stage, message = seen.failure.stage, seen.failure.message
    reason = message if stage == "provider" else f"{stage} failed: {message}"
    return Outcome(_STATUS_OF_STAGE[stage], reason, replace(seen, samples=(), counts=()))


def _due_code(seen: Launch) -> int:
    return 0 if seen.failure is None else EXIT_CODES[seen.failure.stage]


def _broken(completed: Completed, problem: str) -> Outcome:
    """Blame the output only where the runner says that all is well."""
    if completed.exit_code == 0:
        return Outcome("bad_output", problem)
    last = completed.stderr.strip().rpartition("\n")[2]
    ended = _ended_by(completed.exit_code or 0)
    reason = f"{ended}: {last}" if last else ended
    return Outcome("crash", reason, parse_so_far(completed.stdout))


def _misunderstood(begin: Begin, asked: Asked) -> str | None:
    """Say where the runner understood something other than what it was asked; None if nowhere."""
    names = ["mode", "provider", "intra_op_threads", "graph_opt_level", "cores_asked"]
    if asked.mode not in ("check", "save"):  # these have no steady inferences
        names += ["warmup", "min_runs"]
    for name in names:
        understood, value = getattr(begin, name), getattr(asked, name)
        if understood != value:
            return f"the runner ran with {name} {understood}, asked was {value}"
    wanted = [(begin.config, asked.config), (begin.provider_options, asked.provider_options)]
    for understood, entries in wanted:
        for key, value in entries.items():
            if understood.get(key) != value:
                return f"the runner ran with {key}={understood.get(key)}, asked was {value}"
    return None


def _signal(code: int | None) -> int | None:
    """Give the signal that an exit code tells of; None where it tells of none."""
    try:
        return signal.Signals((code or 0) - SIGNAL_BASE).value
    except ValueError:  # no such signal here: an exit code like any other
        return None


def _ended_by(code: int) -> str:
    number = _signal(code)
    if number is None:
        return f"exit code {code}"
    if number == signal.SIGKILL:
        return "ended by SIGKILL, as the kernel does when memory runs out"
    return f"ended by {signal.Signals(number).name}"


def _tail(log: str) -> str | None:
    lines = log.strip().splitlines()[-LOG_LINES:]
    return "\n".join(lines)[-LOG_LENGTH:] or None


def _line(reason: str) -> str:
    """Give a reason as one short line."""
    return " ".join(reason.split())[:REASON_LENGTH]
