"""Instructions by node, from ONNX Runtime's own profile taken with the counter as its clock.

Recording an event executes some 30 thousand instructions itself, whatever the node. So the
lightest node's are taken from every node; there always is one that hardly does anything, as a
Reshape. The sum is then within a few percent of the plain count.
"""

import json
from dataclasses import dataclass, replace

from deploy.errors import BenchOutputError

MOST_OF_AN_EVENT = 40_000  # a lightest node above this does work of its own
_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class Node:
    """A node of the optimized graph; the instructions are of its kernel in one run."""

    name: str
    operator: str
    instructions: int


def parse_profile(text: str) -> list[Node]:
    """Give the nodes of a profile's last run in order of execution, less the cost of recording.

    Raises:
        BenchOutputError: it is no such profile, or holds no node.
    """
    last: dict[str, Node] = {}  # an event a run; the later one stays
    try:
        for event in json.loads(text):
            if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
                last[event["args"]["node_index"]] = Node(
                    name=event["name"].removesuffix(_KERNEL),
                    operator=event["args"]["op_name"],
                    instructions=int(event["dur"]),
                )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BenchOutputError(
            f"ONNX Runtime's profile is no such file ({error!r})", "report it with the model"
        ) from error
    if not last:
        raise BenchOutputError("ONNX Runtime's profile holds no node", "report it with the model")
    return _less_recording(list(last.values()))


def by_operator(nodes: list[Node]) -> list[tuple[str, int, int]]:
    """Give (operator, how many nodes, their instructions), the heaviest first."""
    found: dict[str, list[int]] = {}
    for node in nodes:
        found.setdefault(node.operator, []).append(node.instructions)
    rows = [(operator, len(each), sum(each)) for operator, each in found.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))


def _less_recording(nodes: list[Node]) -> list[Node]:
    lightest = min(node.instructions for node in nodes)
    cost = lightest if lightest <= MOST_OF_AN_EVENT else 0
    return [replace(node, instructions=node.instructions - cost) for node in nodes]
