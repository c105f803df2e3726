"""Judge two measured sessions, and say a verdict in every way that was asked for."""

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from deploy.commands.plans import unlike_plans
from deploy.commands.show import console, print_json
from deploy.errors import OutputError, RowsError
from deploy.files import unfinished
from reports.budgets import TIMED, Budgets, default_budgets, read_budgets
from reports.ci import (
    as_json,
    bencher,
    github_action_benchmark,
    github_annotations,
    junit,
    step_summary,
)
from reports.frame import load
from reports.gate import Pair, Verdict, judge_interleaved, judge_sessions
from reports.gate_table import gate_table, headline, render_gate
from reports.history import budget_lines, learn

PAIRS_NAME = "gate.json"  # in a session's folder: which of its cases are compared
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True)
class Outputs:
    """Where a verdict goes besides the terminal.

    Attributes:
        as_json: print JSON in place of the table.
        github: print annotations, and append to the step's summary where there is one.
    """

    as_json: bool = False
    github: bool = False
    junit: Path | None = None
    github_action_benchmark: Path | None = None
    bencher: Path | None = None


def budgets_of(path: Path | None) -> Budgets:
    """Give the budgets of a file, else those in the current folder, else the defaults."""
    if path is not None:
        return read_budgets(path)
    here = Path("budgets.toml")
    return read_budgets(here) if here.is_file() else default_budgets()


def with_idle_patterns(
    verdict: Verdict, budgets: Budgets, metrics: Collection[str] = TIMED
) -> Verdict:
    """Give the verdict with a note of each pattern of the budgets that fits no case: a typo?

    Args:
        metrics: those that were judged; patterns for others are another gate's.
    """
    cases = sorted({finding.case for finding in verdict.findings})
    idle = (
        pattern
        for pattern in dict.fromkeys(one for one, of, _ in budgets.of_cases if of in metrics)
        if not any(fnmatchcase(case, pattern) for case in cases)
    )
    told = (
        f"the budgets' case {pattern!r} fits none of the cases, which are: {', '.join(cases)}"
        for pattern in idle
    )
    return replace(verdict, notes=(*verdict.notes, *told))


def gate_sessions(baseline: Path, current: Path, budgets: Budgets, *, force: bool) -> Verdict:
    """Judge two sessions that `bench` left, or one that `gate --against` left, named twice.

    Raises:
        RowsError: rows are missing, broken, or have nothing in common.
    """
    for side, folder in (("baseline", baseline), ("current", current)):
        if not folder.is_dir():
            raise RowsError(
                f"no {side} at {folder}", "name a folder that `mofa-deploy bench` wrote"
            )
        _refuse_counts(folder)
    if baseline.resolve() == current.resolve():
        return judge_interleaved(load(current), _read_pairs(current), budgets, force=force)
    differing = [
        f"{name} differs: {old} and {new}"
        for name, (old, new) in unlike_plans(baseline, current).items()
    ]
    return judge_sessions(
        load(baseline), load(current), budgets, unlike_plans=differing, force=force
    )


def _refuse_counts(session: Path) -> None:
    if load(session).runs["mode"].eq("count").any():
        raise RowsError(
            f"{session} holds counted instructions, no latency",
            "pass --metric instructions, and a baseline file",
        )


def _read_pairs(session: Path) -> dict[str, Pair]:
    try:
        record = json.loads((session / PAIRS_NAME).read_text())
        return {name: Pair(**one) for name, one in record.items()}
    except OSError as error:
        raise RowsError(
            f"{session} is given as both sides, and holds no interleaved session",
            "name two sessions, or one that `gate --against` measured",
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise RowsError(f"{session / PAIRS_NAME} is broken ({error})", "measure again") from error


def show_verdict(verdict: Verdict, outputs: Outputs) -> int:
    """Say a verdict in every way that was asked for; give the exit code.

    Raises:
        OutputError: a file cannot be written.
    """
    texts = {
        outputs.junit: lambda: junit(verdict),
        outputs.github_action_benchmark: lambda: _json(github_action_benchmark(verdict)),
        outputs.bencher: lambda: _json(bencher(verdict)),
    }
    for path, text in texts.items():
        if path is not None:
            with unfinished(path) as temporary:
                temporary.write_text(text(), encoding="utf-8")
    if outputs.as_json:
        print_json(as_json(verdict))
    else:
        table = gate_table(verdict)
        console().print(render_gate(table))
        console().print(headline(verdict), soft_wrap=True, highlight=False)
    if outputs.github:
        for line in github_annotations(verdict):
            print(line)
        _append_summary(step_summary(verdict))
    return verdict.exit_code


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _append_summary(text: str) -> None:
    """Append to the summary of the CI step; steps before this one may have written to it."""
    name = os.environ.get(SUMMARY_VARIABLE)
    if not name:
        return
    try:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise OutputError(
            f"cannot write {name} ({error.strerror})", f"unset {SUMMARY_VARIABLE}"
        ) from error


def show_learned(folders: Sequence[Path], launches: int, as_json: bool) -> None:
    """Print the budgets that recorded sessions suggest, as lines for a budgets.toml."""
    learned = learn(load(*folders), launches)
    if as_json:
        print_json([asdict(one) for one in learned])
        return
    print(budget_lines(learned))
