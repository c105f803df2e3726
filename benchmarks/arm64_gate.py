"""Can a build be failed on counted instructions: do they repeat, cost little, and see enough?

    mofa-deploy runtime add --arm64                                  # once
    python benchmarks/arm64_gate.py [repeat] [cost] [edits] [--out build/arm64]

repeat  20 launches of five networks in 8 bits, and of one in float, in four sessions whose folders
        have paths of other lengths and whose environments differ; a spread (greatest less least,
        over the median) above 1e-4 fails.
cost    seconds and memory of counting each network at three sizes.
edits   ten edits that make the demo network heavier and ten that do not, each through
        `mofa-deploy gate --metric instructions` as it is by default. A missed one, and a false
        alarm, fail.

Instructions are no time. Seconds are of the emulation, and say nothing of any ARM core.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from arm64.nets import INT8, NETS, PLAIN, Net, make_forms
from arm64.tables import versions_line
from arm64_emulator_cost import WatchedArm
from arm64_gate_edits import EDITS, Judged, judge_edits, surroundings

from android_bench.arm64 import EmulatedArm
from android_bench.arm64_cpus import find_cpu
from android_bench.arm64_pieces import find_pieces
from android_bench.launch import Case
from android_bench.plan import BenchPlan, counting
from android_bench.session import bench
from deploy.artifact import artifact_path, read_artifact
from deploy.commands.bench_cases import config_of, level_of
from deploy.commands.bench_devices import require_measured
from deploy.errors import MofaError
from deploy.onnx_file import image_input, load_graph
from reports.frame import load

PARTS = ("repeat", "cost", "edits")
CPU = find_cpu("a76")
MOST_SPREAD = 1e-4
SESSIONS, LAUNCHES = 4, 5
GATE_PX = 64
SIZES_PX = (64, 128, 256)
FILES = {PLAIN: "plain", INT8: "int8-opt-arm-cpu"}  # form -> kind of its file
PMRID_WEIGHTS = Path(__file__).parents[2] / "shared" / "data" / "pmrid_torch_pretrained.ckp"
OTHERS = (Net("nafnet-16-9", "nafnet-16-9"), Net("nafnet-mofa", "nafnet-mofa"))
ALL = {**NETS, **{net.name: net for net in OTHERS}}
REPEATED = (
    ("nafnet-tiny", INT8),
    ("nafnet-tiny", PLAIN),
    ("nafnet-16-22", INT8),
    ("pmrid-raw", INT8),
    ("nafnet-16-9", INT8),
    ("nafnet-mofa", INT8),
)
COUNTED = ("nafnet-tiny", "nafnet-16-22", "pmrid-raw")


def main() -> int:
    """Print a table a part; give the exit code."""
    options = _parse()
    failed = False
    try:
        identity = find_pieces().counts_with(CPU)
        for part in options.parts or PARTS:
            lines, right = {"repeat": _repeat, "cost": _cost, "edits": _edits}[part](options)
            print("\n".join(lines), end="\n\n", flush=True)
            failed |= not right
    except MofaError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{CPU.name}. {versions_line(identity)}", end="")
    return int(failed)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}  [all]")
    parser.add_argument("--out", type=Path, default=Path("build/arm64"), help="of all files")
    parser.add_argument("--checkpoint", type=Path, default=PMRID_WEIGHTS, help="weights of PMRID")
    parser.add_argument(
        "--nets", default=",".join(COUNTED), help=f"of cost: some of {', '.join(ALL)}"
    )
    parser.add_argument("--sizes", default=",".join(map(str, SIZES_PX)), help="of cost, in px")
    parser.add_argument("--again", action="store_true", help="make and count all anew")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}: use {', '.join(PARTS)}")
    return options


@dataclass(frozen=True)
class Repeated:
    """What many launches of one file executed.

    Attributes:
        session, steady: instructions, one for each launch.
    """

    net: str
    form: str
    session: Sequence[int]
    steady: Sequence[int]


def spread(counts: Sequence[int]) -> float:
    """Give how far apart counts are, as a share of their median."""
    return (max(counts) - min(counts)) / statistics.median(counts)


def repeat_lines(rows: Sequence[Repeated]) -> tuple[list[str], bool]:
    """Give the table of what repeats, and whether all of it does."""
    lines = [
        "| network | form | launches | steady M | spread | session M | spread | repeats |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    right = True
    for one in rows:
        repeats = max(spread(one.steady), spread(one.session)) <= MOST_SPREAD
        right &= repeats
        cells = [one.net, one.form, str(len(one.steady))]
        for counts in (one.steady, one.session):
            cells += [f"{statistics.median(counts) / 1e6:.3f}", f"{spread(counts):.1e}"]
        lines.append(f"| {' | '.join([*cells, 'yes' if repeats else 'NO'])} |")
    return lines, right


def _repeat(options: argparse.Namespace) -> tuple[list[str], bool]:
    rows = []
    plan = replace(counting(BenchPlan()), launches=LAUNCHES)
    for name, form in REPEATED:
        file = _file(options, name, form, GATE_PX)
        session: list[int] = []
        steady: list[int] = []
        for place in range(SESSIONS):
            folder = options.out / "gate" / "repeat" / ("longer-" * 9 * place + f"{name}-{form}")
            with surroundings(folder if place else None, filler_bytes=1024 * place):
                counted = _counted(file, plan, EmulatedArm(CPU), folder, again=options.again)
            session += counted["session"]
            steady += counted["steady"]
            _say(f"{name} {form}: {len(steady)} launches, spread {spread(steady):.1e}")
        rows.append(Repeated(name, form, session, steady))
    return repeat_lines(rows)


def _cost(options: argparse.Namespace) -> tuple[list[str], bool]:
    lines = [
        "| network | form | side px | steady M | session M | processor s | wall s | peak MiB |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    plan = counting(BenchPlan())
    for name in options.nets.split(","):
        for form in FILES:
            for side_px in map(int, options.sizes.split(",")):
                file = _file(options, name, form, side_px)
                device = WatchedArm(CPU)
                counted = _counted(file, plan, device, options.out / "gate" / "cost", again=True)
                steady, session = (counted[phase][0] / 1e6 for phase in ("steady", "session"))
                used = device.used[-1]
                lines.append(
                    f"| {name} | {form} | {side_px} | {steady:.1f} | {session:.1f} "
                    f"| {used.processor_s:.1f} | {used.wall_s:.1f} | {used.peak_mib:.0f} |"
                )
                _say(lines[-1])
    return lines, True


def _edits(options: argparse.Namespace) -> tuple[list[str], bool]:
    line = _file(options, "nafnet-tiny", INT8, GATE_PX).parent
    judged = []
    for one in judge_edits(line, options.out / "gate" / "edits", EDITS, again=options.again):
        judged.append(one)
        _say(f"{one.edit.name}: {_percent(one.steady_pct)} {one.verdict}")
    return edits_lines(judged), all(one.right for one in judged)


def edits_lines(judged: Sequence[Judged]) -> list[str]:
    """Give the table of edits, and a line of how many the gate was right about."""
    lines = [
        "| edit | what | steady % | session % | output | the gate | right |",
        "|---|---|---:|---:|---|---|---|",
    ]
    for one in judged:
        output = "the same" if math.isinf(one.output_db) else f"{one.output_db:.0f} dB"
        changes = f"{_percent(one.steady_pct)} | {_percent(one.session_pct)}"
        said = f"{one.verdict} | {'yes' if one.right else 'NO'}"
        lines.append(f"| {one.edit.name} | {one.edit.what} | {changes} | {output} | {said} |")
    worse = [one for one in judged if one.edit.worse]
    harmless = [one for one in judged if not one.edit.worse]
    caught, flagged = sum(one.right for one in worse), sum(not one.right for one in harmless)
    said = f"{caught} of {len(worse)} caught, {flagged} of {len(harmless)} harmless ones flagged."
    return [*lines, "", said]


def _percent(change: float | None) -> str:
    return "–" if change is None else f"{change:+.3f}"


def _file(options: argparse.Namespace, name: str, form: str, side_px: int) -> Path:
    """Give a network's file in one form; the whole line is made where it is not there."""
    net, folder = ALL[name], options.out / f"{name}-{side_px}"
    file = artifact_path(folder, name, FILES[form])
    if options.again or not file.is_file():
        _say(f"{name} at {side_px} px: export, prepare, quantize, optimize")
        weights = options.checkpoint if name == "pmrid-raw" else None
        make_forms(net, folder, side_px, weights if weights and weights.is_file() else None)
    return file


def _counted(
    file: Path, plan: BenchPlan, device: EmulatedArm, folder: Path, *, again: bool
) -> dict[str, list[int]]:
    """Give the instructions of each launch by phase; a session that is there is not counted anew.

    Raises:
        MofaError: a launch fails, or its output is not this machine's.
    """
    artifact = read_artifact(file)
    case = Case(artifact, _noise(file, folder), level_of(artifact), config_of(artifact))
    results = bench([case], plan, device, folder, force=again)
    require_measured(results)
    counts = load(results).counts
    return {
        phase: [int(count) for count in rows["instructions"]]
        for phase, rows in counts.groupby("phase")
    }


def _noise(file: Path, folder: Path) -> Path:
    """Write seeded values in [0, 1) of a file's input; counts do not depend on them."""
    shape = image_input(load_graph(file), file).shape
    path = folder / f"input-{'x'.join(map(str, shape))}.f32"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.random.default_rng(0).random(shape, dtype=np.float32).tofile(path)
    return path


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
