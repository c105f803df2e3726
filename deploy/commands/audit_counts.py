"""Counted instructions beside an audit: what each node, and each operator, costs on an ARM core."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from deploy.commands.counting import Counting, count
from deploy.commands.show import console
from deploy.errors import RowsError, UsageError
from deploy.findings import Audit
from reports.frame import load
from reports.instructions import millions

_FUSED = re.compile(r"^fused |_token_\d+$|_nhwc$")  # what ONNX Runtime adds to a node's name
_MOST_OPERATORS = 12


@dataclass(frozen=True)
class NodeCounts:
    """Instructions of one profiled inference.

    Attributes:
        cpu: the emulated core.
        session: folder of the rows.
        nodes: name of a node of the graph that runs -> its instructions.
        operators: (operator, nodes, instructions), the costliest first.
    """

    cpu: str
    session: Path
    nodes: Mapping[str, int]
    operators: tuple[tuple[str, int, int], ...]

    @property
    def total(self) -> int:
        """All nodes together."""
        return sum(instructions for _, _, instructions in self.operators)

    def of(self, node: str) -> int | None:
        """Give a node's instructions; None where it became part of another."""
        return self.nodes.get(node)

    def record(self) -> dict[str, object]:
        """Give all of it as plain values."""
        return {
            "cpu": self.cpu,
            "session": str(self.session),
            "total": self.total,
            "operators": [
                {"operator": name, "nodes": nodes, "instructions": instructions}
                for name, nodes, instructions in self.operators
            ],
            "nodes": dict(self.nodes),
        }


def count_nodes(found: Audit, build: Path, cpu: str) -> NodeCounts:
    """Count what each node of an audited file executes, unless it is counted already.

    Args:
        build: the session goes into its folder of sessions.
        cpu: the emulated core.

    Raises:
        UsageError: the file is made for hardware that is not emulated.
        MofaError: it cannot be counted.
    """
    if found.form != "float" and not found.target.startswith("arm-cpu"):
        raise UsageError(
            f"{found.path} is made for {found.target}, and an ARM core's instructions are counted",
            "name a file for arm-cpu, or leave --instructions out",
        )
    session = count(Counting(build, (found.path,), cpu=cpu), profiled=True)
    ops = load(session).ops.dropna(subset=["instructions"])
    if ops.empty:
        raise RowsError(f"no node was counted in {session}", "its rows say why; mend that")
    ops = ops.assign(node=ops["node_name"].map(lambda name: _FUSED.sub("", name)))
    nodes = ops.groupby("node", sort=False)["instructions"].sum()
    of_types = ops.groupby("op_type")["instructions"].agg(["size", "sum"])
    ranked = of_types.sort_values("sum", ascending=False, kind="stable")
    return NodeCounts(
        cpu,
        session,
        {str(name): int(n) for name, n in nodes.items()},
        tuple((str(name), int(n), int(sum_)) for name, n, sum_ in ranked.itertuples(name=None)),
    )


def show_operators(counts: NodeCounts) -> None:
    """Print what each operator costs."""
    table = Table("operator", box=None)
    for column in ("nodes", "instructions M", "share"):
        table.add_column(column, justify="right")
    shown = list(counts.operators[:_MOST_OPERATORS])
    rest = counts.operators[_MOST_OPERATORS:]
    if rest:
        others = (f"{len(rest)} others", sum(one[1] for one in rest), sum(one[2] for one in rest))
        shown.append(others)
    for name, nodes, instructions in shown:
        share = f"{100 * instructions / counts.total:.1f} %"
        table.add_row(name, str(nodes), millions(instructions), share)
    out = console()
    out.print("\n", table)
    out.print(
        f"Counted on an emulated {counts.cpu}, no time: {millions(counts.total)} M in all nodes of "
        f"one inference (rows: {counts.session})",
        highlight=False,
        soft_wrap=True,
    )
