"""Instructions by node, from ONNX Runtime's own profile taken with the counter as its clock.

The first run only: later ones drift with this clock. The sum is within a few percent of the plain
count, as every event costs a few hundred instructions itself.
"""

import json
from dataclasses import dataclass

from deploy.errors import BenchOutputError

_KERNEL = "_kernel_time"


@dataclass(frozen=True)
class Node:
    """A node of the optimized graph; the instructions are of its kernel in one run."""

    name: str
    operator: str
    instructions: int


def parse_profile(text: str) -> list[Node]:
    """Give the nodes of a profile in order of execution.

    Raises:
        BenchOutputError: it is no such profile, or holds no node.
    """
    try:
        nodes = [
            Node(
                name=event["name"].removesuffix(_KERNEL),
                operator=event["args"]["op_name"],
                instructions=event["dur"],
            )
            for event in json.loads(text)
            if event.get("cat") == "Node" and event["name"].endswith(_KERNEL)
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BenchOutputError(
            f"ONNX Runtime's profile is no such file ({error!r})", "report it with the model"
        ) from error
    if not nodes:
        raise BenchOutputError("ONNX Runtime's profile holds no node", "report it with the model")
    return nodes


def by_operator(nodes: list[Node]) -> list[tuple[str, int, int]]:
    """Give (operator, how many nodes, their instructions), the heaviest first."""
    found: dict[str, list[int]] = {}
    for node in nodes:
        found.setdefault(node.operator, []).append(node.instructions)
    rows = [(operator, len(each), sum(each)) for operator, each in found.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))
