"""How much faster int8 and exact rewrites are, against plain fp32 and ONNX Runtime's default.

    python benchmarks/int8_speed.py [NETWORK...] [--launches N] [--out FOLDER] [--markdown FILE]

Each graph runs in fresh processes, one session each, interleaved in ABBA order, with 1 and with 2
threads; a ratio is the geometric mean over blocks with its 95 % interval. Worker threads do not
spin between runs. A shared machine has a slow state in which plain fp32 gains little from a second
thread: where plain with 1 thread takes less than 1.4 times as long as with 2, the run says so and
is not to be quoted. Times are of this x86 machine and say nothing of a phone.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pandas as pd
from ort_default import quantize_default

from android_bench.devices import find_device
from android_bench.launch import Case
from android_bench.plan import BenchPlan
from android_bench.session import bench
from calib.crops import choose_crops, read_crops
from deploy.artifact import list_artifacts, read_artifact
from deploy.placement import find_target
from reports.compare import launch_table
from reports.frame import load
from reports.stats import paired_ratio

NORMAL_THREAD_GAIN = 1.4  # of plain fp32, 2 threads over 1; less is the machine's slow state
COMMAND = "import sys; from deploy.cli import run_app; sys.exit(run_app(sys.argv[1:]))"
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Network:
    """One network of the comparison.

    Attributes:
        export: what `mofa-deploy export` is told.
        over_plain: least speed-up of int8 over plain fp32 that is wanted, with 2 threads.
        over_default: the same over ONNX Runtime's default.
    """

    export: tuple[str, ...]
    over_plain: float
    over_default: float


NETWORKS = {
    "nafnet-tiny": Network(("--model", "nafnet-tiny"), 2.6, 3.2),
    "nafnet-16-22": Network(("--model", "benchmarks.networks:nafnet_16_22"), 2.6, 3.2),
    "nafnet-32-36": Network(("--model", "nafnet-32-36"), 3.5, 3.0),
    "pmrid": Network(("--model", "pmrid"), 1.3, 3.3),
}
WITHOUT_LAYERNORM = "int8 without LayerNorm"  # another function: how far LayerNorm holds int8 back
OVER_PLAIN_WITHOUT_LAYERNORM = 4.0


def build(name: str, out: Path, crops: int, options: list[str]) -> dict[str, Path]:
    """Make every form of a network through the command line; form -> file."""
    folder = out / name
    plain, fp32, int8 = _line(NETWORKS[name].export, folder, crops, options)
    default = folder / "ort-default.onnx"
    if not default.exists():
        images = _crops(folder, 10)
        quantize_default(plain, images, default)
    forms = {"plain": plain, "fp32": fp32, "ort-default": default, "int8": int8}
    if name == "nafnet-tiny":
        other = (*NETWORKS[name].export, "--no-layernorm")
        forms[WITHOUT_LAYERNORM] = _line(other, out / f"{name}-no-layernorm", crops, options)[-1]
    return forms


def _line(export: Sequence[str], folder: Path, crops: int, options: list[str]) -> list[Path]:
    """Export, quantize and optimize for x86; give the plain, the fp32 and the optimized file."""
    run_command("export", *export, "--out", str(folder))
    run_command(
        "quantize", "--target", "x86", "--crops", str(crops), "--out", str(folder), *options
    )
    run_command("optimize", "--target", "x86", "--out", str(folder))
    return [list_artifacts(folder, (kind,))[0].path for kind in ("plain", "fp32", "int8-opt-x86")]


def run_command(*arguments: str) -> None:
    """Run a mofa-deploy command; its errors end this program."""
    print("mofa-deploy", *arguments, file=sys.stderr, flush=True)
    subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments, "--json"],
        check=True,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )


def _crops(folder: Path, count: int) -> list[np.ndarray]:
    images = folder / "demo-data" / "training" / "input"
    return list(read_crops(choose_crops(images, count=count, side=256)))


def measure(
    forms: dict[str, Path],
    folder: Path,
    launches: int,
    threads: int,
    image: np.ndarray | None = None,
) -> pd.DataFrame:
    """Give ms of each launch: rows are blocks, columns are forms.

    Args:
        image: what each form is given, as the network takes it; None is a crop of the folder's.
    """
    crop = folder / "input.f32"
    image = _crops(folder, 1)[0] if image is None else image
    crop.write_bytes(image.astype("<f4").tobytes())
    cases = {form: _case(path, crop) for form, path in forms.items()}
    plan = BenchPlan(launches=launches, threads=threads)
    session = bench(list(cases.values()), plan, find_device("host"), folder / "bench")
    table = launch_table(load(session))
    form_of = {case.artifact.sha256: form for form, case in cases.items()}
    table = table.assign(form=table["model_sha256"].map(form_of))
    return table.groupby(["block", "form"])["latency_ms"].median().unstack()[list(forms)]


def _case(path: Path, crop: Path) -> Case:
    artifact = read_artifact(path)
    config = dict(find_target("x86").config) if artifact.target else {}
    return Case(artifact, crop, "all", config)


def compare(name: str, times_ms: dict[int, pd.DataFrame]) -> list[dict[str, str]]:
    """Give one row a form: medians and speed-ups with intervals, for each number of threads."""
    rows = []
    for form in times_ms[2].columns:
        row = {"network": name, "form": form}
        for threads, blocks in times_ms.items():
            row[f"ms, {threads} thr"] = f"{blocks[form].median():.1f}"
            for baseline in ("plain", "ort-default"):
                ratio = paired_ratio(blocks[baseline], blocks[form])
                shown = f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
                row[f"x {baseline}, {threads} thr"] = "1" if form == baseline else shown
        rows.append(row)
    return rows


def main() -> int:
    """Print the table; fail where a target is missed or the machine was in its slow state."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NETWORK", default=list(NETWORKS))
    parser.add_argument("--launches", type=int, default=6)
    parser.add_argument("--crops", type=int, default=100)
    parser.add_argument("--options", default="", help="more options of `quantize`, one string")
    parser.add_argument("--out", type=Path, default=Path("build/int8-speed"))
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()

    out = options.out.resolve()
    rows: list[dict[str, str]] = []
    problems: list[str] = []
    for name in options.names:
        forms = build(name, out, options.crops, options.options.split())
        times_ms = {
            threads: measure(forms, out / name, options.launches, threads) for threads in (2, 1)
        }
        problems += slow_state(name, times_ms)
        problems += _missed(name, times_ms[2])
        rows += compare(name, times_ms)
        print(pd.DataFrame(rows[-len(forms) :]).to_string(index=False), file=sys.stderr, flush=True)
    table = markdown(pd.DataFrame(rows))
    print(table)
    if options.markdown:
        options.markdown.write_text(table + "\n")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def slow_state(name: str, times_ms: dict[int, pd.DataFrame]) -> list[str]:
    """Say that the machine was in its slow state, where it was."""
    gain = times_ms[1]["plain"].median() / times_ms[2]["plain"].median()
    if gain >= NORMAL_THREAD_GAIN:
        return []
    return [f"{name}: plain gains {gain:.2f}x from a second thread: slow state"]


def _missed(name: str, blocks: pd.DataFrame) -> list[str]:
    wanted = {"plain": NETWORKS[name].over_plain, "ort-default": NETWORKS[name].over_default}
    checks = [("int8", one, least) for one, least in wanted.items()]
    if WITHOUT_LAYERNORM in blocks:
        checks.append((WITHOUT_LAYERNORM, "plain", OVER_PLAIN_WITHOUT_LAYERNORM))
    found = [(*one, paired_ratio(blocks[one[1]], blocks[one[0]]).value) for one in checks]
    return [
        f"{name}: {form} is {ratio:.2f}x {baseline}, wanted {least}x"
        for form, baseline, least, ratio in found
        if ratio < least
    ]


def markdown(table: pd.DataFrame) -> str:
    """Give a table as markdown, and below it where it was measured."""
    lines = [table.columns, ["---"] * len(table.columns), *table.to_numpy().tolist()]
    text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    versions = ", ".join(f"{one} {metadata.version(one)}" for one in ("onnx", "onnxruntime"))
    device = find_device("host").info()
    return f"{text}\n\n{device.cpu}, {device.cpu_cores} cores; {versions}. Not a phone."


if __name__ == "__main__":
    sys.exit(main())
