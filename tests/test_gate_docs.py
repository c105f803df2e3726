"""The pages on the gates and their workflows are true: commands parse, budgets are the defaults."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from android_bench.runner import native_sha256
from deploy.cli import app
from reports.budgets import default_budgets, read_budgets
from reports.count_baseline import read_baseline
from reports.rule import VERDICTS

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "gate.md"
COUNTS_PAGE = REPOSITORY / "docs" / "arm64.md"
WORKFLOWS = REPOSITORY / ".github" / "workflows"
GATES = [WORKFLOWS / "latency-gate.yml", WORKFLOWS / "instruction-gate.yml"]
BASELINE = REPOSITORY / "benchmarks" / "arm64-baseline.json"


def commands() -> list[str]:
    """Give the commands of the pages, the workflows and the Makefile, each in one line."""
    texts = [PAGE.read_text(), COUNTS_PAGE.read_text()]
    texts += [
        re.sub(r">-\n\s+(mofa-deploy .*)\n\s+(--.*)", r"\n\1 \2", path.read_text())
        for path in GATES
    ]
    of_make = re.sub(r"\$\(BIN\)/|\$\(GATE\)", "", (REPOSITORY / "Makefile").read_text())
    text = "\n".join([*texts, re.sub(r"\$\((\w+)\)", r"\1", of_make)])
    text = re.sub(r"- run: mofa", "mofa", re.sub(r"\\\n\s+", "", text))
    return re.findall(r"^\s*mofa-deploy (.*)$", text, re.MULTILINE)


def test_commands_are_found_on_the_pages_in_the_workflows_and_in_the_makefile():
    found = commands()
    assert sum("--bencher" in line for line in found) == 2
    assert sum("--metric instructions" in line for line in found) >= 4
    assert sum("runtime add --arm64" in line for line in found) >= 3


def parsed(line: str) -> typer.Context:
    """Parse a command line, or raise."""
    command, *words = shlex.split(re.sub(r'"\$LAUNCHES"', "8", line))
    found = get_command(app).commands[command]
    if hasattr(found, "commands"):
        found, words = found.commands[words[0]], words[1:]
    return found.make_context(command, words)


@pytest.mark.parametrize("line", commands())
def test_every_command_parses(line):
    assert parsed(line) is not None


def test_the_budgets_of_the_page_are_the_defaults(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "budgets.toml"
    path.write_text(block)
    assert read_budgets(path).of_metric == default_budgets().of_metric
    path.write_text(block.partition("[case")[0])
    assert read_budgets(path) == default_budgets()


def test_the_page_explains_every_verdict():
    assert set(re.findall(r"^\| (\w+) \| \d \|", PAGE.read_text(), re.MULTILINE)) == set(VERDICTS)


@pytest.mark.parametrize("workflow", GATES, ids=lambda path: path.stem)
def test_a_workflow_puts_no_input_into_a_script(workflow):
    scripts = re.findall(r"run: (?:>-\n|\|\n)?((?:.*\n)(?:\s{10,}\S.*\n)*)", workflow.read_text())
    assert len(scripts) >= 2
    assert not [one for one in scripts if "${{" in one]


def test_the_baseline_of_our_own_graphs_is_of_todays_runner_and_the_pinned_onnxruntime():
    taken_with = read_baseline(BASELINE).taken_with
    (pinned,) = re.findall(
        r"^onnxruntime==(.*)$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE
    )
    wanted = {"onnxruntime": pinned, "native_sha256": native_sha256(), "cpu": "a76"}
    today = {name: taken_with[name] for name in wanted}
    assert today == wanted, "make gate-arm64 GATE=--rebaseline"


def test_the_baseline_of_our_own_graphs_holds_every_graph_of_the_line():
    cases = read_baseline(BASELINE).cases
    kinds = {name.split()[1] for name in cases}
    assert kinds == {"plain", "fp32", "int8-arm-cpu", "int8-opt-arm-cpu"}
    assert cases["nafnet-tiny int8-arm-cpu 1x3x64x64"].steady["dot"] > 1e6
