"""What calibration costs in time and memory, against pure inference and ONNX Runtime's calibrators.

    python benchmarks/calibration.py [NETWORK...] [--crops N] [--rounds N] [--out FOLDER]
        [--markdown FILE]

Every way runs on the same crops, each time in a fresh process, one after the other in each round;
ratios are medians over rounds. Pure inference is of the plain graph, without the reading of images;
all others work on the fp32 graph and read theirs, ours on the tensors that `quantize` asks for.
ONNX Runtime's histogram calibrators keep every activation of every crop, so they get few crops, and
the last column is what 1000 would need. Memory is the process's peak over what it had when its
libraries were loaded. Threads are as many as cores; ours and those of pure inference do not spin
between runs.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from int8_speed import NETWORKS, run_command
from onnxruntime.quantization import CalibrationMethod, create_calibrator
from ort_default import Crops

from calib.crops import CropSet, choose_crops, read_crops
from calib.statistics import Statistics
from calib.stream import collect_statistics
from calib.thresholds import METHODS, ranges
from deploy.artifact import list_artifacts
from deploy.onnx_file import load_graph
from deploy.placement import calibrated_tensors
from deploy.quantize import float_model

FEW, FEWEST = 10, 3  # crops: to compare memory with many; for what keeps them all
MOST_RATIO, MOST_RANGES_S = 1.8, 2.0
MOST_GROWTH_MIB = 64  # from few crops to many: what an allocator may waste
MIB = 2**20

Numbers = dict[str, float]


def peak_mib() -> float:
    """Give the most resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def inference(model: Path, crop_set: CropSet) -> Numbers:
    """Run the model and nothing else."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    seconds = []
    for crop in read_crops(crop_set):
        began_s = time.perf_counter()
        session.run(None, {name: crop})
        seconds.append(time.perf_counter() - began_s)
    return {"ms": 1e3 * float(np.mean(seconds[1:]))}


def ours(model: Path, crop_set: CropSet) -> Numbers:
    """Collect statistics into an empty cache; then the ranges of the slowest method."""
    times_s: list[float] = []
    tensors = calibrated_tensors(float_model(load_graph(model)))
    with tempfile.TemporaryDirectory() as cache:
        statistics = collect_statistics(
            model,
            crop_set,
            Path(cache),
            tensors=tensors,
            on_crop=lambda _: times_s.append(time.perf_counter()),
        )
    crop_s = (times_s[-1] - times_s[0]) / (len(times_s) - 1)
    ranges_s = []
    for method in METHODS:
        began_s = time.perf_counter()
        ranges(statistics, method)
        ranges_s.append(time.perf_counter() - began_s)
    bound_mib = 2.5 * activation_bytes(model, statistics) / MIB + 400
    return {"ms": 1e3 * crop_s, "bound_mib": bound_mib, "ranges_s": max(ranges_s)}


def activation_bytes(model: Path, statistics: Statistics) -> int:
    """Give the bytes of the calibrated tensors of one crop."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(model)).graph
    return sum(
        4 * int(np.prod([one.dim_value for one in value.type.tensor_type.shape.dim]))
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.name in statistics.tensors
    )


def onnxruntimes(method: CalibrationMethod) -> Callable[[Path, CropSet], Numbers]:
    """Give one of ONNX Runtime's calibrators, with its defaults, as a way."""

    def collect(model: Path, crop_set: CropSet) -> Numbers:
        with tempfile.TemporaryDirectory() as folder:
            calibrator = create_calibrator(
                model,
                augmented_model_path=str(Path(folder, "augmented.onnx")),
                calibrate_method=method,
            )
            began_s = time.perf_counter()
            calibrator.collect_data(Crops(model, read_crops(crop_set)))
            calibrator.compute_data()
            return {"ms": 1e3 * (time.perf_counter() - began_s) / len(crop_set.crops)}

    return collect


# name -> (graph, how, crops: None is as many as asked for, whether memory grows with crops)
WAYS: dict[str, tuple[str, Callable[[Path, CropSet], Numbers], int | None, bool]] = {
    "inference, plain": ("plain", inference, None, False),
    "inference, fp32": ("fp32", inference, None, False),
    "mofa-deploy": ("fp32", ours, None, False),
    "mofa-deploy, few crops": ("fp32", ours, FEW, False),
    "onnxruntime MinMax": ("fp32", onnxruntimes(CalibrationMethod.MinMax), None, False),
    "onnxruntime Percentile": ("fp32", onnxruntimes(CalibrationMethod.Percentile), FEWEST, True),
    "onnxruntime Entropy": ("fp32", onnxruntimes(CalibrationMethod.Entropy), FEWEST, True),
}


def measure_here(way: str, folder: Path, crops: int) -> Numbers:
    """Measure one way in this process."""
    graph, run, fixed, _ = WAYS[way]
    (artifact,) = list_artifacts(folder, (graph,))
    images = folder / "demo-data" / "training" / "input"
    crop_set = choose_crops(images, count=fixed or crops, side=256)
    start_mib = peak_mib()
    numbers = run(artifact.path, crop_set)
    return {**numbers, "crops": fixed or crops, "peak_mib": peak_mib() - start_mib}


def measure(way: str, folder: Path, crops: int) -> Numbers:
    """Measure one way in a fresh process."""
    arguments = ["--way", way, "--out", str(folder), "--crops", str(crops)]
    done = subprocess.run(
        [sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def compare(name: str, folder: Path, crops: int, rounds: int) -> tuple[pd.DataFrame, list[str]]:
    """Give one row a way, and what misses its target."""
    if not list_artifacts(folder, ("fp32",)):
        run_command("export", *NETWORKS[name].export, "--out", str(folder))
        run_command("prepare", "--out", str(folder))
    found: dict[str, list[Numbers]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way, numbers in found.items():
            numbers.append(measure(way, folder, crops))
            print(f"{name}, round {number + 1}: {way} {numbers[-1]}", file=sys.stderr, flush=True)
    plain_ms = np.array([one["ms"] for one in found["inference, plain"]])
    rows, ratios = [], {}
    for way, numbers in found.items():
        ms = np.array([one["ms"] for one in numbers])
        ratios[way] = float(np.median(ms / plain_ms))
        peak = max(one["peak_mib"] for one in numbers)
        grows = WAYS[way][-1]
        rows.append(
            {
                "network": name,
                "way": way,
                "crops": int(numbers[0]["crops"]),
                "ms/crop": f"{np.median(ms):.1f}",
                "x plain inference": f"{ratios[way]:.2f}",
                "peak MiB": f"{peak:.0f}",
                "GiB for 1000": f"{peak / 1024 * (1000 / FEWEST if grows else 1):.1f}",
            }
        )
    return pd.DataFrame(rows), missed(name, found["mofa-deploy"], found, ratios["mofa-deploy"])


def missed(
    name: str, many: list[Numbers], found: dict[str, list[Numbers]], ratio: float
) -> list[str]:
    """Give a line for each target that is not reached."""
    few_mib = max(one["peak_mib"] for one in found["mofa-deploy, few crops"])
    many_mib = max(one["peak_mib"] for one in many)
    ranges_s = min(one["ranges_s"] for one in many)
    checks = {
        f"{ratio:.2f}x pure inference, wanted {MOST_RATIO}": ratio > MOST_RATIO,
        f"{many_mib:.0f} MiB, wanted {many[0]['bound_mib']:.0f}": many_mib > many[0]["bound_mib"],
        f"{few_mib:.0f} MiB for few crops, {many_mib:.0f} for many": (
            many_mib > few_mib + MOST_GROWTH_MIB
        ),
        f"{ranges_s:.1f} s for the slowest method, wanted {MOST_RANGES_S}": (
            ranges_s > MOST_RANGES_S
        ),
    }
    return [f"{name}: {text}" for text, failed in checks.items() if failed]


def markdown(table: pd.DataFrame) -> str:
    """Give a table as markdown, and below it the versions."""
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy().tolist()]
    text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    return f"{text}\n\nonnxruntime {metadata.version('onnxruntime')}, numpy {np.__version__}."


def main() -> int:
    """Print the table; fail where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NETWORK", default=["nafnet-tiny"])
    parser.add_argument("--crops", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/calibration"))
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(measure_here(options.way, options.out, options.crops)))
        return 0
    tables, problems = [], []
    for name in options.names:
        table, missing = compare(name, options.out.resolve() / name, options.crops, options.rounds)
        tables.append(table)
        problems += missing
    text = markdown(pd.concat(tables))
    print(text)
    if options.markdown:
        options.markdown.write_text(text + "\n")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
