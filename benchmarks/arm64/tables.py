"""Counts as rows of plain values, and rows as Markdown. No row holds a time of any ARM core."""

from collections.abc import Mapping, Sequence
from typing import Any

from arm64.counted import Counted

MILLION = 1e6
MOST_NODES = 15


def row(counted: Counted, label: str, first: Counted) -> dict[str, Any]:
    """Give one model's row; `ratio` says how many times fewer instructions it has than `first`."""
    steady = counted.steady
    return {
        "file": label,
        "cpu": counted.cpu,
        "session_instructions": counted.session["instructions"],
        "first_run_instructions": counted.first["instructions"],
        **steady,
        "ratio": first.steady["instructions"] / steady["instructions"],
        "psnr_vs_host_db": counted.psnr_vs_host_db,
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
                "simd",
                "dot",
                "mmla",
            )
        )
        moved = f"{one['moved_bytes'] / MILLION:.0f}"
        lines.append(
            _line((one["file"], one["cpu"], session, *kinds, moved, f"{one['ratio']:.2f}"))
        )
    return "\n".join(lines) + "\n"


def profile_markdown(counted: Counted) -> str:
    """Give a model's instructions by operator, then its heaviest nodes."""
    nodes = counted.nodes
    total = int(nodes["instructions"].sum())
    by_operator = nodes.groupby("op_type")["instructions"].agg(["size", "sum"])
    lines = [
        f"{counted.model.name}: {total / MILLION:.1f} M in {len(nodes)} nodes, "
        f"{total / counted.steady['instructions']:.1%} of the plain count",
        "",
    ]
    lines += [_line(("operator", "nodes", "M", "share")), _line(("---", "---:", "---:", "---:"))]
    lines += [
        _line((operator, str(many), f"{n / MILLION:.2f}", f"{n / total:.1%}"))
        for operator, many, n in by_operator.sort_values("sum", ascending=False).itertuples()
    ]
    lines += ["", _line(("node", "operator", "M", "share"))]
    lines += [_line(("---", "---", "---:", "---:"))]
    heaviest = nodes.sort_values("instructions", ascending=False).head(MOST_NODES)
    lines += [
        _line(
            (
                one.node_name,
                one.op_type,
                f"{one.instructions / MILLION:.2f}",
                f"{one.instructions / total:.1%}",
            )
        )
        for one in heaviest.itertuples()
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
