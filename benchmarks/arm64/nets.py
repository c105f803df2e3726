"""The networks that this project promises instruction counts of, each in the forms it compares.

Ours are made by the command line, as a user makes them; the baseline is what
`onnxruntime.quantization.quantize_static` makes of the exported file with its own defaults.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ort_default import quantize_default

from deploy.errors import GraphError, UsageError
from deploy.files import unfinished

BENCHMARKS = Path(__file__).parent.parent
_COMMAND = "import sys; from deploy.cli import run_app; sys.exit(run_app(sys.argv[1:]))"

PLAIN, FP32, DEFAULT, INT8 = "plain", "fp32", "ort-default", "int8-arm-cpu"
FORMS = {
    PLAIN: "as torch exports it",
    FP32: "exact rewrites, still float",
    DEFAULT: "quantize_static with its defaults, signed 8-bit",
    INT8: "quantized and optimized by this project",
}
CALIBRATION_CROPS = 8
DEFAULT_CROPS = 2


@dataclass(frozen=True)
class Net:
    """A network to count.

    Attributes:
        model: as `mofa-deploy export --model` takes it.
        channels: of its input.
        peak: of its input's values.
        over_plain, over_default: how many times fewer instructions int8 is to have than the plain
            float graph and than ONNX Runtime's default quantization, at 256x256 on a core with dot
            products; None where nothing is promised.
    """

    name: str
    model: str
    channels: int = 3
    peak: float = 1.0
    over_plain: float | None = None
    over_default: float | None = None


NETS = {
    net.name: net
    for net in (
        Net("nafnet-tiny", "nafnet-tiny", over_plain=1.6, over_default=1.7),
        Net("nafnet-16-22", "arm64.networks:nafnet_16_22", over_plain=1.85, over_default=1.55),
        Net("nafnet-32-36", "arm64.networks:nafnet_32_36", over_plain=2.4, over_default=1.25),
        Net("pmrid-raw", "pmrid-raw", channels=4, peak=256.0, over_plain=2.45),
    )
}


def find_nets(names: str) -> list[Net]:
    """Give nets by their names, separated by commas, or `all`.

    Raises:
        UsageError: no such net; all are listed.
    """
    wanted = list(NETS) if names == "all" else names.split(",")
    for name in wanted:
        if name not in NETS:
            raise UsageError(f"unknown net {name!r}", f"use all, or some of {', '.join(NETS)}")
    return [NETS[name] for name in wanted]


def make_forms(net: Net, folder: Path, size_px: int, checkpoint: Path | None) -> dict[str, Path]:
    """Give one file a form, made anew by today's code; only the export is kept if it is there.

    Args:
        checkpoint: of PMRID; None takes what the network has, or seeded weights.

    Raises:
        GraphError: a stage fails; its own line is given.
    """
    shape = (1, net.channels, size_px, size_px)
    weights = ["--checkpoint", str(checkpoint)] if checkpoint else []
    shaped = ["--shape", ",".join(map(str, shape))]
    plain = _stage(folder, "export", "--model", net.model, *shaped, *weights)[-1]
    # no search: how ranges are chosen does not change which kernels run
    few = ["--method", "minmax", "--crops", str(CALIBRATION_CROPS), "--min-psnr-vs-fp32", "0"]
    fp32 = _stage(folder, "prepare", str(plain), "--force")[-1]
    quantized = _stage(folder, "quantize", str(fp32), "--target", "arm-cpu", "--force", *few)[-1]
    optimized = _stage(folder, "optimize", str(quantized), "--target", "arm-cpu", "--force")
    (int8,) = (path for path in optimized if path.suffix == ".onnx")
    default = folder / f"{net.name}.{DEFAULT}.onnx"
    draw = np.random.default_rng(0)  # ranges do not change which kernels run
    crops = [draw.random(shape, dtype=np.float32) * np.float32(net.peak)] * DEFAULT_CROPS
    with unfinished(default) as temporary:
        quantize_default(plain, crops, temporary)
    return {PLAIN: plain, FP32: fp32, DEFAULT: default, INT8: int8}


def _stage(folder: Path, *arguments: str) -> list[Path]:
    """Run one command of mofa-deploy; give the files of its artifacts."""
    here = os.pathsep.join([str(BENCHMARKS), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, *arguments, "--out", str(folder), "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": here, "ORT_DISABLE_TELEMETRY": "1"},
        check=False,
    )
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr, end="")
        raise GraphError(f"mofa-deploy {arguments[0]} fails", "see its own message above")
    return [Path(record["path"]) for record in json.loads(done.stdout)]
