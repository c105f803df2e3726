"""What 8 bits cost the real PMRID network on synthetic raw, ISO by ISO, in dB.

    python benchmarks/raw_accuracy.py CHECKPOINT [--crops N] [--out FOLDER] [--markdown FILE]

CHECKPOINT is the published `torch_pretrained.ckp` of MegEngine/PMRID (Apache-2.0). Mosaics are made
from bundled photographs with that sensor's noise. Crops to calibrate on, images to choose the
recipe on and held-out images that are reported are three different sets. ONNX Runtime's default is
calibrated on the same crops.
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from int8_speed import markdown, run_command
from ort_default import quantize_default
from skimage.metrics import peak_signal_noise_ratio

from calib.crops import read_crops
from deploy.artifact import list_artifacts, read_artifact
from deploy.commands.images import calibration_crops, probe_for_artifact
from deploy.fidelity import Probe, psnr_between_db
from deploy.inference import Run, open_run
from deploy.placement import find_target

TARGET = "x86"
MOST_MEAN_DROP_DB, MOST_DROP_DB = 0.2, 0.6  # of int8 against fp32, over ISOs and at the worst


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


def main() -> int:
    """Print the table; fail where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--crops", type=int, default=100)
    parser.add_argument("--options", default="", help="more options of `quantize`, one string")
    parser.add_argument("--out", type=Path, default=Path("build/raw-accuracy"))
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()

    out = options.out.resolve()
    checkpoint = str(options.checkpoint.resolve())
    run_command("export", "--model", "pmrid-raw", "--checkpoint", checkpoint, "--out", str(out))
    more = options.options.split()
    run_command(
        "quantize", "--target", TARGET, "--crops", str(options.crops), "--out", str(out), *more
    )
    (plain,) = list_artifacts(out, ("plain",))
    (int8,) = list_artifacts(out, (f"int8-{TARGET}",))
    chosen = calibration_crops(out, None, plain, count=options.crops, size=(256, 256), seed=0)
    default = quantize_default(plain.path, read_crops(chosen), out / "ort-default.onnx")
    probe = probe_for_artifact(out, read_artifact(plain.path), None)
    graphs = {
        "fp32": open_run(plain.path),
        "ort-default": open_run(default),
        "mofa-deploy": open_run(int8.path, config=find_target(TARGET).config),
    }
    images = {name: restored(probe, run) for name, run in graphs.items()}
    psnr_db = pd.DataFrame({name: psnr_by_iso(probe, one) for name, one in images.items()})
    drops = psnr_db[["ort-default", "mofa-deploy"]].rsub(psnr_db["fp32"], axis=0)
    rows = []
    for name in graphs:
        row = {"graph": name}
        row |= {f"ISO {iso}": f"{value:.2f}" for iso, value in psnr_db[name].items()}
        if name in drops:
            row["mean drop dB"] = f"{drops[name].mean():.3f}"
            row["worst drop dB"] = f"{drops[name].max():.3f}"
            pairs = list(images["fp32"]), images[name]
            other = [pairs[1][one] for one in pairs[0]]
            reference = [images["fp32"][one] for one in pairs[0]]
            row["vs fp32 dB"] = f"{psnr_between_db(reference, other):.1f}"
        rows.append(row)
    table = markdown(pd.DataFrame(rows).fillna(""))
    print(f"recipe: {int8.params.get('recipe')}", file=sys.stderr)
    print(table)
    if options.markdown:
        options.markdown.write_text(table + "\n")
    ours = drops["mofa-deploy"]
    return 1 if ours.mean() > MOST_MEAN_DROP_DB or ours.max() > MOST_DROP_DB else 0


if __name__ == "__main__":
    sys.exit(main())
