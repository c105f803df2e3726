"""The graph as a device's own ONNX Runtime optimizes it: saved there, run there, and fetched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from android_bench.device import Device
from android_bench.outcome import Asked, judge
from android_bench.programs import Programs
from android_bench.protocol import Launch
from deploy.errors import BenchOutputError
from deploy.files import file_sha256

SAVED_NAME = "saved.onnx"
OUTPUT_NAME = "output.f32"
TIMEOUT_S = 300.0  # a graph of some hundred nodes takes a phone seconds


@dataclass(frozen=True)
class SavedGraph:
    """What a device made of a model.

    Attributes:
        runtime_version: of the ONNX Runtime that saved it.
        output: what the saved graph computes there, in a process of its own, (values,) float32.
    """

    runtime_version: str | None
    output: np.ndarray


def save_on_device(
    device: Device,
    programs: Programs,
    model: Path,
    values: Path,
    to: Path,
    *,
    level: str,
    config: Mapping[str, str],
) -> SavedGraph:
    """Save a model's optimized graph on a device, run it there once, and fetch it.

    Args:
        values: what it is run on, raw little-endian float32.
        to: where the graph goes on this machine.
        level, config: of the session that saves it, and of the one that runs it.

    Raises:
        BenchOutputError: the device cannot save it or run it; or what arrived is something else.
        DeviceError: the device cannot be used.
    """
    files = {str(path): path for path in programs.files}
    argv = [
        str(device.push(files[word], files[word].name)) if word in files else word
        for word in programs.command
    ]
    pushed = str(device.push(model, f"model{model.suffix}"))
    fed = str(device.push(values, "input.f32"))
    asked = ["--opt-level", level]
    for key, value in sorted(config.items()):
        asked += ["--config", f"{key}={value}"]

    def run(mode: str, *words: str) -> Launch:
        expected = Asked(mode=mode, graph_opt_level=level, config=config)
        return _run(device, [*argv, *words, "--mode", mode, *asked], expected)

    seen = run("save", pushed, "--save", SAVED_NAME)
    run("check", SAVED_NAME, "--input", fed, "--output", OUTPUT_NAME)
    device.pull(SAVED_NAME, to)
    if seen.saved is None or file_sha256(to) != seen.saved.sha256:
        raise BenchOutputError(f"{SAVED_NAME} is not the file that was saved", "try again")
    with TemporaryDirectory() as folder:
        device.pull(OUTPUT_NAME, Path(folder) / OUTPUT_NAME)
        output = np.fromfile(Path(folder) / OUTPUT_NAME, "<f4")
    return SavedGraph(seen.begin.runtime_version, output)


def _run(device: Device, argv: Sequence[str], asked: Asked) -> Launch:
    outcome = judge(device.run(argv, TIMEOUT_S), asked, TIMEOUT_S)
    if outcome.status != "ok" or outcome.seen is None:
        what = "save the optimized graph" if asked.mode == "save" else "run the graph it saved"
        raise BenchOutputError(
            f"the device cannot {what} ({outcome.status}: {outcome.reason})",
            "optimize on this machine: leave --device out",
        )
    return outcome.seen
