"""Count the instructions that ONNX Runtime's aarch64 build executes, on this machine.

    python benchmarks/arm_instructions.py --set-up
    python benchmarks/arm_instructions.py FILE... [--cpu a76] [--shape 1,3,256,256] [--profile]
    python benchmarks/arm_instructions.py --nets all [--size-px 64] [--checkpoint FILE]

The real library of the wheel runs under user-mode emulation, with one thread; a plugin counts.
Counts repeat to 1e-5 and show a lost fusion or another kernel at once. They are no time:
they see no caches, no memory, no clock, no second thread. See benchmarks/README.md.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnxruntime
from arm64.cpus import CPUS, Cpu, find_cpu
from arm64.emulated import Counted, Job, profile
from arm64.goals import goals_markdown
from arm64.kept import count_once
from arm64.nets import Net, config_of, find_nets, make_forms
from arm64.nodes import parse_profile
from arm64.pieces import Pieces, default_cache, find_pieces
from arm64.set_up import set_up
from arm64.tables import markdown, profile_markdown, row, versions_line

from deploy.errors import MofaError, UsageError

PMRID_WEIGHTS = Path(__file__).parents[2] / "shared" / "data" / "pmrid_torch_pretrained.ckp"
Rows = list[dict[str, Any]]


def main() -> int:
    """Set up, or print one table; give the exit code."""
    options = _parse()
    try:
        if options.set_up:
            set_up(options.cache, onnxruntime.__version__, _say)
            return 0
        if not options.files and not options.nets:
            raise UsageError("nothing to count", "pass model files, or --nets all")
        cpu = find_cpu(options.cpu)
        pieces = find_pieces(options.cache, onnxruntime.__version__)
        counted = _count_files(options, cpu, pieces)
        rows = [row(one, one.model.name, counted[0]) for one in counted]
        profiles = []
        if options.profile:
            for one, values in zip(counted, rows, strict=True):
                nodes = parse_profile(profile(_job(one.model, options), cpu, pieces))
                values["nodes"] = [asdict(node) for node in nodes]
                profiles.append(profile_markdown(one, nodes))
        net_rows, complete = _count_nets(options, cpu, pieces) if options.nets else ([], True)
        rows += net_rows
    except MofaError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({"taken_with": pieces.identity, "rows": rows}, indent=1))
        return int(not complete)
    parts = [markdown(rows), goals_markdown(rows), *profiles, versions_line(pieces.identity)]
    print("\n".join(part for part in parts if part), end="")
    return int(not complete)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cpus = ", ".join(f"{cpu.name}: {cpu.what}" for cpu in CPUS.values())
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="ONNX models")
    parser.add_argument("--set-up", action="store_true", help="fetch the pieces, once")
    parser.add_argument("--cpu", default="a76", help=f"the core: {cpus}  [default: a76]")
    parser.add_argument("--shape", type=_shape, help="of inputs that are open, N,C,H,W")
    parser.add_argument("--level", default="all", help="disable, basic, extended or all")
    parser.add_argument(
        "--config",
        action="append",
        type=_entry,
        help="session config KEY=VALUE, besides the sidecar's; may be repeated",
    )
    parser.add_argument("--runs", type=int, default=2, help="the last one is reported")
    parser.add_argument("--timeout-s", type=float, default=1800, help="bound on one file")
    parser.add_argument("--profile", action="store_true", help="instructions of each node too")
    parser.add_argument("--nets", help="the promised networks in all forms: all, or names")
    parser.add_argument("--size-px", type=int, default=256, help="side of the nets' input")
    parser.add_argument("--checkpoint", type=Path, help="weights of PMRID")
    parser.add_argument("--out", type=Path, default=Path("build/arm64"), help="of the nets' files")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="of the pieces")
    parser.add_argument("--again", action="store_true", help="count what was counted before too")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    return parser.parse_args()


def _count_files(options: argparse.Namespace, cpu: Cpu, pieces: Pieces) -> list[Counted]:
    counted: list[Counted] = []
    for place, file in enumerate(options.files, 1):
        counted.append(count_once(_job(file, options), cpu, pieces, again=options.again))
        _say(f"{place}/{len(options.files)} {file} {counted[-1].took_s:.0f} s")
    return counted


def _count_nets(options: argparse.Namespace, cpu: Cpu, pieces: Pieces) -> tuple[Rows, bool]:
    """Give the rows of all nets, and whether all could be counted; a net that fails is said."""
    rows: Rows = []
    failed = False
    for net in find_nets(options.nets):
        try:
            rows += _count_net(net, options, cpu, pieces)
        except MofaError as error:
            failed = True
            _say(f"{net.name}: {error}")
    return rows, not failed


def _count_net(net: Net, options: argparse.Namespace, cpu: Cpu, pieces: Pieces) -> Rows:
    weights = None
    if net.name == "pmrid-raw":
        weights = options.checkpoint or (PMRID_WEIGHTS if PMRID_WEIGHTS.is_file() else None)
    _say(f"{net.name}: export, prepare, quantize, optimize")
    folder = options.out / f"{net.name}-{options.size_px}"
    rows: Rows = []
    first = None
    for form, file in make_forms(net, folder, options.size_px, weights).items():
        counted = count_once(_job(file, options), cpu, pieces, again=options.again)
        first = first or counted
        _say(f"{net.name} {form}: {counted.steady.instructions / 1e6:.1f} M")
        rows.append({"net": net.name, "form": form, **row(counted, file.name, first)})
    return rows


def _job(file: Path, options: argparse.Namespace) -> Job:
    if not file.is_file():
        raise UsageError(f"no file {file}", "check the path")
    if options.runs < 1:
        raise UsageError(f"--runs {options.runs}", "at least one run is counted")
    return Job(
        model=file,
        shape=options.shape,
        level=options.level,
        config={**config_of(file), **dict(options.config or ())},
        runs=options.runs,
        timeout_s=options.timeout_s,
    )


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(side) for side in text.split(","))


def _entry(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
