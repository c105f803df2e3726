"""The file that counted instructions are held against: what they were, and what they depend on.

It is made to be committed: JSON with sorted names, a line a number, and no time or path in it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import RowsError
from deploy.files import unfinished
from reports.instructions import KINDS

FORMAT = 1
METRIC = "instructions"
_NOT_ONE = "name a file that `mofa-deploy gate --metric instructions --rebaseline` wrote"


@dataclass(frozen=True)
class Counts:
    """What one case executed.

    Attributes:
        steady: of one inference: a number for each of `KINDS`.
        session: of making the session; None where it was not counted.
    """

    steady: Mapping[str, int]
    session: int | None = None


@dataclass(frozen=True)
class CountBaseline:
    """Counted cases, and what they were counted with.

    Attributes:
        taken_with: all that a count depends on besides the model, by name.
        cases: `MODEL KIND SHAPE` -> its counts.
    """

    taken_with: Mapping[str, Any]
    cases: Mapping[str, Counts]


def read_baseline(path: Path) -> CountBaseline:
    """Read a baseline file.

    Raises:
        RowsError: it is not there, broken, or something else.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except IsADirectoryError as error:
        raise RowsError(f"{path} is a folder, and a baseline is a file", _NOT_ONE) from error
    except OSError as error:
        raise RowsError(
            f"no baseline at {path} ({error.strerror})",
            "check the path, or add --rebaseline to write it",
        ) from error
    except ValueError as error:
        raise RowsError(f"{path} is not JSON ({error})", _NOT_ONE) from error
    if not isinstance(record, dict) or record.get("metric") != METRIC:
        raise RowsError(f"{path} is no baseline of instructions", _NOT_ONE)
    if record.get("format") != FORMAT:
        raise RowsError(
            f"{path} has format {record.get('format')!r}, known is {FORMAT}",
            "update mofa-deploy, or write it anew with --rebaseline",
        )
    taken_with, cases = record.get("taken_with"), record.get("cases")
    if not isinstance(taken_with, dict) or not isinstance(cases, dict) or not cases:
        raise RowsError(f"{path} has no taken_with or no cases", _NOT_ONE)
    return CountBaseline(
        taken_with, {name: _counts(path, name, one) for name, one in cases.items()}
    )


def _counts(path: Path, name: str, record: Any) -> Counts:
    try:
        steady = {kind: _count(record["steady"][kind]) for kind in KINDS}
        session = record.get("session")
        found = Counts(steady, None if session is None else _count(session["instructions"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RowsError(f"{path}: case {name!r} is broken ({error})", _NOT_ONE) from error
    if found.steady["instructions"] == 0 or found.session == 0:
        raise RowsError(f"{path}: case {name!r} counts 0 instructions", _NOT_ONE)
    return found


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def baseline_text(baseline: CountBaseline) -> str:
    """Give the text of the file."""
    cases = {
        name: {
            **({} if one.session is None else {"session": {"instructions": one.session}}),
            "steady": dict(one.steady),
        }
        for name, one in sorted(baseline.cases.items())
    }
    taken_with = dict(sorted(baseline.taken_with.items()))
    record = {"format": FORMAT, "metric": METRIC, "taken_with": taken_with, "cases": cases}
    return json.dumps(record, indent=1) + "\n"


def write_baseline(baseline: CountBaseline, path: Path) -> None:
    """Write the file, whole or not at all.

    Raises:
        OutputError: the place refuses.
    """
    with unfinished(path) as temporary:
        temporary.write_text(baseline_text(baseline), encoding="utf-8")
