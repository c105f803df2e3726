"""What an emulator uses of the machine it runs on: read while it runs, from /proc."""

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from android_bench.arm64 import EmulatedArm
from android_bench.arm64_cpus import Cpu
from android_bench.device import Completed
from deploy.errors import DeviceError

_EVERY_S = 0.01
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Used:
    """What one launch used.

    Attributes:
        processor_s: user and system time of the emulator.
        wall_s: from its start to its end.
        peak_mib: greatest resident memory of the emulator, its guest in it (VmHWM).
    """

    processor_s: float
    wall_s: float
    peak_mib: float


class WatchedArm(EmulatedArm):
    """An emulated core that keeps what each launch used, in `used`.

    The last reading is up to 10 ms before a launch ends; the peak is reached long before.
    """

    def __init__(self, cpu: Cpu) -> None:
        super().__init__(cpu)
        self.used: list[Used] = []

    def run(self, argv: Sequence[str], timeout_s: float) -> Completed:
        """Run a program as every emulated core does, and watch it.

        Raises:
            DeviceError: as there, or it ended before it could be read.
        """
        name = self.pieces.emulator.path.name
        seen: list[tuple[float, float]] = []
        ended = threading.Event()
        watcher = threading.Thread(target=_watch, args=(name, seen, ended), daemon=True)
        start = time.perf_counter()
        watcher.start()
        try:
            done = super().run(argv, timeout_s)
        finally:
            wall_s = time.perf_counter() - start
            ended.set()
            watcher.join()
        if not seen:
            raise DeviceError(f"{name} ended before /proc could be read", "see its own message")
        processor_s, peak_mib = seen[-1]
        self.used.append(Used(processor_s, wall_s, peak_mib))
        return done


def _watch(name: str, seen: list[tuple[float, float]], ended: threading.Event) -> None:
    while not ended.wait(_EVERY_S):
        for child in _children():
            try:
                if _name(child) == name[:15]:  # the kernel keeps as many
                    seen.append((_processor_s(child), _peak_mib(child)))
            except (OSError, IndexError, KeyError):  # it ended just now
                continue


def _children() -> list[Path]:
    found = []
    for children in Path("/proc/self/task").glob("*/children"):
        try:
            found += [Path("/proc", pid) for pid in children.read_text().split()]
        except OSError:  # a thread that ended just now
            continue
    return found


def _name(process: Path) -> str:
    return (process / "comm").read_text().strip()


def _processor_s(process: Path) -> float:
    # fields after the name, which is in brackets; user and system time are the 14th and 15th
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _peak_mib(process: Path) -> float:
    """Source: proc(5), VmHWM, in kB."""
    lines = (process / "status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return int(fields["VmHWM"].split()[0]) / 1024
