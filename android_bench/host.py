"""This machine as a device: the session's folder is a temporary one, programs are processes."""

import ctypes
import fcntl
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from android_bench.device import Completed, DeviceInfo
from deploy.errors import DeviceError

CPUINFO = Path("/proc/cpuinfo")
# The kernel's names for a processor differ by architecture; the first that is there is taken.
CPU_KEYS = ("model name", "Processor", "cpu model", "uarch")
PR_SET_PDEATHSIG = 1  # linux/prctl.h
FOLDER_PREFIX = "mofa-bench-"
ALIVE_NAME = ".alive"  # locked as long as the process that made the folder lives


class HostDevice:
    """The `Device` that is this machine. The session's folder is made when it is first needed."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._alive: IO[str] | None = None

    def info(self) -> DeviceInfo:
        """Say what this machine is; its name goes no further than a hash."""
        host_name = platform.node()
        return DeviceInfo(
            device_id=hashlib.sha256(f"host:{host_name}".encode()).hexdigest()[:16],
            name="host",
            abi=platform.machine(),
            os=f"{platform.system()} {platform.release()}",
            cpu=_cpu_name(),
            cpu_cores=_cpu_cores(),
            mem_total_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            is_phone=False,
        )

    def push(self, local: Path, name: str) -> PurePosixPath:
        """Copy a file into the session's folder; give its path there.

        Raises:
            DeviceError: there is no such file, or the temporary folder refuses it.
        """
        there = self._session_folder() / name
        try:
            shutil.copyfile(local, there)
        except OSError as error:
            raise DeviceError(
                f"cannot copy {local} to {there} ({error.strerror})",
                "check the file, and the room in the temporary folder (TMPDIR)",
            ) from error
        return PurePosixPath(there)

    def pull(self, name: str, local: Path) -> None:
        """Copy a file out of the session's folder.

        Raises:
            DeviceError: it is not there, or `local` cannot be written.
        """
        try:
            shutil.copyfile(self._session_folder() / name, local)
        except OSError as error:
            raise DeviceError(
                f"cannot copy {name} to {local} ({error.strerror})",
                "check that the runner wrote it, and that its folder can be written",
            ) from error

    def run(self, argv: Sequence[str], timeout_s: float) -> Completed:
        """Run a program in the session's folder and wait for it, at most timeout_s.

        At the time limit, or when this is interrupted, it and its children are killed.

        Raises:
            DeviceError: the program cannot be started.
        """
        start_ns = time.perf_counter_ns()
        with _interrupt_held_back() as released:
            process = self._start(argv)
            try:
                released()
                stdout, stderr = process.communicate(timeout=timeout_s)
                exit_code: int | None = process.returncode
            except subprocess.TimeoutExpired:
                _kill_group(process)
                stdout, stderr = process.communicate()
                exit_code = None
            except BaseException:
                _kill_group(process)
                process.communicate()
                raise
        if exit_code is not None and exit_code < 0:
            exit_code = 128 - exit_code
        return Completed(exit_code, stdout, stderr, time.perf_counter_ns() - start_ns)

    def remove(self) -> None:
        """Remove the session's folder and all in it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._alive is not None:
            self._alive.close()
            self._alive = None

    def _session_folder(self) -> Path:
        if self._folder is None:
            _sweep()
            self._folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
            self._alive = _mark_alive(self._folder)
        return self._folder

    def _start(self, argv: Sequence[str]) -> "subprocess.Popen[str]":
        try:
            return subprocess.Popen(
                argv,
                cwd=self._session_folder(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # a group of its own, to be killed as one
                preexec_fn=_die_with_parent(),  # noqa: PLW1509  one system call, no lock taken
            )
        except OSError as error:
            raise DeviceError(
                f"cannot run {argv[0]} ({error.strerror})", "check that the runner is installed"
            ) from error


@contextmanager
def _interrupt_held_back() -> Iterator[Callable[[], None]]:
    """Hold Ctrl-C back until the function that is lent is called, or to the end of the block.

    A fork with a preexec_fn runs Python's own hooks, logging's among them, and what is raised in
    a hook is dropped: a KeyboardInterrupt there was lost, and the measurement went on.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # interrupts are raised in the main thread only
        return
    came: list[int] = []
    usual = signal.signal(signal.SIGINT, lambda number, _: came.append(number))

    def release() -> None:
        signal.signal(signal.SIGINT, usual)
        if came:
            signal.raise_signal(came.pop())

    try:
        yield release
    finally:
        release()


def _mark_alive(folder: Path) -> IO[str]:
    new = folder / f"{ALIVE_NAME}.new"
    alive = new.open("w")
    fcntl.flock(alive, fcntl.LOCK_EX)
    new.rename(folder / ALIVE_NAME)  # it has its final name only once it is locked
    return alive


def _sweep() -> None:
    """Remove the folders that killed processes left: their locks went with them."""
    for mark in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*/{ALIVE_NAME}"):
        try:
            with mark.open() as alive:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(mark.parent, ignore_errors=True)
        except OSError:  # in use, another user's, or swept by another process just now
            continue


def _die_with_parent() -> Callable[[], None] | None:
    """Give what a child does first, so that kill -9 of this process ends the child too.

    Else it would go on beside the resumed session and slow its first launches. Linux only.

    Source: prctl(2), PR_SET_PDEATHSIG.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: between fork and exec nothing may be loaded
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill_group(process: "subprocess.Popen[str]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it ended on its own just now
        return


def _cpu_name() -> str:
    if CPUINFO.exists():
        lines = CPUINFO.read_text().splitlines()
        pairs = {
            key.strip(): value.strip() for key, _, value in (one.partition(":") for one in lines)
        }
        for key in CPU_KEYS:
            if pairs.get(key):
                return pairs[key]
    return platform.processor() or platform.machine()


def _cpu_cores() -> int:
    """Count the cores that this process may use, which a container can have fewer of."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
