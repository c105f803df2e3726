"""The README is true: its commands run, its make targets exist, its table has today's columns."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from deploy.cli import app
from reports.tables import COLUMNS

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
COMMAND_S = 900  # a bound on one command, far above what any takes

# What a console block may hold besides the two kinds that are tested here
NOT_RUN = ("cd", "git", "pip", "python3")


def console_lines(text: str) -> list[str]:
    """Give the commands of every ```console block, as written behind the prompt."""
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [
        line.removeprefix("$ ")
        for block in blocks
        for line in block.splitlines()
        if line.startswith("$ ")
    ]


def of_program(program: str, text: str) -> list[str]:
    return [line for line in console_lines(text) if line.split()[0] == program]


def make_targets(text: str) -> list[str]:
    return [
        word for line in of_program("make", text) for word in line.partition("#")[0].split()[1:]
    ]


def table_columns(text: str) -> list[list[str]]:
    """Give the cells of each line of the marked table."""
    (table,) = re.findall(r"<!-- table -->\n(.*?)<!-- /table -->", text, re.DOTALL)
    lines = [line.strip() for line in table.splitlines() if line.strip().startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


EXAMPLE = """
```console
$ make demo VENV=x  # first
$ mofa-deploy models
some output
```
$ mofa-deploy not-in-a-block
```
$ mofa-deploy not-a-console
```
```console
$ mofa-deploy run --device host   # all of it
```
<!-- table -->
A caption.

| graph | ms |
|-------|---:|
| plain |  1 |

- a note
<!-- /table -->
"""


def test_commands_are_found_in_console_blocks_only():
    assert of_program("mofa-deploy", EXAMPLE) == [
        "mofa-deploy models",
        "mofa-deploy run --device host   # all of it",
    ]


def test_a_table_is_found_between_its_markers():
    assert table_columns(EXAMPLE)[0] == ["graph", "ms"]
    assert table_columns(EXAMPLE)[2] == ["plain", "1"]


def test_every_make_target_of_the_readme_exists():
    targets = make_targets(README.read_text())
    there = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test"} <= set(targets)
    assert set(targets) <= set(there)


def test_every_command_of_the_readme_is_of_a_kind_that_is_tested():
    programs = {line.split()[0] for line in console_lines(README.read_text())}
    assert {"make", "mofa-deploy"} <= programs
    assert programs <= {"make", "mofa-deploy", *NOT_RUN}


def prose_lines(text: str) -> list[str]:
    """Give the indented commands, which need files of the reader's own, in one line each."""
    return re.findall(r"^ {4}mofa-deploy (.*)$", re.sub(r"\\\n\s+", "", text), re.MULTILINE)


def test_indented_commands_are_found_over_several_lines():
    text = "As in\n\n    mofa-deploy run --data a \\\n        --out b\n\nand so on\n"
    assert prose_lines(text) == ["run --data a --out b"]


@pytest.mark.parametrize("line", prose_lines(README.read_text()))
def test_the_indented_commands_of_the_readme_parse(line):
    command, *arguments = shlex.split(line, comments=True)
    get_command(app).commands[command].make_context(command, arguments)  # or it raises


def test_the_table_of_the_readme_has_the_columns_of_a_report():
    header, _, *rows = table_columns(README.read_text())
    assert header == list(COLUMNS)
    assert rows
    assert {len(row) for row in rows} == {len(COLUMNS)}


@pytest.mark.slow
def test_the_commands_of_the_readme_run_as_written(tmp_path):
    installed = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for line in of_program("mofa-deploy", README.read_text()):
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env={**os.environ, "PATH": installed},
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"
