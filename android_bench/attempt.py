"""Making one launch: wait until the device is cool, run, check what came out, give the rows."""

import re
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from android_bench.correctness import (
    COUNTED_MIN_PSNR_DB,
    INTEGER_MIN_PSNR_DB,
    Checker,
    Verdict,
    host_output,
)
from android_bench.coverage import (
    Coverage,
    assigned,
    profiled,
    read_counted_profile,
    read_profile,
)
from android_bench.device import Completed, Device, DeviceInfo, nameless
from android_bench.finished import (
    Ended,
    count_rows,
    memory_rows,
    new_run_id,
    run_row,
    sample_rows,
)
from android_bench.launch import (
    OUTPUT_NAME,
    PROFILE_NAME,
    Case,
    Due,
    Finished,
    Session,
    Target,
    asked_of,
    command_line,
    is_verbose,
)
from android_bench.outcome import Outcome, judge, mark_out_of_memory, was_killed
from android_bench.phone_meminfo import CanTellPid, HeapTold, asking_meminfo, compare_heaps
from android_bench.protocol import Launch
from android_bench.rows import OpRow, TelemetryRow
from android_bench.sensor_text import ANSWER_S, CanQuery
from android_bench.sensors import Reading
from android_bench.thermal import Guard, conditions, telemetry_rows
from deploy.errors import BenchOutputError, DeviceError, TransientDeviceError
from deploy.files import file_sha256

CHECKED_MODES = ("latency", "count")  # the launches that the session is for
VMSTAT = Path("/proc/vmstat")
LOG_LINES = "400"  # of the phone's log that are searched for the killer's line
_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_KILLER = re.compile(r"lowmemorykiller|lmkd|out of memory|oom-kill|oom_reaper", re.IGNORECASE)


class Launcher:
    """Makes the launches of one session on one device.

    Attributes:
        session: set anew where the files on the device moved.
    """

    def __init__(self, device: Device, info: DeviceInfo, session: Session, guard: Guard) -> None:
        self.session = session
        self._device, self._info, self._guard = device, info, guard
        self._checkers: dict[str, Checker] = {}
        self._kills = self._count_kills()

    def make(self, target: Target, due: Due) -> Finished:
        """Make a launch and give its rows, whatever became of it.

        A device that is lost on the way is a row as well: `device_lost`.

        Raises:
            DeviceError: the device cannot be used, or the runner cannot be started.
        """
        checker = self._checker(target) if due.slot.mode in CHECKED_MODES else None
        began, began_ns = datetime.now(UTC), time.perf_counter_ns()
        try:
            return self._make(target, due, checker)
        except TransientDeviceError as error:
            outcome = Outcome("device_lost", nameless(error.problem, self._device))
            ended = Ended(outcome, _iso(began), time.perf_counter_ns() - began_ns, None)
            return Finished(run_row(self.session, target, due, ended, new_run_id()))

    def _make(self, target: Target, due: Due, checker: Checker | None) -> Finished:
        plan, mode, run_id = self.session.plan, due.slot.mode, new_run_id()
        start = self._guard.wait(plan.cooldown_s)
        began, began_ns = datetime.now(UTC), time.perf_counter_ns()
        argv = command_line(target, self.session, mode)
        completed, later, heaps = self._run(argv, mode)
        outcome = judge(completed, asked_of(target.case, self.session, mode), plan.timeout_s)
        outcome = self._with_evidence(outcome)
        throttled = self._guard.throttled(start, later)
        verdict, coverage = None, None
        ops: Sequence[OpRow] = ()
        if outcome.status == "ok" and outcome.seen is not None:
            ops = self._ops(run_id) if mode == "profile" else ()
            coverage = _coverage(outcome.seen, target.case, mode, completed, ops)
            verdict = self._verdict(outcome.seen, checker) if checker else None
            outcome = self._final(outcome, target.case, coverage, verdict, throttled)
        ended = Ended(
            outcome,
            _iso(began),
            completed.duration_ns,
            completed.exit_code,
            coverage,
            verdict,
            conditions(self._guard.sensors, start, later, throttled)
            | compare_heaps(
                heaps, memory_rows(outcome.seen, run_id), self._shift_ns(began_ns, outcome.seen)
            ),
        )
        return Finished(
            run_row(self.session, target, due, ended, run_id),
            () if self._counts else sample_rows(outcome.seen, run_id),
            () if self._counts else memory_rows(outcome.seen, run_id),
            self._telemetry(run_id, [start.reading, *later], began_ns, outcome.seen),
            tuple(ops),
            count_rows(outcome.seen, run_id),
            final=start.gave_up,
        )

    @property
    def _counts(self) -> bool:
        """Whether launches count instructions: their times and memory are those of an emulator."""
        return self.session.plan.metric == "instructions"

    def _run(
        self, argv: Sequence[str], mode: str
    ) -> tuple[Completed, list[Reading], list[HeapTold]]:
        """Run the runner; give the readings during that and after it, and what Android counts."""
        limit_s = self.session.plan.timeout_s
        if not self._info.is_phone:  # this machine's own cores would have to glance
            return self._device.run(argv, limit_s), [self._guard.after()], []
        asking: AbstractContextManager[list[HeapTold]] = nullcontext([])
        if mode == "memory" and isinstance(self._device, CanTellPid):
            asking = asking_meminfo(self._device)
        with self._guard.glancing() as seen, asking as heaps:
            completed = self._device.run(argv, limit_s)
        return completed, [*seen, self._guard.after()], heaps

    def _final(
        self,
        outcome: Outcome,
        case: Case,
        coverage: Coverage | None,
        verdict: Verdict | None,
        throttled: str | None,
    ) -> Outcome:
        """Give the outcome of a launch that ended well, in the light of all else."""
        if verdict and verdict.problem:
            return replace(outcome, status="output_mismatch", reason=verdict.problem)
        took_none = coverage is not None and coverage.nodes_on_provider == 0
        if self.session.plan.strict_provider and case.provider != "cpu" and took_none:
            why = f"{case.provider} took none of the graph's {coverage and coverage.nodes_total}"
            return replace(outcome, status="provider_fallback", reason=f"{why} nodes")
        if throttled:
            return replace(outcome, status="throttled", reason=throttled)
        return outcome

    def _checker(self, target: Target) -> Checker:
        """Give the checker of a case. Its reference is computed before anything is timed."""
        if target.case_id not in self._checkers:
            case = target.case
            level, config = case.opt_level, case.config
            if self._info.is_phone:
                level, config = "disable", {}
            reference = host_output(case.artifact.path, case.input, level, config)
            kind = case.artifact.kind
            least_db = COUNTED_MIN_PSNR_DB if self._counts else INTEGER_MIN_PSNR_DB
            self._checkers[target.case_id] = Checker(kind, case.provider, reference, least_db)
        return self._checkers[target.case_id]

    def _verdict(self, seen: Launch, checker: Checker) -> Verdict | None:
        if seen.output is None:
            return None
        known = checker.known(seen.output.sha256)
        if known is not None:
            return known
        with TemporaryDirectory() as folder:
            pulled = Path(folder) / OUTPUT_NAME
            try:
                self._device.pull(OUTPUT_NAME, pulled)
            except TransientDeviceError:
                raise
            except DeviceError as error:
                return Verdict(
                    False,
                    problem=f"the output is not there: {nameless(error.problem, self._device)}",
                )
            if file_sha256(pulled) != seen.output.sha256:
                return Verdict(False, problem="the output's file is not the one that it hashed")
            return checker.check(np.fromfile(pulled, "<f4"), seen.output.sha256)

    def _ops(self, run_id: str) -> Sequence[OpRow]:
        with TemporaryDirectory() as folder:
            pulled = Path(folder) / PROFILE_NAME
            self._device.pull(PROFILE_NAME, pulled)
            read = read_counted_profile if self._counts else read_profile
            try:
                return read(pulled.read_text(errors="replace"), run_id)
            except BenchOutputError:  # the launch itself is good; its nodes are not known
                return ()

    def _telemetry(
        self, run_id: str, readings: Sequence[Reading], began_ns: int, seen: Launch | None
    ) -> tuple[TelemetryRow, ...]:
        """Give readings as rows, on the device's clock."""
        shift_ns = self._shift_ns(began_ns, seen)
        return tuple(
            row
            for reading in readings
            for row in telemetry_rows(run_id, reading, reading.at_ns + shift_ns)
        )

    def _shift_ns(self, began_ns: int, seen: Launch | None) -> int:
        """Give what our own clock has to be moved by to be the device's.

        A phone's clock is not ours. What it printed first, it read right after the launch began,
        so our own distance to that moment is taken from there; the transport's delay is in it.
        """
        if not self._info.is_phone:
            return 0
        first = [one.t_ns for one in (seen.memory if seen else ())][:1]
        return (first[0] if first else 0) - began_ns

    def _with_evidence(self, outcome: Outcome) -> Outcome:
        """Tell a kill for want of memory from any other, where the system says so."""
        if not was_killed(outcome):
            return outcome
        kills, before = self._count_kills(), self._kills
        self._kills = kills
        if kills is not None and before is not None and kills > before:
            return mark_out_of_memory(outcome, "the kernel counts one more kill for want of memory")
        line = self._killers_line(outcome.seen.begin.pid if outcome.seen else None)
        return mark_out_of_memory(outcome, line) if line else outcome

    def _count_kills(self) -> int | None:
        """Give how often the kernel killed for want of memory, ever; None where it does not say."""
        if isinstance(self._device, CanQuery):
            text = self._device.query(["cat", str(VMSTAT)], ANSWER_S).stdout
        else:
            text = VMSTAT.read_text() if VMSTAT.exists() else ""
        found = _KILLS.search(text)
        return int(found[1]) if found else None

    def _killers_line(self, pid: int | None) -> str | None:
        """Give the line in which a phone's low-memory killer tells of this process."""
        if pid is None or not isinstance(self._device, CanQuery):
            return None
        argv = ["logcat", "-d", "-b", "all", "-t", LOG_LINES]
        for line in self._device.query(argv, ANSWER_S).stdout.splitlines():
            if _KILLER.search(line) and re.search(rf"\b{pid}\b", line):
                return line.strip()
        return None


def _coverage(
    seen: Launch, case: Case, mode: str, completed: Completed, ops: Sequence[OpRow]
) -> Coverage | None:
    log = completed.stderr if is_verbose(case, mode) else ""
    return assigned(seen.assignment, case.provider, log) or profiled(ops, case.provider)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
