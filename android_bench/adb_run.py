"""Start a program on a phone once, wait for it through all that happens to the cable, collect."""

import itertools
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from android_bench.adb_files import parse_checksum
from android_bench.adb_launch import (
    DONE,
    EXPIRED,
    GONE,
    NEVER,
    REBOOTED,
    RUNNING,
    LaunchState,
    end_all_command,
    end_command,
    parse_report,
    pid_command,
    report_command,
    start_command,
)
from android_bench.adb_link import Link
from android_bench.adb_session import Session, lease_command
from android_bench.adb_shell import reason
from android_bench.device import Completed
from deploy.errors import DeviceError, TransientDeviceError

POLL_S = 0.5
ANSWER_S = 10.0  # what the phone may need besides the program's own time
COLLECT_TRIES = 3
ASK_TRIES = 4
NO_PROGRAM = (126, 127)  # the shell's codes for what is no program, and for what is not there
NO_PROGRAM_OF_MKSH = ": not executable: "  # with code 1, for a file of another processor

_LOST = {
    REBOOTED: "was restarted in the middle of a launch",
    GONE: (
        "killed a launch together with the shell above it "
        "(its adb daemon restarted, or memory or space ran out)"
    ),
    NEVER: "went away before a launch had begun",
}


class Launches:
    """Runs programs in a session's folder, one after the other.

    Args:
        return_s: how long a phone may be gone before its launch is given up.
    """

    def __init__(self, link: Link, session: Session, return_s: float) -> None:
        self._link, self._session, self._return_s = link, session, return_s
        self._numbers = itertools.count(1)
        self._stopped = False
        self._running: PurePosixPath | None = None

    def run(self, argv: Sequence[str], timeout_s: float) -> Completed:
        """Run a program and wait for it. See `AdbDevice.run`."""
        start_ns = time.perf_counter_ns()
        deadline_s = time.monotonic() + timeout_s
        launch = self._session.folder / f".launch-{next(self._numbers)}"
        self._stopped, self._running = False, launch
        try:
            state = self._start(launch, argv, timeout_s)
            while state.kind == RUNNING and time.monotonic() < deadline_s:
                time.sleep(min(POLL_S, max(0.0, deadline_s - time.monotonic())))
                state = self._ask(launch, deadline_s)
            timed_out = state.kind in (RUNNING, EXPIRED)
            if state.kind == RUNNING:
                state = self._end(launch)
            if not timed_out and state.kind != DONE:
                raise self._lost(state.kind)
            stdout, stderr = self._collect(launch, state)
        except BaseException:
            self._give_up(launch)
            raise
        finally:
            self._running = None
        exit_code = state.exit_code if state.kind == DONE else None
        if exit_code in NO_PROGRAM or (exit_code == 1 and NO_PROGRAM_OF_MKSH in stderr):
            raise self._refused(argv, stderr)
        return Completed(exit_code, stdout, stderr, time.perf_counter_ns() - start_ns)

    def pid(self) -> int | None:
        """Give the id of the program that runs, from another thread.

        Raises:
            DeviceError: the phone is gone.
        """
        if self._running is None:
            return None
        told = self._link.shell(pid_command(self._running)).stdout.split()
        return int(told[0]) if told and told[0].isdigit() else None

    def stop(self) -> None:
        """Kill what runs, from another thread; `run` raises then.

        Raises:
            DeviceError: the phone is gone; it ends the launch by itself a while later.
        """
        self._stopped = True
        self._link.shell(end_all_command(self._session.folder))

    def _start(self, launch: PurePosixPath, argv: Sequence[str], timeout_s: float) -> LaunchState:
        """Start the program and wait, at most timeout_s; the phone need not stay."""
        lease = lease_command(self._session.folder, busy_s=int(timeout_s + self._return_s))
        command = start_command(launch, argv, timeout_s, lease, self._report(launch))
        try:
            told = self._link.shell(command, timeout_s)
        except TransientDeviceError:  # the time is up, or the phone is gone
            return self._ask(launch, time.monotonic())
        if told.exit_code == NO_PROGRAM[1]:
            raise self._refused(argv, "not found")
        state = parse_report(told.stdout)
        if state is not None and state.kind in (GONE, NEVER):  # or `setsid` has made a process more
            return self._ask(launch, time.monotonic())
        if state is None:
            raise DeviceError(
                f"{self._link.serial} cannot start a launch ({reason(told.stderr)})",
                "free some space on it, and see that nobody removed the folder of the session",
            )
        return state

    def _ask(self, launch: PurePosixPath, deadline_s: float) -> LaunchState:
        """Ask where the launch stands; a phone that is gone is waited for.

        That nothing is there counts if it was so twice: the start may be under way.
        """
        before = None
        for _ in range(ASK_TRIES):
            state = self._told(launch, deadline_s)
            if state is not None and (state.kind not in (GONE, NEVER) or state == before):
                return state
            before = state
            time.sleep(POLL_S)
        raise TransientDeviceError(
            f"{self._link.serial} does not tell what became of a launch", "launch it again"
        )

    def _told(self, launch: PurePosixPath, deadline_s: float) -> LaunchState | None:
        """Give what the phone tells of a launch, and wait for it until the deadline, or longer."""
        until_s = max(deadline_s, time.monotonic() + self._return_s)
        while True:
            try:
                return parse_report(self._link.shell(self._report(launch)).stdout)
            except TransientDeviceError:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise
                self._link.await_ready(left_s)
                time.sleep(POLL_S)

    def _end(self, launch: PurePosixPath) -> LaunchState:
        """Kill the launch; give its state when nothing of it runs any more."""
        self._link.shell(end_command(launch))
        deadline_s = time.monotonic() + ANSWER_S
        while (state := self._ask(launch, deadline_s)).kind == RUNNING:
            if time.monotonic() > deadline_s:
                raise DeviceError(
                    f"a launch on {self._link.serial} cannot be killed", "restart the phone"
                )
        return state

    def _collect(self, launch: PurePosixPath, state: LaunchState) -> tuple[str, str]:
        """Fetch what a launch printed. This may be done again, as nothing is started."""
        for tries_left in reversed(range(COLLECT_TRIES)):
            try:
                return self._fetch(launch / "out", state.out), self._fetch(
                    launch / "err", state.err
                )
            except TransientDeviceError:
                if not tries_left:
                    raise
                state = self._ask(launch, time.monotonic())
        raise AssertionError("the last try returns or raises")

    def _fetch(self, there: PurePosixPath, told: str) -> str:
        if not told or parse_checksum(told).size_bytes == 0:
            return ""
        with tempfile.TemporaryDirectory(prefix="mofa-collect-") as folder:
            local = Path(folder) / there.name
            self._session.files.fetch(there, local, parse_checksum(told))
            return local.read_bytes().decode("utf-8", "replace")

    def _give_up(self, launch: PurePosixPath) -> None:
        """Kill the launch if the phone is there; else it ends itself, or the next start does."""
        with suppress(DeviceError):
            if self._link.is_ready():
                self._link.shell(end_command(launch), ANSWER_S)

    def _report(self, launch: PurePosixPath) -> str:
        return report_command(launch, self._session.files.tell_checksum)

    def _lost(self, kind: str) -> TransientDeviceError:
        if self._stopped:
            return TransientDeviceError(f"the launch on {self._link.serial} was stopped", "resume")
        return TransientDeviceError(
            f"{self._link.serial} {_LOST[kind]}, so that one has no result", "launch it again"
        )

    def _refused(self, argv: Sequence[str], why: str) -> DeviceError:
        return DeviceError(
            f"cannot run {argv[0]} on {self._link.serial} ({reason(why, 'not a program')})",
            "check that it was pushed, and is built for the phone's processor",
        )
