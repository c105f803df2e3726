"""What a device is to the harness: a place to put files and to run a program."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from android_bench.rows import DeviceRow

DeviceInfo = DeviceRow  # what is known about a device is exactly what its row holds


@dataclass(frozen=True)
class Completed:
    """A program that ended on a device.

    Attributes:
        exit_code: its status; 128 + n where signal n ended it; None where the time limit did.
    """

    exit_code: int | None
    stdout: str
    stderr: str
    duration_ns: int


def nameless(problem: str, device: object) -> str:
    """Give a problem as it may stand in rows, which get passed on: without a phone's serial."""
    serial = getattr(device, "serial", None)
    return problem.replace(serial, "the phone") if serial else problem


class Device(Protocol):
    """A place to put files and run programs. Paths are relative to the session's own folder."""

    def info(self) -> DeviceInfo:
        """Say what the device is.

        Raises:
            DeviceError: it is absent or refuses.
        """
        ...

    def push(self, local: Path, name: str) -> PurePosixPath:
        """Put a file into the session's folder; give its path on the device."""
        ...

    def pull(self, name: str, local: Path) -> None:
        """Fetch a file from the session's folder."""
        ...

    def run(self, argv: Sequence[str], timeout_s: float) -> Completed:
        """Run a program there, in the session's folder, and wait for it, at most timeout_s.

        At the time limit, or when this is interrupted, the program and its children are killed.

        Raises:
            DeviceError: the program cannot be started.
        """
        ...

    def remove(self) -> None:
        """Remove the session's folder and all in it."""
        ...
