"""An emulated ARM core as a device: it counts instructions exactly, and has no clock of its own.

A count repeats when everything that the guest can see repeats. So its environment is fixed, its
files have the same absolute names (the loader and the library keep the path of the folder else, and
a longer one moves the heap), its address space is laid out by the emulator alone (-R) from a fixed
seed, and it has one thread and one core. Two things spoil counts unless they are stopped: ONNX
Runtime's telemetry (1.29 and later, on by default) runs threads of its own, and the library asks
getcpu before each matrix product (see native/arm64/guest.c).
"""

import hashlib
import json
import signal
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from android_bench.arm64_cpus import Cpu
from android_bench.arm64_pieces import Pieces, find_pieces, loading, require_unchanged
from android_bench.device import Completed, DeviceInfo
from android_bench.launch import COUNTER_NAME
from android_bench.processes import run_program
from android_bench.runner import find_counter
from android_bench.session_folder import SessionFolder

NAME = "arm64"
PAGE_BYTES = 4096  # that the counter and the runner share
PLUGIN = "counter.so"
GUEST = PurePosixPath("/mofa")  # where the guest sees the session's files, wherever they lie
# Guest addresses within 256 GiB of our own, so that no layout of the host's shows.
GUEST_SPACE = "0x4000000000"
SIGNALLED = 128

_SESSION_MADE = '"record":"session"'
_LACKS = "ONNX Runtime ran into an instruction that this core lacks; take another --cpu"
_AT_LOAD = "it crashed at load, as where the description of the core in /proc and /sys does not fit"


class EmulatedArm:
    """The `Device` that is one ARM core under user-mode emulation, whose counter is read.

    Attributes:
        cpu: the core.
    """

    def __init__(self, cpu: Cpu, cache: Path | None = None) -> None:
        """Name the core. Nothing is looked for before it is needed.

        Args:
            cache: the folder of the pieces; None: the user's.
        """
        self.cpu = cpu
        self._cache = cache
        self._folder = SessionFolder()

    @cached_property
    def pieces(self) -> Pieces:
        """What the emulation is made of.

        Raises:
            DeviceError: pieces are missing or have changed, or the emulator lacks this core.
        """
        require_unchanged(self._cache)
        found = find_pieces(self._cache)
        found.require_core(self.cpu)
        return found

    def info(self) -> DeviceInfo:
        """Say what is emulated, and with what; nothing of this machine is in it.

        Raises:
            DeviceError: see `pieces`.
        """
        counts_with = self.pieces.counts_with(self.cpu)
        versions = [NAME, *(counts_with[name] for name in ("cpu", "onnxruntime", "qemu"))]
        return DeviceInfo(
            device_id=hashlib.sha256(":".join(versions).encode()).hexdigest()[:16],
            name=f"{NAME}-{self.cpu.name}",
            abi="aarch64",
            os="Linux",
            cpu=f"{self.cpu.qemu.partition(',')[0]}, {self.cpu.what}",
            cpu_cores=1,
            mem_total_bytes=None,
            is_phone=False,
            is_emulator=True,
            emulated_cpu=self.cpu.name,
            counts_with=json.dumps(counts_with, sort_keys=True),
        )

    def push(self, local: Path, name: str) -> PurePosixPath:
        """Copy a file into the session's folder; give the guest's path of it, never another.

        Raises:
            DeviceError: there is no such file, or the temporary folder refuses it.
        """
        self._folder.put(local, _beside(GUEST / name))
        return GUEST / name

    def pull(self, name: str, local: Path) -> None:
        """Copy a file out of the session's folder.

        Raises:
            DeviceError: it is not there, or `local` cannot be written.
        """
        self._folder.fetch(name, local)

    def run(self, argv: Sequence[str], timeout_s: float) -> Completed:
        """Run an aarch64 program in the session's folder, and wait for it, at most timeout_s.

        At the time limit, or when this is interrupted, it is killed. What it executed is counted
        into the file `COUNTER_NAME` there, as native/PROTOCOL.md has it.

        Raises:
            DeviceError: the emulator cannot be started, or see `pieces`.
        """
        folder = self._folder.path()
        if not (folder / PLUGIN).exists():
            self._folder.put(find_counter(self.pieces.emulator.plugin_api), PLUGIN)
        (folder / COUNTER_NAME).write_bytes(bytes(PAGE_BYTES))
        emulator = self.pieces.emulator
        done = run_program(
            [str(emulator.path), *self._options(folder), _beside(argv[0]), *argv[1:]],
            folder,
            timeout_s,
            loading(emulator.libraries),
        )
        return self._explained(done)

    def remove(self) -> None:
        """Remove the session's folder and all in it."""
        self._folder.remove()

    def _options(self, folder: Path) -> list[str]:
        self.pieces.make_root(self.cpu, folder)
        return [
            *("-L", str(folder), "-cpu", self.cpu.qemu),
            *("-R", GUEST_SPACE, "-seed", "1"),
            *("-U", "LD_LIBRARY_PATH", "-E", "ORT_DISABLE_TELEMETRY=1"),
            *("-plugin", f"./{PLUGIN},page={COUNTER_NAME}"),
        ]

    def _explained(self, done: Completed) -> Completed:
        """Say on standard error what a signal means here, in a last line for people."""
        number = (done.exit_code or 0) - SIGNALLED
        if number == signal.SIGILL:
            why = _LACKS
        elif number == signal.SIGSEGV and _SESSION_MADE not in done.stdout.replace(" ", ""):
            why = _AT_LOAD
        else:
            return done
        said = f"{done.stderr.rstrip()}\n{NAME}-{self.cpu.name}: {why}\n"
        return Completed(done.exit_code, done.stdout, said.lstrip(), done.duration_ns)


def _beside(path: PurePosixPath | str) -> str:
    """Give a path of the guest as it is from the session's folder, which the guest has for /."""
    return str(path).removeprefix("/")
