"""What a runner printed -> a `Launch`, or a BenchOutputError that names the line.

Pure: text in, dataclasses out. The contract is `native/PROTOCOL.md`; each record there is a
dataclass here, its keys the fields.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard, TypeVar

from deploy.errors import BenchOutputError

PROTOCOL_VERSION = 1

# Exit codes of a runner, besides 0 for done and 2 for a wrong command line.
EXIT_LOAD = 3
EXIT_RUN = 4

MEMORY_PHASES = ("baseline", "loaded", "first", "steady")
SAMPLE_PHASES = ("first", "warmup", "steady")
STAGES = ("load", "run")

INT64_MAX = 2**63 - 1  # what a column of a table can hold


@dataclass(frozen=True)
class Begin:
    """What the runner is, and what it understood that it should do."""

    runtime: str
    runtime_version: str
    provider: str
    intra_op_threads: int
    inter_op_threads: int
    graph_opt_level: str
    config: Mapping[str, str]
    warmup: int
    min_runs: int


@dataclass(frozen=True)
class Memory:
    """Resident memory at the end of one phase."""

    phase: str
    t_ns: int
    rss_bytes: int
    rss_anon_bytes: int | None
    rss_file_bytes: int | None


@dataclass(frozen=True)
class Session:
    """The runtime's session, once made."""

    create_ns: int


@dataclass(frozen=True)
class Sample:
    """One inference."""

    iteration: int
    phase: str
    t_start_ns: int
    latency_ns: int


@dataclass(frozen=True)
class Output:
    """The file that holds the output's values."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Peak:
    """The high-water mark of resident memory."""

    rss_bytes: int
    reset: bool


@dataclass(frozen=True)
class Failure:
    """Why the runner gave up."""

    stage: str
    message: str


@dataclass(frozen=True)
class Launch:
    """All that one launch printed. A launch that ended well has no failure and all the rest.

    Attributes:
        failure: None where the launch ended well.
    """

    begin: Begin
    memory: tuple[Memory, ...]
    session: Session | None
    samples: tuple[Sample, ...]
    output: Output | None
    peak: Peak | None
    failure: Failure | None


RECORDS: dict[str, type] = {
    "begin": Begin,
    "memory": Memory,
    "session": Session,
    "sample": Sample,
    "output": Output,
    "peak": Peak,
    "error": Failure,
}
Record = TypeVar("Record")


def parse_launch(text: str) -> Launch:
    """Read what a runner printed.

    Args:
        text: its standard output, all of it.

    Raises:
        BenchOutputError: a line is not a record, or records are missing, out of order or do not
            fit each other; the line is named.
    """
    launch = _Unfinished()
    number = 0
    for number, record in _read_lines(text):
        launch.take(number, record)
    if not launch.ended:
        _refuse(number, "the output stops here, without `done` or `error`")
    return launch.give()


def _read_lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    if not text.strip():
        _refuse(1, "the output is empty")
    for number, line in enumerate(text.rstrip().split("\n"), start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            _refuse(number, f"not a JSON object: {_short(line)}")
        if not isinstance(record, dict) or not isinstance(record.get("record"), str):
            _refuse(number, f"not a JSON object with a `record`: {_short(line)}")
        yield number, record


class _Unfinished:
    """A launch while its lines are read; each is checked against those before it."""

    def __init__(self) -> None:
        self.ended = False
        self.only: dict[str, Any] = {}  # records that come once, by name
        self.memory: list[Memory] = []
        self.samples: list[Sample] = []

    def take(self, number: int, record: dict[str, Any]) -> None:
        name = record["record"]
        if self.ended:
            _refuse(number, f"`{name}` after the end")
        if (name == "begin") == bool(self.only):
            _refuse(number, f"`{name}` where `begin` must be first, and only once")
        if name == "begin":
            _check_version(number, record)
        if name == "done":
            self._take_done(number, record)
        elif name == "memory":
            self._take_memory(number, _build(Memory, number, record))
        elif name == "sample":
            self._take_sample(number, _build(Sample, number, record))
        elif name not in RECORDS:
            _refuse(number, f"`{name}` is not a record of this protocol")
        else:
            self._take_only(number, name, _build(RECORDS[name], number, record))

    def _take_only(self, number: int, name: str, record: Any) -> None:
        if name in self.only:
            _refuse(number, f"a second `{name}`")
        if name == "session" and self.samples:
            _refuse(number, "`session` after the samples")
        if name in ("output", "peak") and not self.samples:
            _refuse(number, f"`{name}` before the samples")
        if name == "error" and record.stage not in STAGES:
            _refuse(number, f"stage {_short(record.stage)} is none of {', '.join(STAGES)}")
        self.only[name] = record
        self.ended = name == "error"

    def _take_memory(self, number: int, memory: Memory) -> None:
        place = _place(number, memory.phase, MEMORY_PHASES)
        if self.memory and place <= MEMORY_PHASES.index(self.memory[-1].phase):
            _refuse(number, f"memory of {memory.phase} after {self.memory[-1].phase}")
        self.memory.append(memory)

    def _take_sample(self, number: int, sample: Sample) -> None:
        if "session" not in self.only or "output" in self.only or "peak" in self.only:
            _refuse(number, "`sample` belongs between `session` and `output`")
        if sample.iteration != len(self.samples):
            _refuse(number, f"iteration {sample.iteration} where {len(self.samples)} is due")
        due = _phase_due(sample.iteration, self.only["begin"].warmup)
        if sample.phase != due:
            _refuse(number, f"phase {_short(sample.phase)} where {due} is due")
        if sample.latency_ns < 1:
            _refuse(number, f"latency_ns is {sample.latency_ns}: the clock did not move")
        self.samples.append(sample)

    def _take_done(self, number: int, record: Mapping[str, Any]) -> None:
        for name in ("session", "output", "peak"):
            if name not in self.only:
                _refuse(number, f"`done` without `{name}`")
        if not _is_count(record.get("n")) or record["n"] != len(self.samples):
            told = _short(json.dumps(record.get("n")))
            _refuse(number, f"n is {told}, but there are {len(self.samples)} samples")
        begin: Begin = self.only["begin"]
        steady = len(self.samples) - 1 - begin.warmup
        if steady < begin.min_runs:
            _refuse(number, f"{max(steady, 0)} steady samples, fewer than {begin.min_runs}")
        self.ended = True

    def give(self) -> Launch:
        only = self.only
        return Launch(
            begin=only["begin"],
            memory=tuple(self.memory),
            session=only.get("session"),
            samples=tuple(self.samples),
            output=only.get("output"),
            peak=only.get("peak"),
            failure=only.get("error"),
        )


def _check_version(number: int, record: Mapping[str, Any]) -> None:
    version = record.get("protocol")
    if not _is_count(version) or version < 1:
        _refuse(number, f"protocol is {_short(json.dumps(version))}, not a version")
    if version > PROTOCOL_VERSION:
        raise BenchOutputError(
            f"line {number} of the runner's output: protocol {version}, "
            f"this version reads up to {PROTOCOL_VERSION}",
            "update mofa-deploy, or use its own runner",
        )


def _phase_due(iteration: int, warmup: int) -> str:
    if iteration == 0:
        return "first"
    return "warmup" if iteration <= warmup else "steady"


def _place(number: int, phase: str, phases: tuple[str, ...]) -> int:
    if phase not in phases:
        _refuse(number, f"phase {_short(phase)} is none of {', '.join(phases)}")
    return phases.index(phase)


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= INT64_MAX


def _is_config(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


# a field's annotation -> whether a JSON value is of it, and its name for the error
_CHECKS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (_is_count, "a whole number of 0 or more"),
    int | None: (lambda value: value is None or _is_count(value), "a whole number or null"),
    str: (lambda value: isinstance(value, str), "text"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    Mapping[str, str]: (_is_config, "an object of texts"),
}


def _build(kind: type[Record], number: int, record: Mapping[str, Any]) -> Record:
    """Make a record's dataclass from its JSON object; keys that it does not know are left out."""
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]  # every kind is a dataclass
        fits, wanted = _CHECKS[field.type]
        if field.name not in record:
            _refuse(number, f"`{record['record']}` has no `{field.name}`")
        if not fits(record[field.name]):
            told = _short(json.dumps(record[field.name]))
            _refuse(number, f"`{field.name}` is {told}, not {wanted}")
        values[field.name] = record[field.name]
    return kind(**values)


def _short(text: str, most: int = 60) -> str:
    return repr(text if len(text) <= most else text[:most] + "...")


def _refuse(number: int, problem: str) -> NoReturn:
    raise BenchOutputError(
        f"line {number} of the runner's output: {problem}",
        "a runner keeps to android_bench/native/PROTOCOL.md; is this one of the same version?",
    )
