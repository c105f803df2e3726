"""What the measuring itself costs and how far it can be trusted: four questions about the harness.

    python benchmarks/harness.py [cost] [spread] [matrix] [faults] [--faults N] [--seconds S]

- cost: how much longer an inference of about 1 ms takes for being timed, against a bare C loop over
  the same session in the same process; bursts of both take turns.
- spread: how far launches of one and the same case are apart, and what the interval of two halves
  of them (A against A) is.
- matrix: wall time of 2 models x 2 settings x 8 launches against the sum of its launches, on this
  machine and on an emulated phone. The phone has one provider, so optimization levels stand in for
  two.
- faults: cables pulled at random moments of sessions on an emulated phone; every case has to be
  accounted for, no launch that ended well may be lost or made twice.

The emulated phone is `tests/phone`: a real adb server, an adb daemon of ours, this machine's own
processor. Its numbers say what the harness adds, never how fast a phone is.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper

from android_bench.adb import AdbDevice
from android_bench.device import Device
from android_bench.host import HostDevice
from android_bench.launch import Case
from android_bench.plan import BenchPlan
from android_bench.runner import HOST_FLAGS, HOST_LIBRARIES, NATIVE, host_command, host_library
from android_bench.session import bench
from deploy.artifact import read_artifact
from deploy.errors import DeviceError
from reports.stats import median_interval, paired_ratio

ROOT = Path(__file__).resolve().parent.parent
BARE = Path(__file__).with_name("harness_c") / "bare_loop.c"
QUESTIONS = ("cost", "spread", "matrix", "faults")
PLAN = BenchPlan(threads=1, seconds=1.0, warmup=3, max_wait_s=0.0)
BURST = 10  # inferences: short, so that the two of a pair meet the same machine


def write_model(folder: Path, name: str, side_px: int, channels: int = 16) -> Case:
    """Write a convolution; 16 channels of 144 px take about 1 ms of one core here."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(channels, channels, 3, 3)).astype(np.float32)
    shape = (1, channels, side_px, side_px)
    ends = [helper.make_tensor_value_info(one, TensorProto.FLOAT, shape) for one in "xy"]
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    graph = helper.make_graph(
        [node], name, ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")]
    )
    opset = helper.make_opsetid("", 18)
    path, values = folder / f"{name}.onnx", folder / f"{name}.f32"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    generator.random(shape).astype("<f4").tofile(values)
    return Case(read_artifact(path), values)


def cost(folder: Path, seconds: float) -> None:
    """Print what being timed costs an inference."""
    program = folder / "bare_loop"
    compiler = ["cc", *HOST_FLAGS, f"-I{NATIVE}", "-o", str(program), str(BARE), *HOST_LIBRARIES]
    subprocess.run(compiler, check=True)
    case = write_model(folder, "small", 144)
    words = [str(program), str(case.artifact.path), "--library", str(host_library())]
    words += ["--input", str(case.input), "--output", str(folder / "y.f32"), "--warmup", "50"]
    words += ["--min-runs", str(BURST), "--seconds", str(seconds)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    pairs = pd.DataFrame([json.loads(line) for line in done.stdout.splitlines()])
    each_ms = float(np.median(pairs["bare_ns"] / pairs["runs"])) / 1e6
    around_ns = float(np.median((pairs["runner_ns"] - pairs["timed_ns"]) / pairs["runs"]))
    print(f"\ncost: {len(pairs)} pairs of bursts of {BURST} inferences of {each_ms:.3f} ms\n")
    for what, column in (("the runner's loop", "runner_ns"), ("what it notes", "timed_ns")):
        ratio = median_interval(pairs[column] / pairs["bare_ns"])
        low, value, high = (100 * (one - 1) for one in (ratio.low, ratio.value, ratio.high))
        print(f"- {what} over the bare loop: {value:+.3f} % [{low:+.3f}, {high:+.3f}]")
    share = 100 * around_ns / (1e6 * each_ms)
    print(f"- the runner's own work around an inference: {around_ns:.0f} ns, {share:.3f} %")


def spread(folder: Path, seconds: float) -> None:
    """Print how far launches of one case are apart."""
    case = write_model(folder, "same", 144)
    plan = replace(PLAN, launches=20, seconds=min(1.0, seconds / 20))
    results = bench([case], plan, HostDevice(), folder / "spread", runner=host_command())
    medians = launch_medians_ms(results)
    first, second = medians[0::2], medians[1::2]
    ratio = paired_ratio(first, second)
    print(f"\nspread: {len(medians)} launches of one case, {medians.median():.3f} ms\n")
    print(
        f"- between launches: {100 * medians.std() / medians.mean():.2f} % (deviation of medians)"
    )
    print(f"- A against A: {ratio.value:.4f} [{ratio.low:.4f}, {ratio.high:.4f}]")


def matrix(folder: Path, seconds: float) -> None:
    """Print what a whole session takes beyond its launches."""
    cases = [write_model(folder, "first", 72), write_model(folder, "second", 96)]
    cases += [replace(case, opt_level="basic") for case in cases]
    plan = replace(PLAN, launches=8, seconds=seconds / 32, max_wait_s=60.0)
    print("\nmatrix: 2 models x 2 settings x 8 launches\n")
    print("| device | wall s | launches s | beyond them % | of that, before the first s |")
    print("|---|---:|---:|---:|---:|")
    _matrix_row("this machine", HostDevice(), folder / "m1", (cases, plan))
    with emulated_phone(folder) as phone:
        device = AdbDevice(phone.serial)
        files = [Path(one) for one in host_command() if Path(one).is_file()]
        _matrix_row("emulated phone", device, folder / "m2", (cases, plan), files)


def _matrix_row(
    name: str,
    device: Device,
    folder: Path,
    asked: tuple[Sequence[Case], BenchPlan],
    files: Sequence[Path] = (),
) -> None:
    cases, plan = asked
    moments: list[float] = []
    began = time.perf_counter()
    results = bench(
        cases,
        plan,
        device,
        folder,
        runner=host_command(),
        files=files,
        on_progress=lambda done, total, run: moments.append(time.perf_counter()),
    )
    wall_s = time.perf_counter() - began
    runs = pd.read_parquet(results / "runs.parquet")
    assert (runs["status"] == "ok").all(), runs["status"].value_counts()
    launches_s = runs["duration_ns"].sum() / 1e9
    # files are put there, and outputs computed here, between the start and the first launch's end
    before_s = moments[1] - began - runs["duration_ns"].iloc[0] / 1e9
    beyond = 100 * (wall_s - before_s - launches_s) / launches_s
    print(f"| {name} | {wall_s:.1f} | {launches_s:.1f} | {beyond:.1f} | {before_s:.1f} |")


def faults(folder: Path, n_faults: int, seed: int = 0) -> None:
    """Print what became of sessions whose cable is pulled at random moments."""
    generator = random.Random(seed)
    case = write_model(folder, "short", 16)
    files = [Path(one) for one in host_command() if Path(one).is_file()]
    plan = replace(PLAN, launches=8, seconds=0.1, attempts=5, return_s=20.0)
    pulled, sessions, lost, again, errors = 0, 0, 0, 0, []
    with emulated_phone(folder) as phone:
        while pulled < n_faults:
            out = folder / f"faults-{sessions}"
            with pulling(phone, generator) as count:
                for _ in range(50):  # a session that stops goes on by the same call
                    try:
                        device = AdbDevice(phone.serial, return_s=20.0)
                        results = bench(
                            [case], plan, device, out, runner=host_command(), files=files
                        )
                        break
                    except DeviceError as error:
                        again += 1
                        if "lease" in str(error):
                            time.sleep(0.5)
            pulled, sessions = pulled + count[0], sessions + 1
            runs = pd.read_parquet(results / "runs.parquet")
            lost += int((runs["status"] == "device_lost").sum())
            errors += _unaccounted(runs, plan)
    print(f"\nfaults: {pulled} cables pulled in {sessions} sessions of {plan.launches} launches\n")
    print(f"- launches lost and taken again: {lost}; sessions that stopped and went on: {again}")
    print(f"- launches unaccounted for: {len(errors)} {errors or ''}")
    if errors:
        raise SystemExit(1)


def _unaccounted(runs: pd.DataFrame, plan: BenchPlan) -> list[str]:
    """Give what is wrong with the rows of a session: holes, doubles, anything but ok and lost."""
    problems = []
    for block in range(plan.launches):
        statuses = runs.loc[runs["block"] == block, "status"].tolist()
        if statuses.count("ok") != 1 or set(statuses) - {"ok", "device_lost"}:
            problems.append(f"launch {block}: {statuses}")
    return problems


@contextmanager
def pulling(phone: "EmulatedPhone", generator: random.Random) -> Iterator[list[int]]:  # noqa: F821
    """Pull and plug a phone's cable at random moments, beside the block; lend how often so far."""
    count, stop = [0], threading.Event()

    def pull() -> None:
        while not stop.wait(generator.uniform(0.2, 1.5)):
            phone.unplug()
            count[0] += 1
            time.sleep(generator.uniform(0.0, 0.3))
            phone.plug()

    thread = threading.Thread(target=pull)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join()


@contextmanager
def emulated_phone(folder: Path) -> Iterator["EmulatedPhone"]:  # noqa: F821
    """Lend a phone on an adb server of its own."""
    sys.path.insert(0, str(ROOT / "tests"))
    import os

    from phone import EmulatedPhone, start_adb_server

    folder = Path(tempfile.mkdtemp(dir=folder))
    server = start_adb_server(folder / "adb")
    before = dict(os.environ)
    os.environ.update(server.environment)
    try:
        with EmulatedPhone(folder / "phone", server) as phone:
            yield phone
    finally:
        server.stop()
        os.environ.clear()
        os.environ.update(before)


def launch_medians_ms(results: Path) -> "pd.Series[float]":
    """Give the median latency of each launch, in the order in which they were made."""
    samples = pd.read_parquet(results / "samples.parquet")
    steady = samples[samples["phase"] == "steady"]
    return steady.groupby("run_id", sort=False)["latency_ns"].median().astype(float) / 1e6


def main(argv: Sequence[str] | None = None) -> None:
    """Answer the questions that are asked, all where none is."""
    parser = argparse.ArgumentParser(description="What the measuring itself costs.")
    parser.add_argument("questions", nargs="*", choices=[*QUESTIONS, []], default=[])
    parser.add_argument("--seconds", type=float, default=32.0, help="of inferences a question")
    parser.add_argument("--faults", type=int, default=100)
    asked = parser.parse_args(argv)
    answers: dict[str, Callable[[Path], None]] = {
        "cost": lambda folder: cost(folder, asked.seconds),
        "spread": lambda folder: spread(folder, asked.seconds),
        "matrix": lambda folder: matrix(folder, asked.seconds),
        "faults": lambda folder: faults(folder, asked.faults),
    }
    with tempfile.TemporaryDirectory() as name:
        for question in asked.questions or QUESTIONS:
            answers[question](Path(name))


if __name__ == "__main__":
    main()
