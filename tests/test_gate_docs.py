"""The page on the gate and its workflow are true: commands parse, the budgets are the defaults."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from deploy.cli import app
from reports.budgets import default_budgets, read_budgets
from reports.rule import VERDICTS

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "gate.md"
WORKFLOW = REPOSITORY / ".github" / "workflows" / "latency-gate.yml"


def commands() -> list[str]:
    """Give the commands of the page and of the workflow, each in one line."""
    folded = re.sub(r">-\n\s+(mofa-deploy .*)\n\s+(--.*)", r"\n\1 \2", WORKFLOW.read_text())
    text = re.sub(r"\\\n\s+", "", PAGE.read_text()) + folded
    return re.findall(r"^\s*mofa-deploy (.*)$", text, re.MULTILINE)


def test_commands_are_found_on_the_page_and_in_the_workflow():
    assert sum("--bencher" in line for line in commands()) == 1
    assert len(commands()) >= 4


@pytest.mark.parametrize("line", commands())
def test_every_command_parses(line):
    command, *arguments = shlex.split(re.sub(r'"\$LAUNCHES"', "8", line))
    get_command(app).commands[command].make_context(command, arguments)  # or it raises


def test_the_budgets_of_the_page_are_the_defaults(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "budgets.toml"
    path.write_text(block)
    assert read_budgets(path).of_metric == default_budgets().of_metric
    path.write_text(block.partition("[case")[0])
    assert read_budgets(path) == default_budgets()


def test_the_page_explains_every_verdict():
    assert set(re.findall(r"^\| (\w+) \| \d \|", PAGE.read_text(), re.MULTILINE)) == set(VERDICTS)


def test_the_workflow_puts_no_input_into_a_script():
    scripts = re.findall(r"run: (?:>-\n)?((?:.*\n)(?:\s+--.*\n)*)", WORKFLOW.read_text())
    assert scripts
    assert not [one for one in scripts if "${{" in one]
