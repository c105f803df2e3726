"""Running a program on this machine: in a group of its own, which is killed as one."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from android_bench.device import Completed
from deploy.errors import DeviceError

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run_program(
    argv: Sequence[str],
    folder: Path,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
) -> Completed:
    """Run a program in a folder and wait for it, at most timeout_s.

    At the time limit, or when this is interrupted, it and its children are killed.

    Args:
        environment: all that the program gets; None: that of this process.

    Raises:
        DeviceError: the program cannot be started.
    """
    start_ns = time.perf_counter_ns()
    with _interrupt_held_back() as released:
        process = _start(argv, folder, environment)
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


def _start(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str] | None
) -> "subprocess.Popen[str]":
    try:
        return subprocess.Popen(
            argv,
            cwd=folder,
            env=environment,
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
