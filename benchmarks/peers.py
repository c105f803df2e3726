"""mofa-deploy beside other quantizers, on the same network, crops, photographs and machine.

    python benchmarks/peers.py [--crops N] [--launches N] [--out FOLDER] [--markdown FILE]

Peers are installed from PyPI, each into an environment of its own under --out, with the versions in
`benchmarks/peers/*.txt`, and called with their defaults for a static 8-bit model. Seconds and peak
memory are of the whole process that calibrates and quantizes; ours includes exact rewrites, the
search and the checks on held-out photographs, which the others do not make. Latency is of fresh
processes in ABBA order; PSNR is of the held-out demo photographs, whole.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
from int8_speed import COMMAND, ROOT, markdown, measure, run_command

from calib.crops import choose_crops, read_crops
from deploy.artifact import list_artifacts, read_artifact
from deploy.commands.images import probe_for_artifact
from deploy.fidelity import Probe, psnr_between_db
from deploy.inference import Run, open_run
from deploy.placement import find_target
from reports.stats import paired_ratio

PEERS = ("nncf", "neural_compressor", "olive")
PROGRAMS = Path(__file__).with_name("peers")
PRESETS = ("fast", "accurate")


@dataclass(frozen=True)
class Made:
    """A quantized file, and what it cost to make."""

    path: Path
    seconds: float
    peak_mib: float


def peer_python(peer: str, envs: Path) -> Path:
    """Give the interpreter of a peer's environment; installed on first use."""
    folder = envs / peer
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        print(f"installing {peer}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        requirements = PROGRAMS / f"{peer}.txt"
        pip = [str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)]
        subprocess.run(pip, check=True)
        (folder / "installed").touch()
    return python


def timed(arguments: Sequence[str], written: Path) -> Made:
    """Run a program that writes a file; give its seconds and its peak resident memory."""
    began = time.monotonic()
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    onnx.save(onnx.load(written), written)  # one file, where a peer keeps weights beside it
    return Made(written, time.monotonic() - began, usage.ru_maxrss / 1024)


def make_all(out: Path, crops: Path, count: int, envs: Path) -> dict[str, Made]:
    """Quantize the demo network with everyone; name -> what was made."""
    (plain,) = list_artifacts(out, ("plain",))
    made = {}
    program = [sys.executable, str(PROGRAMS / "run_onnxruntime.py")]
    for name, start in [
        ("onnxruntime default", program),
        *(
            (peer, [str(peer_python(peer, envs)), str(PROGRAMS / f"run_{peer}.py")])
            for peer in PEERS
        ),
    ]:
        written = out / f"{name.replace(' ', '-')}.onnx"
        made[name] = timed([*start, str(plain.path), str(crops), str(written)], written)
    for preset in PRESETS:
        made[f"mofa-deploy {preset}"] = _ours(plain.path, out / preset, preset, count)
    return made


def _ours(plain: Path, folder: Path, preset: str, count: int) -> Made:
    arguments = ["quantize", str(plain), "--target", "x86", "--crops", str(count)]
    arguments += ["--preset", preset, "--out", str(folder), "--force"]
    written = folder / "nafnet-tiny.int8-x86.onnx"
    made = timed([sys.executable, "-c", COMMAND, *arguments], written)
    run_command("optimize", "--target", "x86", "--out", str(folder))
    (artifact,) = list_artifacts(folder, ("int8-opt-x86",))
    return Made(artifact.path, made.seconds, made.peak_mib)


def qualities(plain: Path, files: dict[str, Path], out: Path) -> dict[str, dict[str, float]]:
    """Give PSNR, SSIM and PSNR against plain of each file on the held-out photographs."""
    probe = probe_for_artifact(out, read_artifact(plain), None)
    reference = [probe.restored(open_run(plain), pair) for pair in probe.pairs]
    found = {}
    for name, path in files.items():
        run = open_run(path, config=_config(name))
        restored = [probe.restored(run, pair) for pair in probe.pairs]
        quality = _quality(probe, run)
        found[name] = {**quality, "psnr_vs_fp32_db": psnr_between_db(reference, restored)}
    return found


def _quality(probe: Probe, run: Run) -> dict[str, float]:
    return {name: value for name, value in probe.quality(run).items() if "degraded" not in name}


def _config(name: str) -> dict[str, str]:
    return dict(find_target("x86").config) if name.startswith("mofa") else {}


def table_of(
    made: dict[str, Made], times_ms: pd.DataFrame, quality: dict[str, dict[str, float]]
) -> pd.DataFrame:
    """Give one row a quantizer."""
    rows = []
    plain_db = quality["plain"]["psnr_db"]
    for name in times_ms.columns:
        ratio = paired_ratio(times_ms["plain"], times_ms[name])
        cost = made.get(name)
        is_plain = name == "plain"
        rows.append(
            {
                "graph": name,
                "latency ms": f"{times_ms[name].median():.1f}",
                "speed-up": "1"
                if is_plain
                else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
                "PSNR dB": f"{quality[name]['psnr_db']:.2f}",
                "drop dB": "" if is_plain else f"{plain_db - quality[name]['psnr_db']:.3f}",
                "vs fp32 dB": "" if is_plain else f"{quality[name]['psnr_vs_fp32_db']:.1f}",
                "SSIM": f"{quality[name]['ssim']:.4f}",
                "quantize s": "" if cost is None else f"{cost.seconds:.0f}",
                "peak MiB": "" if cost is None else f"{cost.peak_mib:.0f}",
            }
        )
    return pd.DataFrame(rows)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crops", type=int, default=100)
    parser.add_argument("--launches", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/peers"))
    parser.add_argument("--envs", type=Path, help="folder of the peers' environments")
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()

    out = options.out.resolve()
    envs = (options.envs or out / "envs").resolve()
    run_command("export", "--model", "nafnet-tiny", "--out", str(out))
    images = out / "demo-data" / "training" / "input"
    chosen = choose_crops(images, count=options.crops, side=256)
    crops = out / "crops.npy"
    np.save(crops, np.concatenate(list(read_crops(chosen))))
    made = make_all(out, crops, options.crops, envs)
    (plain,) = list_artifacts(out, ("plain",))
    files = {"plain": plain.path, **{name: one.path for name, one in made.items()}}
    quality = qualities(plain.path, files, out)
    times_ms = measure(files, out, options.launches, options.threads)
    table = markdown(table_of(made, times_ms, quality))
    print(table)
    if options.markdown:
        options.markdown.write_text(table + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
