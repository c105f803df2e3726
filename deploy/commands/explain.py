"""What `prepare` did to a graph, node by node, and why it left the rest."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from deploy.artifact import Artifact
from deploy.commands.show import DASH, Made, console, print_json, show_artifacts

MOST_NAMES = 3


def show_prepared(made: Made, *, explain: bool, as_json: bool) -> None:
    """Print a prepared artifact; explained, with what each rewrite did, or that alone as JSON."""
    if not (explain and as_json):
        show_artifacts([made], as_json)
    if explain and as_json:
        print_json(list(explained(made[0])))
    elif explain:
        console().print(_table(made[0].fidelity.get("rewrites", [])))


def explained(artifact: Artifact) -> Iterator[dict[str, Any]]:
    """Give a row for each node that a rewrite changed or looked at.

    Keys: rewrite, node, rewritten (whether it is in the file), form (None where there is one
    only), why (None where nothing is to be said).
    """
    for step in artifact.fidelity.get("rewrites", []):
        for node in step["applied"]:
            form = step["forms"].get(node)
            yield _row(step, node, form=form, rewritten=step["undone"] is None, why=step["undone"])
        for node, why in step["skipped"].items():
            yield _row(step, node, form=None, rewritten=False, why=why)


def _row(
    step: Mapping[str, Any], node: str, *, form: str | None, rewritten: bool, why: str | None
) -> dict[str, Any]:
    return {
        "rewrite": step["name"],
        "node": node,
        "rewritten": rewritten,
        "form": form,
        "why": why,
    }


def _table(steps: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("rewrite", "nodes", "", "which", "max error", box=None)
    for step in steps:
        error = DASH if step["max_error"] is None else f"{step['max_error']:.1e}"
        rows = list(_lines(step))
        for line, (nodes, said) in enumerate(rows):
            first = line == 0
            table.add_row(
                step["name"] if first else "",
                str(len(nodes)),
                said,
                _some(nodes),
                error if first else "",
            )
        if not rows:
            table.add_row(step["name"], "0", "nothing of the kind in the graph", DASH, DASH)
    return table


def _lines(step: Mapping[str, Any]) -> Iterator[tuple[list[str], str]]:
    """Group the nodes of a rewrite by what became of them."""
    said: dict[str, list[str]] = {}
    for node in step["applied"]:
        form = step["forms"].get(node)
        done = "rewritten" if form is None else f"rewritten: {form}"
        text = done if step["undone"] is None else f"undone: {step['undone']}"
        said.setdefault(text, []).append(node)
    for node, why in step["skipped"].items():
        said.setdefault(f"left: {why}", []).append(node)
    for text, nodes in said.items():
        yield nodes, text


def _some(nodes: Sequence[str]) -> str:
    more = len(nodes) - MOST_NAMES
    return ", ".join(nodes[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
