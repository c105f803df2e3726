"""Say of a model file what runs in integers, what does not, and why."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from deploy.artifact import Artifact, read_artifact
from deploy.audit import audit, kept_in_float
from deploy.commands.progress import clock, note
from deploy.commands.show import DASH, console, print_json
from deploy.errors import GraphError
from deploy.findings import CONVERSIONS_AT_ENDS, CONVERSIONS_PER_NORM, ON_PURPOSE, Audit, Unfused
from deploy.fusion import REASONS
from deploy.placement import find_target
from reports.instructions import millions

if TYPE_CHECKING:
    from deploy.commands.audit_counts import NodeCounts


def audit_file(source: Path, target: str | None) -> Audit:
    """Look at a file as `deploy.audit` does, for the target that it is made for or another.

    What is in float on purpose is known from the sidecar, where there is one.

    Raises:
        UsageError: no such target.
        ArtifactError, GraphError: no model there, or none that loads.
    """
    artifact = read_artifact(source)
    name = target or artifact.target
    chosen = None if name is None else find_target(name)
    with clock(f"looking at {source.name}"):
        return audit(source, target=chosen, kept=kept_in_float(artifact))


def show_audit(found: Audit, as_json: bool, counts: "NodeCounts | None" = None) -> None:
    """Print what was found, with what it costs where that was counted."""
    if as_json:
        counted = {} if counts is None else {"instructions": counts.record()}
        print_json({**found.record(), **counted})
        return
    _print(found, counts)
    if counts is not None:
        from deploy.commands.audit_counts import show_operators

        show_operators(counts)


def _print(found: Audit, counts: "NodeCounts | None") -> None:
    out = console()
    out.print(_headline(found), highlight=False, soft_wrap=True)
    if found.form == "float":
        out.print(_counts_line(found.in_float), highlight=False, soft_wrap=True)
        return
    out.print(_counts(found))
    for line in _lines(found):
        out.print(line, highlight=False, soft_wrap=True)
    if found.unfused:
        out.print("\n", _unfused(found, counts))
        for reason in dict.fromkeys(one.reason for one in found.unfused):
            out.print(f"{reason}: {REASONS[reason]}", highlight=False, soft_wrap=True)
    for violation in found.violations():
        out.print(f"--strict fails: {violation}", highlight=False, soft_wrap=True)


def show_fusion(optimized: Artifact) -> None:
    """Print in short what fused in a file, as its sidecar has it."""
    fusion = optimized.fidelity.get("fusion")
    if fusion is None:
        return
    out = console()
    out.print(fusion["line"], highlight=False, soft_wrap=True)
    for text in (*fusion["violations"], *optimized.fidelity.get("needs", {}).get("notes", ())):
        out.print(f"- {text}", highlight=False, soft_wrap=True)
    if set(fusion["reasons"]) - {ON_PURPOSE}:
        note(f"`mofa-deploy audit {optimized.path}` says of each why it is in float")


def require_fused(found: Audit) -> None:
    """Raise GraphError if a quantized graph is not as well-made ones are."""
    violations = found.violations()
    if violations:
        raise GraphError(f"{found.path}: {'; '.join(violations)}", "see the reasons above")


def _headline(found: Audit) -> str:
    if found.form == "float":
        return f"{found.path}: a float graph, no operator is quantized and none has to fuse"
    if found.form == "integer":
        return f"{found.path}: as it was saved"
    settings = ", ".join(f"{key}={value}" for key, value in found.session.items())
    said = f"{found.path}: as ONNX Runtime's CPU provider optimizes it for {found.target}"
    if find_target(found.target).level != "all":
        said += ", whose own provider fuses on the device, out of sight here"
    return f"{said} ({settings})"


def _counts(found: Audit) -> Table:
    table = Table("operator", box=None)
    for column in ("in integers", "in float"):
        table.add_column(column, justify="right")
    for name, (integer, in_float) in found.counts().items():
        table.add_row(name, str(integer), str(in_float))
    return table


def _counts_line(counts: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _lines(found: Audit) -> list[str]:
    bound = (
        f"{CONVERSIONS_PER_NORM} for each of {found.norms} normalizations + {CONVERSIONS_AT_ENDS}"
    )
    if found.kept:
        bound += " + those beside what is wanted in float"
    lines = [
        f"left: {_counts_line(found.left)}",
        f"Q and DQ: {found.conversions}, at most {found.most_conversions} expected ({bound})",
    ]
    if found.in_float:
        lines.append(f"others in float: {_counts_line(found.in_float)}")
    lines += [
        f"{one.node}: {one.channels} {one.what}, kernels want multiples of {one.multiple}"
        for one in found.odd_channels
    ]
    return lines


def _unfused(found: Audit, counts: "NodeCounts | None") -> Table:
    table = Table("in float", "operator", "where", "reason", "detail", box=None)
    if counts is not None:
        table.add_column("instructions M", justify="right")
    for one in found.unfused:
        table.add_row(
            one.node, one.operator, one.where, one.reason, one.detail, *_cost(one, counts)
        )
    return table


def _cost(one: Unfused, counts: "NodeCounts | None") -> list[str]:
    """Give what a node costs; a dash where it runs as a part of another."""
    if counts is None:
        return []
    instructions = counts.of(one.node)
    return [DASH if instructions is None else millions(instructions)]
