"""Count the instructions that ONNX Runtime's aarch64 build executes, on this machine.

    mofa-deploy runtime add --arm64                       # once
    python benchmarks/arm_instructions.py FILE... [--cpu a76] [--level all] [--profile]
    python benchmarks/arm_instructions.py --nets all [--size-px 64] [--checkpoint FILE]

What `mofa-deploy bench --device arm64` counts, for any file at any level, and for the networks that
this project promises counts of. They are no time: see benchmarks/README.md.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from arm64.counted import Counted, How, count
from arm64.goals import goals_markdown
from arm64.nets import Net, find_nets, make_forms
from arm64.tables import markdown, profile_markdown, row, versions_line

from android_bench.arm64_cpus import CPUS, DEFAULT_CPU, Cpu, find_cpu
from android_bench.arm64_pieces import find_pieces
from android_bench.plan import COUNTING_TIMEOUT_S
from deploy.errors import MofaError, UsageError

PMRID_WEIGHTS = Path(__file__).parents[2] / "shared" / "data" / "pmrid_torch_pretrained.ckp"
Rows = list[dict[str, Any]]


def main() -> int:
    """Print one table; give the exit code."""
    options = _parse()
    try:
        if not options.files and not options.nets:
            raise UsageError("nothing to count", "pass model files, or --nets all")
        cpu = find_cpu(options.cpu)
        identity = find_pieces().counts_with(cpu)
        counted = _count_files(options, cpu)
        rows = [row(one, one.model.name, counted[0]) for one in counted]
        profiles = []
        if options.profile:
            for one, values in zip(counted, rows, strict=True):
                values["nodes"] = _nodes(one)
                profiles.append(profile_markdown(one))
        net_rows, complete = _count_nets(options, cpu) if options.nets else ([], True)
        rows += net_rows
    except MofaError as error:
        print(error, file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({"taken_with": identity, "rows": rows}, indent=1))
        return int(not complete)
    parts = [markdown(rows), goals_markdown(rows), *profiles, versions_line(identity)]
    print("\n".join(part for part in parts if part), end="")
    return int(not complete)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cpus = ", ".join(f"{cpu.name}: {cpu.what}" for cpu in CPUS.values())
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="ONNX models")
    parser.add_argument("--cpu", default=DEFAULT_CPU, help=f"the core: {cpus}  [default: a76]")
    parser.add_argument("--level", help="disable, basic, extended or all  [default: the file's]")
    parser.add_argument(
        "--config",
        action="append",
        type=_entry,
        help="session config KEY=VALUE, besides the sidecar's; may be repeated",
    )
    parser.add_argument("--runs", type=int, default=2, help="the last one is reported")
    parser.add_argument(
        "--timeout-s", type=float, default=COUNTING_TIMEOUT_S, help="bound on a file"
    )
    parser.add_argument("--profile", action="store_true", help="instructions of each node too")
    parser.add_argument("--nets", help="the promised networks in all forms: all, or names")
    parser.add_argument("--size-px", type=int, default=256, help="side of the nets' input")
    parser.add_argument("--checkpoint", type=Path, help="weights of PMRID")
    parser.add_argument("--out", type=Path, default=Path("build/arm64"), help="of the nets' files")
    parser.add_argument("--again", action="store_true", help="count what was counted before too")
    parser.add_argument("--json", action="store_true", help="print JSON for machines")
    return parser.parse_args()


def _count_files(options: argparse.Namespace, cpu: Cpu) -> list[Counted]:
    counted: list[Counted] = []
    for place, file in enumerate(options.files, 1):
        counted.append(count(file, cpu, _how(options)))
        _say(f"{place}/{len(options.files)} {file} {counted[-1].took_s:.0f} s")
    return counted


def _count_nets(options: argparse.Namespace, cpu: Cpu) -> tuple[Rows, bool]:
    """Give the rows of all nets, and whether all could be counted; a net that fails is said."""
    rows: Rows = []
    failed = False
    for net in find_nets(options.nets):
        try:
            rows += _count_net(net, options, cpu)
        except MofaError as error:
            failed = True
            _say(f"{net.name}: {error}")
    return rows, not failed


def _count_net(net: Net, options: argparse.Namespace, cpu: Cpu) -> Rows:
    weights = None
    if net.name == "pmrid-raw":
        weights = options.checkpoint or (PMRID_WEIGHTS if PMRID_WEIGHTS.is_file() else None)
    _say(f"{net.name}: export, prepare, quantize, optimize")
    folder = options.out / f"{net.name}-{options.size_px}"
    rows: Rows = []
    first = None
    for form, file in make_forms(net, folder, options.size_px, weights).items():
        counted = count(file, cpu, _how(options))
        first = first or counted
        _say(f"{net.name} {form}: {counted.steady['instructions'] / 1e6:.1f} M")
        rows.append({"net": net.name, "form": form, **row(counted, file.name, first)})
    return rows


def _how(options: argparse.Namespace) -> How:
    if options.runs < 2:
        raise UsageError(f"--runs {options.runs}", "the first allocates, so two at least")
    return How(
        options.out / "sessions",
        options.level,
        dict(options.config or ()),
        options.runs,
        options.timeout_s,
        options.profile,
        options.again,
    )


def _nodes(counted: Counted) -> Rows:
    columns = {"node_name": "name", "op_type": "operator", "instructions": "instructions"}
    return counted.nodes[list(columns)].rename(columns=columns).to_dict("records")


def _entry(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
