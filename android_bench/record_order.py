"""The order of a launch's records: each is checked against those before it. Pure.

The contract is `native/PROTOCOL.md`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from android_bench.records import (
    EXIT_CODES,
    PROTOCOL_VERSION,
    Assignment,
    Begin,
    Count,
    Failure,
    Memory,
    Output,
    Peak,
    Profile,
    Sample,
    Sampler,
    Saved,
    Session,
    Smaps,
    build,
    is_count,
    refuse,
    short,
)
from android_bench.rows import MODES
from deploy.errors import BenchOutputError

MEMORY_PHASES = ("baseline", "loaded", "first", "steady")
SOURCES = ("api", "log", "none")

# what every launch of a mode has at its end
_ALWAYS = {
    "latency": ("session", "output", "peak"),
    "memory": ("session", "output", "peak"),
    "profile": ("session", "output", "peak", "profile"),
    "check": ("session", "output", "peak"),
    "save": ("session", "peak", "saved"),
    "count": ("session", "output"),
}
# the modes whose instructions an emulator can count, and what such a launch cannot know
_COUNTED_MODES = ("count", "profile")
_TIMED = ("memory", "smaps", "sampler", "sample", "peak")


@dataclass(frozen=True)
class Launch:
    """All that one launch printed. A launch that ended well has no failure, and all of its mode.

    Attributes:
        failure: None where the launch ended well.
        counts: where an emulator counted, in place of samples and memory: of the session, then of
            each inference.
    """

    begin: Begin
    memory: tuple[Memory, ...]
    session: Session | None
    samples: tuple[Sample, ...]
    output: Output | None
    peak: Peak | None
    failure: Failure | None
    smaps: tuple[Smaps, ...] = ()
    sampler: Sampler | None = None
    assignment: Assignment | None = None
    profile: Profile | None = None
    saved: Saved | None = None
    counts: tuple[Count, ...] = ()


RECORDS: dict[str, type] = {
    "begin": Begin,
    "memory": Memory,
    "smaps": Smaps,
    "sampler": Sampler,
    "session": Session,
    "assignment": Assignment,
    "sample": Sample,
    "count": Count,
    "output": Output,
    "peak": Peak,
    "profile": Profile,
    "saved": Saved,
    "error": Failure,
}
# name -> what must have come before it, and what must not
_AFTER = {
    "sample": ("session",),
    "count": ("session",),
    "assignment": ("session",),
    "profile": ("output",),
    "saved": ("peak",),
}
_BEFORE = {
    "session": ("sample", "count", "assignment"),
    "assignment": ("sample", "count"),
    "sample": ("output", "peak"),
    "count": ("output",),
    "peak": ("profile",),
    "smaps": ("sampler", "peak"),
    "sampler": ("peak",),
}


class Unfinished:
    """A launch while its lines are read; each is checked against those before it."""

    def __init__(self) -> None:
        self.ended = False
        self.only: dict[str, Any] = {}  # records that come once, by name
        self.seen: set[str] = set()  # the names of all records so far
        self.memory: list[Memory] = []
        self.smaps: list[Smaps] = []
        self.samples: list[Sample] = []
        self.counts: list[Count] = []

    @property
    def is_counted(self) -> bool:
        """Whether there is no clock, as far as the records so far tell."""
        begin, session = self.only["begin"], self.only.get("session")
        return begin.mode == "count" or (session is not None and session.create_ns is None)

    @property
    def inferences(self) -> int:
        """How many were told of, timed or counted."""
        return max(len(self.counts) - 1, 0) if self.is_counted else len(self.samples)

    def take(self, number: int, record: dict[str, Any]) -> None:
        """Add the record of a line.

        Raises:
            BenchOutputError: it is no record, or does not fit those before it.
        """
        name = record["record"]
        if self.ended:
            refuse(number, f"`{name}` after the end")
        if (name == "begin") == bool(self.only):
            refuse(number, f"`{name}` where `begin` must be first, and only once")
        if name == "begin":
            _check_version(number, record)
        if name == "done":
            self._take_done(number, record)
            return
        if name not in RECORDS:
            refuse(number, f"`{name}` is not a record of this protocol")
        self._check_place(number, name)
        self._keep(number, name, build(RECORDS[name], number, record))
        self.seen.add(name)

    def _check_place(self, number: int, name: str) -> None:
        for other in _AFTER.get(name, ()):
            if other not in self.seen:
                refuse(number, f"`{name}` before `{other}`")
        for other in _BEFORE.get(name, ()):
            if other in self.seen:
                refuse(number, f"`{name}` after `{other}`")
        if name == "begin":
            return
        if name in _TIMED and self.is_counted:
            refuse(number, f"`{name}` where instructions are counted")
        if name == "count" and not self.is_counted:
            refuse(number, "`count` where time is measured")
        awaits_samples = name in ("output", "peak") and self.only["begin"].mode != "save"
        if awaits_samples and self.inferences == 0:
            refuse(number, f"`{name}` before the samples")

    def _keep(self, number: int, name: str, record: Any) -> None:
        if name == "memory":
            self._take_memory(number, record)
        elif name == "smaps":
            _place(number, record.phase)
            self.smaps.append(record)
        elif name == "sample":
            self._take_sample(number, record)
        elif name == "count":
            self._take_count(number, record)
        else:
            self._take_only(number, name, record)

    def _take_only(self, number: int, name: str, record: Any) -> None:
        if name in self.only:
            refuse(number, f"a second `{name}`")
        if name == "begin" and record.mode not in MODES:
            refuse(number, f"mode {short(record.mode)} is none of {', '.join(MODES)}")
        if name == "session":
            self._check_clock(number, record)
        if name == "assignment" and record.source not in SOURCES:
            refuse(number, f"source {short(record.source)} is none of {', '.join(SOURCES)}")
        if name == "error" and record.stage not in EXIT_CODES:
            refuse(number, f"stage {short(record.stage)} is none of {', '.join(EXIT_CODES)}")
        self.only[name] = record
        self.ended = name == "error"

    def _check_clock(self, number: int, session: Session) -> None:
        mode = self.only["begin"].mode
        if session.create_ns is None and (mode not in _COUNTED_MODES or self.memory or self.smaps):
            refuse(number, "`create_ns` is null where time is measured")
        if session.create_ns is not None and mode == "count":
            refuse(number, f"`create_ns` is {session.create_ns} where instructions are counted")

    def _take_memory(self, number: int, memory: Memory) -> None:
        place = _place(number, memory.phase)
        if self.memory and place <= MEMORY_PHASES.index(self.memory[-1].phase):
            refuse(number, f"memory of {memory.phase} after {self.memory[-1].phase}")
        self.memory.append(memory)

    def _take_sample(self, number: int, sample: Sample) -> None:
        if sample.iteration != len(self.samples):
            refuse(number, f"iteration {sample.iteration} where {len(self.samples)} is due")
        due = _phase_due(sample.iteration, self.only["begin"].warmup)
        if sample.phase != due:
            refuse(number, f"phase {short(sample.phase)} where {due} is due")
        if sample.latency_ns < 1:
            refuse(number, f"latency_ns is {sample.latency_ns}: the clock did not move")
        self.samples.append(sample)

    def _take_count(self, number: int, count: Count) -> None:
        place = len(self.counts)
        iteration = place - 1 if place else None
        if count.iteration != iteration:
            refuse(number, f"iteration {count.iteration} where {iteration} is due")
        due = _phase_due(place - 1, self.only["begin"].warmup) if place else "session"
        if count.phase != due:
            refuse(number, f"phase {short(count.phase)} where {due} is due")
        if count.instructions < 1:
            refuse(number, "instructions is 0: the counter did not count")
        self.counts.append(count)

    def _take_done(self, number: int, record: Mapping[str, Any]) -> None:
        begin: Begin = self.only["begin"]
        for name in _ALWAYS[begin.mode]:
            if name not in self.only and not (name in _TIMED and self.is_counted):
                refuse(number, f"`done` without `{name}`")
        n, what = self.inferences, "counts" if self.is_counted else "samples"
        if not is_count(record.get("n")) or record["n"] != n:
            told = short(json.dumps(record.get("n")))
            refuse(number, f"n is {told}, but there are {n} {what}")
        steady = max(n - 1 - begin.warmup, 0)
        if steady < begin.min_runs:
            refuse(number, f"{steady} steady {what}, fewer than {begin.min_runs}")
        self.ended = True

    def give(self) -> Launch:
        """Give what was read; not before the first record."""
        only = self.only
        return Launch(
            begin=only["begin"],
            memory=tuple(self.memory),
            session=only.get("session"),
            samples=tuple(self.samples),
            output=only.get("output"),
            peak=only.get("peak"),
            failure=only.get("error"),
            smaps=tuple(self.smaps),
            sampler=only.get("sampler"),
            assignment=only.get("assignment"),
            profile=only.get("profile"),
            saved=only.get("saved"),
            counts=tuple(self.counts),
        )


def _check_version(number: int, record: Mapping[str, Any]) -> None:
    version = record.get("protocol")
    if not is_count(version) or version < 1:
        refuse(number, f"protocol is {short(json.dumps(version))}, not a version")
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


def _place(number: int, phase: str) -> int:
    if phase not in MEMORY_PHASES:
        refuse(number, f"phase {short(phase)} is none of {', '.join(MEMORY_PHASES)}")
    return MEMORY_PHASES.index(phase)
