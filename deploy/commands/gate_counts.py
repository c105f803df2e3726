"""Hold counted instructions against a committed baseline."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from android_bench.arm64_cpus import DEFAULT_CPU
from deploy.commands.counting import Counting, count
from deploy.commands.gate import with_idle_patterns
from deploy.commands.show import console, print_json
from deploy.errors import RowsError
from reports.budgets import COUNTED, Budgets
from reports.count_baseline import CountBaseline, read_baseline, write_baseline
from reports.count_cases import baseline_of, counted_cases
from reports.count_gate import baseline_changes, judge_counts
from reports.frame import Frames, load
from reports.gate import Verdict
from reports.rule import INVALID


@dataclass(frozen=True)
class CountRequest:
    """What is held against what.

    Attributes:
        baseline: the JSON file.
        counting: what is counted now.
        current: a session that `bench --device arm64` left, in place of counting.
    """

    baseline: Path
    counting: Counting
    current: Path | None = None

    def rebaseline(self) -> str:
        """Give the command that writes the baseline anew: this one, with --rebaseline."""
        words = ["mofa-deploy", "gate", "--metric", "instructions"]
        words += ["--baseline", str(self.baseline)]
        new = self.counting
        if self.current is not None:
            words += ["--current", str(self.current)]
        else:
            words += [*map(str, new.sources), "--out", str(new.build)]
            words += ["--model", new.model] if new.model else []
            words += ["--cpu", new.cpu] if new.cpu != DEFAULT_CPU else []
            words += ["--held-out", str(new.held_out)] if new.held_out else []
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
        return load(count(request.counting))
    frames = load(request.current)
    try:
        counted_cases(frames)
    except RowsError as error:
        raise RowsError(f"{request.current}: {error.problem}", error.next_step) from error
    return frames
