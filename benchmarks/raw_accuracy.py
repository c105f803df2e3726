"""What 8 bits cost the real PMRID network on synthetic raw, ISO by ISO, in dB; and what they gain.

    python benchmarks/raw_accuracy.py CHECKPOINT [--crops N] [--launches N] [--options TEXT] \
        [--out FOLDER] [--markdown FILE]

CHECKPOINT is the published `torch_pretrained.ckp` of MegEngine/PMRID (Apache-2.0). Mosaics are made
from bundled photographs with that sensor's noise. Crops to calibrate on, images to choose the
recipe on and held-out images that are reported are three different sets. ONNX Runtime's default is
calibrated on the same crops. With `--launches` the very files that lost so much are timed as
`int8_speed.py` does it, and the targets are those of both:

    python benchmarks/raw_accuracy.py CHECKPOINT --options "--max-psnr-drop 0.2" --launches 6
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from int8_speed import NETWORKS, compare, markdown, measure, run_command, slow_state
from ort_default import quantize_default
from skimage.metrics import peak_signal_noise_ratio

from calib.crops import CropSet, read_crops
from deploy.artifact import list_artifacts, read_artifact
from deploy.commands.images import calibration_crops, probe_for_artifact
from deploy.fidelity import Probe, psnr_between_db
from deploy.inference import Run, open_run
from deploy.placement import find_target
from reports.stats import paired_ratio

TARGET = "x86"
MOST_MEAN_DROP_DB, MOST_DROP_DB = 0.2, 0.6  # of int8 against fp32, over ISOs and at the worst


def build(
    checkpoint: Path, out: Path, crops: int, options: list[str]
) -> tuple[dict[str, Path], CropSet]:
    """Make every form of the network through the command line; form -> file, and the crops."""
    given = "--checkpoint", str(checkpoint.resolve())
    run_command("export", "--model", "pmrid-raw", *given, "--out", str(out))
    run_command("quantize", "--target", TARGET, "--crops", str(crops), "--out", str(out), *options)
    run_command("optimize", "--target", TARGET, "--out", str(out))
    (plain,) = list_artifacts(out, ("plain",))
    (int8,) = list_artifacts(out, (f"int8-{TARGET}",))
    (optimized,) = list_artifacts(out, (f"int8-opt-{TARGET}",))
    print(f"recipe: {int8.params.get('recipe')}", file=sys.stderr)
    chosen = calibration_crops(out, None, plain, count=crops, size=(256, 256), seed=0)
    default = quantize_default(plain.path, read_crops(chosen), out / "ort-default.onnx")
    return {"plain": plain.path, "ort-default": default, "mofa-deploy": optimized.path}, chosen


def restored(probe: Probe, run: Run) -> dict[str, np.ndarray]:
    """Give each held-out image as a graph restores it, by name."""
    return {pair.name: probe.restored(run, pair) for pair in probe.pairs}


def psnr_by_iso(probe: Probe, images: dict[str, np.ndarray]) -> pd.Series:
    """Give mean PSNR in dB over the images of each ISO."""
    planes = probe.pipeline.planes
    rows = [
        (
            _iso(pair.name),
            peak_signal_noise_ratio(planes(pair.sharp), planes(images[pair.name]), data_range=1),
        )
        for pair in probe.pairs
    ]
    return pd.DataFrame(rows, columns=["iso", "db"]).groupby("iso")["db"].mean()


def _iso(name: str) -> int:
    found = re.search(r"iso(\d+)", name)
    if found is None:
        raise SystemExit(f"{name} says no ISO")
    return int(found[1])


def accuracy(graphs: dict[str, Run], probe: Probe) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give a row of text a graph, and what each loses against `fp32` in dB: rows are ISOs."""
    images = {name: restored(probe, run) for name, run in graphs.items()}
    psnr_db = pd.DataFrame({name: psnr_by_iso(probe, one) for name, one in images.items()})
    drops_db = psnr_db.drop(columns="fp32").rsub(psnr_db["fp32"], axis=0)
    rows = []
    for name in graphs:
        row = {"graph": name}
        row |= {f"ISO {iso}": f"{value:.2f}" for iso, value in psnr_db[name].items()}
        if name in drops_db:
            row["mean drop dB"] = f"{drops_db[name].mean():.3f}"
            row["worst drop dB"] = f"{drops_db[name].max():.3f}"
            both = [(images["fp32"][one], images[name][one]) for one in images["fp32"]]
            reference, other = zip(*both, strict=True)
            row["vs fp32 dB"] = f"{psnr_between_db(reference, other):.1f}"
        rows.append(row)
    return pd.DataFrame(rows).fillna(""), drops_db


def missed_speed(times_ms: dict[int, pd.DataFrame]) -> list[str]:
    """Say which speed-up is missed with 2 threads, or that the machine was in its slow state."""
    goal = NETWORKS["pmrid"]
    wanted = {"plain": goal.over_plain, "ort-default": goal.over_default}
    found = {
        form: paired_ratio(times_ms[2][form], times_ms[2]["mofa-deploy"]).value for form in wanted
    }
    missed = [
        f"mofa-deploy is {ratio:.2f}x {form}, wanted {wanted[form]}x"
        for form, ratio in found.items()
        if ratio < wanted[form]
    ]
    return slow_state("pmrid-raw", times_ms) + missed


def main() -> int:
    """Print the tables; fail where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--crops", type=int, default=100)
    parser.add_argument("--launches", type=int, default=0, help="to time the files, too")
    parser.add_argument("--options", default="", help="more options of `quantize`, one string")
    parser.add_argument("--out", type=Path, default=Path("build/raw-accuracy"))
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()

    out = options.out.resolve()
    forms, chosen = build(options.checkpoint, out, options.crops, options.options.split())
    graphs = {
        "fp32": open_run(forms["plain"]),
        "ort-default": open_run(forms["ort-default"]),
        "mofa-deploy": open_run(forms["mofa-deploy"], config=find_target(TARGET).config),
    }
    probe = probe_for_artifact(out, read_artifact(forms["plain"]), None)
    rows, drops_db = accuracy(graphs, probe)
    tables = [markdown(rows)]
    problems = []
    ours = drops_db["mofa-deploy"]
    if ours.mean() > MOST_MEAN_DROP_DB or ours.max() > MOST_DROP_DB:
        problems.append(f"{ours.mean():.3f} dB are lost on average, {ours.max():.3f} at the worst")
    if options.launches:
        image = next(iter(read_crops(chosen)))
        times_ms = {
            threads: measure(forms, out, options.launches, threads, image) for threads in (2, 1)
        }
        tables.append(markdown(pd.DataFrame(compare("pmrid-raw", times_ms))))
        problems += missed_speed(times_ms)
    print(*tables, sep="\n\n")
    if options.markdown:
        options.markdown.write_text("\n\n".join(tables) + "\n")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
