"""Counts as rows of plain values, and rows as Markdown. No row holds a time of any ARM core."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from arm64.emulated import Counted
from arm64.nodes import Node, by_operator

MILLION = 1e6
MOST_NODES = 15


def row(counted: Counted, label: str, first: Counted) -> dict[str, Any]:
    """Give one model's row; `ratio` says how many times fewer instructions it has than `first`."""
    steady, psnr_db = counted.steady, counted.psnr_vs_host_db
    return {
        "file": label,
        "cpu": counted.cpu,
        "session_instructions": counted.session.instructions,
        "first_run_instructions": counted.runs[0].instructions,
        "instructions": steady.instructions,
        "simd_instructions": steady.simd,
        "loads": steady.loads,
        "stores": steady.stores,
        "moved_bytes": steady.bytes,
        "dot_instructions": steady.dot,
        "mmla_instructions": steady.mmla,
        "fmla_instructions": steady.fmla,
        "branches": steady.branches,
        "ratio": first.steady.instructions / steady.instructions,
        "psnr_vs_host_db": psnr_db if math.isfinite(psnr_db) else None,
        "output_sha256": counted.output_sha256,
        "emulation_s": round(counted.took_s, 1),
    }


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Give rows as one table; M are millions of instructions, MB 10**6 bytes."""
    head = ("file", "CPU", "session M", "run M", "SIMD M", "dot M", "MMLA M", "MB", "fewer")
    lines = [_line(head), _line(("---", "---", *["---:"] * 7))]
    for one in rows:
        session, *kinds = (
            f"{one[key] / MILLION:.1f}"
            for key in (
                "session_instructions",
                "instructions",
                "simd_instructions",
                "dot_instructions",
                "mmla_instructions",
            )
        )
        moved = f"{one['moved_bytes'] / MILLION:.0f}"
        lines.append(
            _line((one["file"], one["cpu"], session, *kinds, moved, f"{one['ratio']:.2f}"))
        )
    return "\n".join(lines) + "\n"


def profile_markdown(counted: Counted, nodes: list[Node]) -> str:
    """Give a model's instructions by operator, then its heaviest nodes."""
    total = sum(node.instructions for node in nodes)
    lines = [
        f"{counted.model.name}: {total / MILLION:.1f} M in {len(nodes)} nodes, "
        f"{total / counted.steady.instructions:.1%} of the plain count",
        "",
    ]
    lines += [_line(("operator", "nodes", "M", "share")), _line(("---", "---:", "---:", "---:"))]
    lines += [
        _line((operator, str(many), f"{n / MILLION:.2f}", f"{n / total:.1%}"))
        for operator, many, n in by_operator(nodes)
    ]
    lines += ["", _line(("node", "operator", "M", "share"))]
    lines += [_line(("---", "---", "---:", "---:"))]
    heaviest = sorted(nodes, key=lambda node: -node.instructions)[:MOST_NODES]
    lines += [
        _line(
            (
                one.name,
                one.operator,
                f"{one.instructions / MILLION:.2f}",
                f"{one.instructions / total:.1%}",
            )
        )
        for one in heaviest
    ]
    return "\n".join(lines) + "\n"


def versions_line(identity: Mapping[str, str]) -> str:
    """Say in one line what the counts were taken with; counts of other ones do not compare."""
    hashes = ", ".join(
        f"{name.removesuffix('_sha256')} {value[:12]}"
        for name, value in identity.items()
        if name.endswith("_sha256")
    )
    return (
        f"Instructions of a steady run, not time. onnxruntime {identity['onnxruntime']} for "
        f"aarch64, qemu {identity['qemu']}; {hashes}.\n"
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
