"""One model on an emulated core: exact counts of its session and runs, its output checked.

A count repeats when everything that the guest can see repeats. So its environment is fixed, its
files have the same names in a folder of their own, its address space is laid out by the emulator
alone (-R) from a fixed seed, and it has one thread and one core. Two things spoil counts unless
they are stopped: ONNX Runtime's telemetry (1.29 and later, on by default) runs threads of its own,
and the library asks getcpu before each matrix product (see native/runner.c).
"""

import hashlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime

from arm64.counts import Counts, Marked, read_marks
from arm64.cpus import Cpu
from arm64.pieces import Pieces, loading
from deploy.errors import DeviceError, FidelityError, GraphError
from deploy.fidelity import psnr_between_db
from deploy.inference import open_session
from deploy.onnx_file import external_files

# A step of 8 bits here and there: ARM and x86 kernels round differently.
MIN_PSNR_VS_HOST_DB = 35.0
CLOCK_BYTES = 4096  # native/marks.h
# Guest addresses within 256 GiB of our own, so that no layout of the host's shows.
_GUEST_SPACE = "0x4000000000"
_NOT_LOADED, _RUN_FAILED = 3, 4  # exit codes of native/runner.c
_ILLEGAL = signal.SIGILL


@dataclass(frozen=True)
class Job:
    """What is counted.

    Attributes:
        model: an ONNX file with one float32 input and one float32 output.
        shape: of the input; None takes the model's own, which must be static then.
        level: of ONNX Runtime's optimizations at load.
        config: session config entries.
        runs: inferences; the first one allocates, the last one is the steady one.
        timeout_s: for all of it.
    """

    model: Path
    shape: tuple[int, ...] | None = None
    level: str = "all"
    config: Mapping[str, str] = field(default_factory=dict)
    runs: int = 2
    timeout_s: float = 1800


@dataclass(frozen=True)
class Counted:
    """What was counted.

    Attributes:
        cpu: name of the emulated core.
        psnr_vs_host_db: of the output against this machine's ONNX Runtime; inf where equal.
        output_sha256: of the output's bytes: equal for cores whose kernels agree to the bit.
        took_s: wall clock of the emulation. Says nothing of any ARM core.
    """

    model: Path
    cpu: str
    session: Counts
    runs: tuple[Counts, ...]
    psnr_vs_host_db: float
    output_sha256: str
    took_s: float

    @property
    def steady(self) -> Counts:
        """The last run: nothing is allocated or planned for the first time."""
        return self.runs[-1]


def count(job: Job, cpu: Cpu, pieces: Pieces) -> Counted:
    """Count the instructions of one model on one core.

    Raises:
        GraphError: the model does not load or run, here or there.
        DeviceError: the emulator or the core is at fault, or the time is over.
        FidelityError: the output strays from this machine's.
    """
    session = open_session(job.model, level=job.level, config=job.config)
    values = _example_input(session, job)
    expected = _host_output(session, values, job)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mofa-arm64-") as name:
        folder = Path(name)
        values.tofile(folder / "input.f32")
        _emulate(job, cpu, pieces, folder, extra=(), plugin="out=marks.jsonl")
        marked: Marked = read_marks(folder / "marks.jsonl")
        output = np.fromfile(folder / "output.f32", np.float32)
    return Counted(
        model=job.model,
        cpu=cpu.name,
        session=marked.session,
        runs=marked.runs,
        psnr_vs_host_db=_compared(job.model, output, expected),
        output_sha256=_sha256(output),
        took_s=time.monotonic() - began,
    )


def profile(job: Job, cpu: Cpu, pieces: Pieces) -> str:
    """Give ONNX Runtime's own profile (JSON) of all runs, each microsecond an instruction.

    Raises:
        GraphError, DeviceError: as `count`.
    """
    with tempfile.TemporaryDirectory(prefix="mofa-arm64-") as name:
        folder = Path(name)
        session = open_session(job.model, level=job.level, config=job.config)
        _example_input(session, job).tofile(folder / "input.f32")
        (folder / "clock").write_bytes(bytes(CLOCK_BYTES))
        extra = ("--profile", "profile", "--clock", "clock")
        _emulate(job, cpu, pieces, folder, extra=extra, plugin="out=marks.jsonl,clock=clock")
        (written,) = folder.glob("profile*.json")
        return written.read_text()


def _example_input(session: onnxruntime.InferenceSession, job: Job) -> np.ndarray:
    """Give seeded values in [0, 1) of the input's shape; counts do not depend on them.

    Raises:
        GraphError: the model has more than one input, not float32, or an open shape and none given.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
        given = ", ".join(f"{one.name}: {one.type}" for one in (*inputs, *outputs))
        raise GraphError(
            f"{job.model} has {given}", "one float32 input and one float32 output are counted"
        )
    shape = job.shape or tuple(inputs[0].shape)
    if not all(isinstance(side, int) and side > 0 for side in shape):
        raise GraphError(f"{job.model} has an input of open shape {shape}", "pass --shape N,C,H,W")
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def _host_output(session: onnxruntime.InferenceSession, values: np.ndarray, job: Job) -> np.ndarray:
    try:
        output: np.ndarray = session.run(None, {session.get_inputs()[0].name: values})[0]
    except Exception as error:  # the binding raises a dozen unrelated types
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise GraphError(f"{job.model} does not run here ({reason})", "check --shape") from error
    return output.ravel()


def _emulate(
    job: Job, cpu: Cpu, pieces: Pieces, folder: Path, *, extra: Sequence[str], plugin: str
) -> None:
    """Run the runner in the emulator; what it leaves is in `folder`."""
    model = f"model{job.model.suffix}"
    (folder / model).symlink_to(job.model.resolve())
    for beside in external_files(job.model):
        shutil.copy2(beside, folder / beside.name)  # a link that leads elsewhere is refused
    for name, path in (
        ("runner", pieces.runner),
        ("libonnxruntime.so", pieces.library),
        ("counter.so", pieces.counter),
    ):
        (folder / name).symlink_to(path.resolve())
    emulator = pieces.emulator
    command = [
        str(emulator.path),
        *("-L", str(pieces.root(cpu)), "-cpu", cpu.qemu, "-R", _GUEST_SPACE, "-seed", "1"),
        *("-U", "LD_LIBRARY_PATH", "-E", "ORT_DISABLE_TELEMETRY=1"),
        *("-plugin", f"./counter.so,{plugin}"),
        *("./runner", model, "--library", "./libonnxruntime.so"),
        *("--input", "input.f32", "--output", "output.f32"),
        *("--runs", str(job.runs), "--opt-level", job.level),
        *(part for key, value in job.config.items() for part in ("--config", f"{key}={value}")),
        *(("--shape", ",".join(map(str, job.shape))) if job.shape else ()),
        *extra,
    ]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=dict(loading(emulator.libraries)),
            capture_output=True,
            text=True,
            timeout=job.timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"{job.model} ran over {job.timeout_s:.0f} s on the emulated {cpu.name}",
            "raise --timeout-s, or count at a smaller size: counts grow with the pixels",
        ) from error
    if done.returncode != 0:
        raise _failure(job, cpu, done)
    if f"onnxruntime {pieces.library_version}" not in done.stdout:
        raise DeviceError(
            f"the aarch64 library is {done.stdout.strip()}, not {pieces.library_version}",
            f"remove {pieces.library.parent} and set up again",
        )


def _failure(
    job: Job, cpu: Cpu, done: "subprocess.CompletedProcess[str]"
) -> GraphError | DeviceError:
    """Say in one line what ended the runner."""
    said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode == _NOT_LOADED:
        return GraphError(
            f"ONNX Runtime for aarch64 does not load {job.model} ({said})",
            "make it for this release and for --target arm-cpu",
        )
    if done.returncode == _RUN_FAILED:
        return GraphError(f"{job.model} does not run on aarch64 ({said})", "check --shape")
    if -done.returncode == _ILLEGAL or f"signal {_ILLEGAL.value} " in done.stderr:
        return DeviceError(
            f"{job.model} needs instructions that the emulated {cpu.name} lacks",
            "count on another --cpu; if it was this project's description, report it",
        )
    return DeviceError(
        f"the emulated {cpu.name} ended with code {done.returncode} ({said})",
        "report it with the model and the versions of qemu and onnxruntime",
    )


def _compared(model: Path, output: np.ndarray, expected: np.ndarray) -> float:
    """Give the PSNR of one output against the other, in dB of the expected one's range."""
    if output.shape != expected.shape:
        raise FidelityError(f"{model} gives {output.size} values on aarch64", "report it")
    peak = float(np.ptp(expected)) or 1.0
    psnr_db = psnr_between_db([expected], [output], peak=peak)
    if not psnr_db >= MIN_PSNR_VS_HOST_DB:
        raise FidelityError(
            f"{model}: the output on aarch64 is {psnr_db:.1f} dB from this machine's",
            "its counts would be of another function; report it with the model",
        )
    return psnr_db


def _sha256(output: np.ndarray) -> str:
    return hashlib.sha256(output.tobytes()).hexdigest()
