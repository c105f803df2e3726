"""The runner of the host: load one model, run it many times, print what was seen.

A program, not a module to import. What it is asked and what it prints is `native/PROTOCOL.md`.
It needs the standard library, numpy and onnxruntime, and imports nothing of this package, so that
a measured process holds nothing else.
"""

import argparse
import gc
import hashlib
import json
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

PROTOCOL = 1
EXIT_LOAD = 3
EXIT_RUN = 4

PROVIDERS = {"cpu": "CPUExecutionProvider"}
OPT_LEVELS = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
# Worker threads that spin between runs steal the cores from what runs next.
CONFIG = {"session.force_spinning_stop": "1"}

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")

Reading = dict[str, int | None]  # a memory record without its phase

clock_ns = time.perf_counter_ns  # CLOCK_MONOTONIC on Linux


class ModelRefusedError(Exception):
    """The model or the input is not of the kind that this runner takes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the launch that the command line asks for; give the exit code."""
    options = _parser().parse_args(argv)
    least = 1 + options.warmup + options.min_runs
    if options.max_runs < least:
        _parser().error(f"--max-runs {options.max_runs} is fewer than the {least} asked for")
    _print_begin(options)
    # Filled, not empty: a page that is first touched between two runs would cost the next one.
    samples = np.full((options.max_runs, 2), -1, dtype=np.int64)  # start_ns, latency_ns
    stage, exit_code = "load", EXIT_LOAD
    try:
        peak_reset = _reset_peak()
        _print_memory("baseline", _memory())
        session, create_ns = _create(options)
        _print_memory("loaded", _memory())
        binding, output = _bind(session, options.input)
        _print_record(
            "session",
            create_ns=create_ns,
            input_shape=session.get_inputs()[0].shape,
            output_shape=session.get_outputs()[0].shape,
        )
        stage, exit_code = "run", EXIT_RUN
        n, memory, peak = _measure(session, binding, samples, options)
        _print_samples(samples[:n], options.warmup)
        for phase, reading in memory.items():
            _print_memory(phase, reading)
        _write_output(output, options.output)
        _print_record("peak", **peak, reset=peak_reset)
    except Exception as error:  # ONNX Runtime's error classes have no other base in common
        traceback.print_exc()
        _print_record("error", stage=stage, message=str(error))
        return exit_code
    _print_record("done", n=n)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python_runner", description="See native/PROTOCOL.md.")
    parser.add_argument("model")
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--provider", choices=PROVIDERS, default="cpu")
    parser.add_argument("--threads", type=_count, default=1)
    parser.add_argument("--opt-level", choices=OPT_LEVELS, default="all")
    parser.add_argument("--config", type=_key_value, action="append", default=[])
    parser.add_argument("--warmup", type=_count, default=3)
    parser.add_argument("--seconds", type=_duration, default=1.0)
    parser.add_argument("--min-runs", type=_count, default=5)
    parser.add_argument("--max-runs", type=_count, default=100_000)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def _duration(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time of 0 or more")
    return seconds


def _key_value(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _print_begin(options: argparse.Namespace) -> None:
    _print_record(
        "begin",
        protocol=PROTOCOL,
        runtime="onnxruntime",
        runtime_version=ort.__version__,
        provider=options.provider,
        intra_op_threads=options.threads,
        inter_op_threads=1,
        graph_opt_level=options.opt_level,
        config=CONFIG | dict(options.config),
        warmup=options.warmup,
        seconds=options.seconds,
        min_runs=options.min_runs,
    )


def _create(options: argparse.Namespace) -> tuple[ort.InferenceSession, int]:
    """Give the session and how long it took to make, in ns."""
    wanted = ort.SessionOptions()
    wanted.intra_op_num_threads = options.threads
    wanted.inter_op_num_threads = 1
    wanted.graph_optimization_level = OPT_LEVELS[options.opt_level]
    for key, value in (CONFIG | dict(options.config)).items():
        wanted.add_session_config_entry(key, value)
    start_ns = clock_ns()
    session = ort.InferenceSession(options.model, wanted, providers=[PROVIDERS[options.provider]])
    return session, clock_ns() - start_ns


def _bind(session: ort.InferenceSession, values: Path) -> tuple[ort.IOBinding, ort.OrtValue]:
    """Give the binding that every inference uses, and the value that holds the output.

    Raises:
        ModelRefusedError: not one static float32 input and output, or `values` has another size.
    """
    takes, gives = session.get_inputs(), session.get_outputs()
    if len(takes) != 1 or len(gives) != 1:
        raise ModelRefusedError(f"{len(takes)} inputs and {len(gives)} outputs, not one of each")
    for end in (*takes, *gives):
        if end.type != "tensor(float)" or not all(isinstance(size, int) for size in end.shape):
            raise ModelRefusedError(
                f"{end.name} is {end.type} of shape {end.shape}, not float32 of a static shape"
            )
    array = np.fromfile(values, dtype="<f4")
    if array.size != np.prod(takes[0].shape):
        raise ModelRefusedError(f"{array.size} values for an input of shape {takes[0].shape}")
    given = ort.OrtValue.ortvalue_from_numpy(array.reshape(takes[0].shape).astype(np.float32))
    output = ort.OrtValue.ortvalue_from_numpy(np.zeros(gives[0].shape, np.float32))
    binding = session.io_binding()
    binding.bind_ortvalue_input(takes[0].name, given)
    binding.bind_ortvalue_output(gives[0].name, output)
    return binding, output


def _measure(
    session: ort.InferenceSession,
    binding: ort.IOBinding,
    samples: np.ndarray,
    options: argparse.Namespace,
) -> tuple[int, dict[str, Reading | None], dict[str, Any]]:
    """Run the inferences; give how many, the memory at the end of each phase, and the peak."""
    warm = 1 + options.warmup
    memory = {}
    gc.disable()
    _run(session, binding, samples[:1])
    memory["first"] = _memory()
    _run(session, binding, samples[1:warm])
    steady = _run(session, binding, samples[warm:], options.min_runs, options.seconds)
    memory["steady"] = _memory()
    peak = _peak()
    gc.enable()
    return warm + steady, memory, peak


def _run(
    session: ort.InferenceSession,
    binding: ort.IOBinding,
    samples: np.ndarray,
    min_runs: int | None = None,
    seconds: float = 0.0,
) -> int:
    """Fill rows of `samples`, all or until min_runs and seconds are reached; give how many."""
    capacity = len(samples)
    least = capacity if min_runs is None else min_runs
    deadline_ns = clock_ns() + int(seconds * 1e9)
    n = 0
    while n < capacity and (n < least or clock_ns() < deadline_ns):
        start_ns = clock_ns()
        session.run_with_iobinding(binding)
        end_ns = clock_ns()
        samples[n, 0] = start_ns
        samples[n, 1] = end_ns - start_ns
        n += 1
    return n


def _write_output(output: ort.OrtValue, path: Path) -> None:
    values = output.numpy().astype("<f4").tobytes()
    path.write_bytes(values)
    _print_record("output", bytes=len(values), sha256=hashlib.sha256(values).hexdigest())


def _proc_status() -> dict[str, int]:
    """Give the sizes in /proc/self/status, in bytes; empty where there is none."""
    if not STATUS.exists():
        return {}
    sizes = {}
    for line in STATUS.read_text().splitlines():
        key, _, value = line.partition(":")
        if value.endswith(" kB"):
            sizes[key] = int(value.removesuffix(" kB")) * 1024
    return sizes


def _memory() -> Reading | None:
    """Read the resident memory now; None where it cannot be read."""
    status = _proc_status()
    if "VmRSS" not in status:
        return None
    return {
        "t_ns": clock_ns(),
        "rss_bytes": status["VmRSS"],
        "rss_anon_bytes": status.get("RssAnon"),
        "rss_file_bytes": status.get("RssFile"),
    }


def _reset_peak() -> bool:
    """Start the kernel's high-water mark afresh; say whether the kernel allowed it.

    Source: proc_pid_clear_refs(5), value 5.
    """
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _peak() -> dict[str, Any]:
    """Read the high-water mark of resident memory."""
    status = _proc_status()
    if "VmHWM" in status:
        return {"rss_bytes": status["VmHWM"], "source": "VmHWM"}
    unit_bytes = 1 if sys.platform == "darwin" else 1024  # getrusage(2) of each
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
    return {"rss_bytes": peak_bytes, "source": "ru_maxrss"}


def _print_samples(samples: np.ndarray, warmup: int) -> None:
    phases = ["first", *["warmup"] * warmup, *["steady"] * (len(samples) - warmup - 1)]
    lines = [
        json.dumps(
            {
                "record": "sample",
                "iteration": iteration,
                "phase": phases[iteration],
                "t_start_ns": start_ns,
                "latency_ns": latency_ns,
            }
        )
        for iteration, (start_ns, latency_ns) in enumerate(samples.tolist())
    ]
    print("\n".join(lines), flush=True)


def _print_memory(phase: str, reading: Reading | None) -> None:
    if reading is not None:
        _print_record("memory", phase=phase, **reading)


def _print_record(name: str, **values: Any) -> None:
    # Flushed, so that a crash leaves the records before it.
    print(json.dumps({"record": name, **values}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
