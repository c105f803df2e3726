"""This machine as a device: the session's folder is a temporary one, programs are processes."""

import hashlib
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from android_bench.device import Completed, DeviceInfo
from android_bench.processes import run_program
from android_bench.session_folder import SessionFolder

CPUINFO = Path("/proc/cpuinfo")
# The kernel's names for a processor differ by architecture; the first that is there is taken.
CPU_KEYS = ("model name", "Processor", "cpu model", "uarch")


class HostDevice:
    """The `Device` that is this machine. The session's folder is made when it is first needed."""

    def __init__(self) -> None:
        self._folder = SessionFolder()

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
        return PurePosixPath(self._folder.put(local, name))

    def pull(self, name: str, local: Path) -> None:
        """Copy a file out of the session's folder.

        Raises:
            DeviceError: it is not there, or `local` cannot be written.
        """
        self._folder.fetch(name, local)

    def run(self, argv: Sequence[str], timeout_s: float) -> Completed:
        """Run a program in the session's folder and wait for it, at most timeout_s.

        At the time limit, or when this is interrupted, it and its children are killed.

        Raises:
            DeviceError: the program cannot be started.
        """
        return run_program(argv, self._folder.path(), timeout_s)

    def remove(self) -> None:
        """Remove the session's folder and all in it."""
        self._folder.remove()


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
