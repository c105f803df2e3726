"""What the counter prints, as numbers: counts of the session and of each run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from deploy.errors import BenchOutputError

_SESSION, _RUN, _END = 1, 2, 3  # native/marks.h


@dataclass(frozen=True)
class Counts:
    """Executed guest instructions by kind.

    Attributes:
        instructions: all of them.
        simd: that compute on, load or store vector registers; scalar floats are among them.
        loads, stores: an atomic update is both.
        bytes: moved by loads and stores, from and to the first cache. Not of memory traffic.
        dot: SDOT, UDOT, USDOT and SUDOT.
        mmla: SMMLA, UMMLA, USMMLA and BFMMLA.
        fmla: vector FMLA of single and double precision.
        branches: all that may change the program counter, and system instructions.
    """

    instructions: int
    simd: int
    loads: int
    stores: int
    bytes: int
    dot: int
    mmla: int
    fmla: int
    branches: int

    def __sub__(self, earlier: "Counts") -> "Counts":
        return Counts(
            *(getattr(self, one.name) - getattr(earlier, one.name) for one in fields(self))
        )


@dataclass(frozen=True)
class Marked:
    """Counts of the session and of every run, in order."""

    session: Counts
    runs: tuple[Counts, ...]


def read_marks(path: Path) -> Marked:
    """Read the counter's file.

    Raises:
        BenchOutputError: it is not what a runner that ended well leaves.
    """
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise BenchOutputError("the counter wrote nothing", "report it with the model") from error
    return parse_marks(lines)


def parse_marks(lines: Sequence[str]) -> Marked:
    """Give the counts between the marks: one session, then at least one run.

    Raises:
        BenchOutputError: a line or the order of marks is another.
    """
    points: list[int] = []
    totals: list[Counts] = []
    for line in lines:
        try:
            record = json.loads(line)
            points.append(record.pop("mark"))
            totals.append(Counts(**record))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _broken(f"holds the line {line!r}") from error
    pairs = len(points) // 2
    if pairs < 2 or points != [_SESSION, _END, *[_RUN, _END] * (pairs - 1)]:
        raise _broken(f"has the marks {points}")
    session, *runs = (totals[i + 1] - totals[i] for i in range(0, len(totals), 2))
    return Marked(session, tuple(runs))


def _broken(how: str) -> BenchOutputError:
    return BenchOutputError(f"the counter's output {how}", "run again; report it if it stays")
