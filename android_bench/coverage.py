"""Who computed the graph: a runner's assignment, its log or the runtime's profile. Pure.

Adding a provider proves nothing: what it cannot take runs silently on the CPU.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from android_bench.records import Assignment, Share
from android_bench.rows import OpRow
from deploy.errors import BenchOutputError

# what is asked for -> the runtime's own name of it
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "nnapi": "NnapiExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}
MAX_REASONS = 20
MOST_OF_AN_EVENT = 40_000  # instructions; a lightest node above this does work of its own

_KERNEL = "_kernel_time"  # ends the name of a node's event in a profile
# Source: onnxruntime, core/providers/nnapi/nnapi_builtin/nnapi_execution_provider.cc
_REFUSED = re.compile(r"Node supported: \[0\] Operator type: \[(?P<op>[^]]*)\]")
# around a message in the runner's log: its severity before, the place in the source behind
_AROUND = re.compile(r"^\w+: (?:onnxruntime: )?|\s*\(\S+\.(?:cc|h):\d+[^)]*\)$")


@dataclass(frozen=True)
class Coverage:
    """How much of a graph the provider that was asked for took.

    Attributes:
        nodes_total: of the graph as the runtime executes it.
        partitions: None where that is not told.
        source: api, log or profile.
        reasons: sentences, why nodes are elsewhere.
    """

    nodes_total: int
    nodes_on_provider: int
    partitions: int | None
    source: str
    reasons: tuple[str, ...] = ()


def assigned(assignment: Assignment | None, provider: str, log: str = "") -> Coverage | None:
    """Give what a launch's own record tells; None where it cannot tell.

    Args:
        provider: as it was asked for.
        log: of the runtime, if it was verbose; it has the reasons.
    """
    if assignment is None or assignment.nodes_total is None:
        return None
    share = assignment.providers.get(PROVIDERS[provider], Share(0, 0))
    reasons: Sequence[str] = ()
    if provider != "cpu" and share.nodes < assignment.nodes_total:
        reasons = _reasons(log) or _elsewhere(assignment, provider)
    return Coverage(
        assignment.nodes_total,
        share.nodes,
        share.partitions,
        assignment.source,
        tuple(reasons[:MAX_REASONS]),
    )


def profiled(rows: Sequence[OpRow], provider: str) -> Coverage | None:
    """Give what the nodes of a profile tell; None where there are none."""
    if not rows:
        return None
    ours = [row for row in rows if row.provider == PROVIDERS[provider]]
    others = Counter(
        (row.op_type, row.provider) for row in rows if row.provider != PROVIDERS[provider]
    )
    return Coverage(
        nodes_total=len(rows),
        nodes_on_provider=len(ours),
        partitions=sum(row.is_partition for row in ours) or None,
        source="profile",
        reasons=_sentences(others) if provider != "cpu" else (),
    )


def read_profile(text: str, run_id: str) -> list[OpRow]:
    """Give the nodes that a profile of ONNX Runtime tells of, in the order of their first run.

    Raises:
        BenchOutputError: it is not such a profile.
    """
    rows: dict[tuple[str, str], list[Any]] = {}
    for event in _kernel_events(text):
        arguments = event["args"]
        node = event["name"].removesuffix(_KERNEL)
        key = node, str(arguments.get("node_index", ""))
        duration_ns = int(event["dur"]) * 1000  # microseconds in the file
        known = rows.setdefault(key, [node, arguments, 0, 0])
        known[2] += 1
        known[3] += duration_ns
    return [
        replace(_op_row(run_id, index, node, arguments, calls), total_ns=total_ns)
        for index, (node, arguments, calls, total_ns) in enumerate(rows.values())
    ]


def read_counted_profile(text: str, run_id: str) -> list[OpRow]:
    """Give the nodes of a profile whose clock is the counter: instructions of the last inference.

    Recording an event executes some 30 thousand instructions itself, whatever the node. So the
    lightest node's are taken from every node; there always is one that hardly does anything, as a
    Reshape. The sum is then within a few percent of the plain count.

    Raises:
        BenchOutputError: it is no profile of ONNX Runtime.
    """
    events: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for event in _kernel_events(text):
        node = event["name"].removesuffix(_KERNEL)
        events.setdefault((node, str(event["args"].get("node_index", ""))), []).append(event)
    counts = [int(of_node[-1]["dur"]) for of_node in events.values()]
    recording = min(counts, default=0)
    if recording > MOST_OF_AN_EVENT:
        recording = 0
    return [
        replace(
            _op_row(run_id, index, node, of_node[-1]["args"], len(of_node)),
            instructions=count - recording,
        )
        for index, (((node, _), of_node), count) in enumerate(
            zip(events.items(), counts, strict=True)
        )
    ]


def _op_row(run_id: str, index: int, node: str, arguments: dict[str, Any], calls: int) -> OpRow:
    return OpRow(
        run_id=run_id,
        op_index=index,
        node_name=node,
        op_type=str(arguments.get("op_name", "")),
        provider=str(arguments.get("provider", "")),
        is_partition=_is_partition(node, arguments),
        calls=calls,
        total_ns=None,
    )


def _kernel_events(text: str) -> list[dict[str, Any]]:
    try:
        events = json.loads(text)
        return [
            event
            for event in events
            if event.get("cat") == "Node"
            and event["name"].endswith(_KERNEL)
            and event["args"].get("provider")
            and int(event["dur"]) >= 0
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BenchOutputError(
            f"the profile is not one of ONNX Runtime ({error})",
            "it stays broken where the launch did not end well; measure again",
        ) from error


def _is_partition(node: str, arguments: dict[str, Any]) -> bool:
    """Say whether a node stands for many that its provider compiled into one.

    ONNX Runtime names such a node, and its operator, after the provider.
    """
    provider = str(arguments.get("provider", ""))
    short = provider.removesuffix("ExecutionProvider").lower()
    operator = str(arguments.get("op_name", "")).lower()
    return node.startswith(f"{provider}_") or (short != "cpu" and operator.startswith(short))


def _reasons(log: str) -> list[str]:
    """Give the provider's own reasons: what it logs right before a node that it does not take."""
    counted: Counter[str] = Counter()
    before = ""
    for line in log.splitlines():
        refused = _REFUSED.search(line)
        if refused:
            counted[f"{refused['op']}: {before or 'not supported'}"] += 1
        before = "" if "Node supported: [" in line else _AROUND.sub("", line.strip()).strip()
    return [f"{count} {reason}" for reason, count in counted.most_common()]


def _elsewhere(assignment: Assignment, provider: str) -> tuple[str, ...]:
    if assignment.nodes:
        return _sentences(
            Counter(
                (node.op_type, node.provider)
                for node in assignment.nodes
                if node.provider != PROVIDERS[provider]
            )
        )
    return tuple(
        f"{share.nodes} nodes ran on {name}"
        for name, share in assignment.providers.items()
        if name != PROVIDERS[provider]
    )


def _sentences(others: Counter[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(
        f"{count} {operator} ran on {name}"
        for (operator, name), count in others.most_common(MAX_REASONS)
    )
