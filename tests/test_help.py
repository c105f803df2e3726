"""The help of the command line: quick, light, with an example that parses for every command."""

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command

from deploy.cli import DONE, app, run_app

README = Path(__file__).parents[1] / "README.md"
HELP_S = 0.5
TRIES = 5  # the best one counts: a busy machine makes a start slow, never quick
HEAVY = {"torch", "onnx", "onnxruntime", "pandas", "numpy", "scipy", "skimage", "matplotlib"}

GROUP = get_command(app)


def leaves(group, *above):
    """Give every command that does something, by the words that call it."""
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from leaves(command, *above, name)
        else:
            yield " ".join([*above, name]), command


LEAVES = dict(leaves(GROUP))
COMMANDS = sorted(LEAVES)


def help_of(command, capsys):
    assert run_app([*command.split(), "--help"]) == DONE
    return capsys.readouterr().out


def test_help_answers_in_under_half_a_second():
    times_s = []
    for _ in range(TRIES):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "deploy.cli", "--help"], check=True, stdout=subprocess.DEVNULL
        )
        times_s.append(time.perf_counter() - began)
    assert min(times_s) < HELP_S


@pytest.mark.parametrize(
    "arguments", [["--help"], *([*name.split(), "--help"] for name in COMMANDS)]
)
def test_help_loads_no_heavy_package(arguments):
    code = (
        "import json, sys\n"
        "from deploy.cli import run_app\n"
        "code = run_app(sys.argv[1:])\n"
        "print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True
    )
    exit_code, loaded = json.loads(done.stderr)
    assert exit_code == DONE
    assert "typer" in loaded
    assert HEAVY.isdisjoint(name.split(".")[0] for name in loaded)


def test_the_bare_command_gives_the_help(capsys):
    assert run_app([]) == DONE
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("Usage: ")
    assert all(re.search(rf"^  {name} ", said.out, re.MULTILINE) for name in GROUP.commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_offers_json(command, capsys):
    assert re.search(r"^  --json\b", help_of(command, capsys), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command):
    silent = [one.name for one in LEAVES[command].params if not one.help]
    assert silent == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_ends_with_an_example_that_parses(command, capsys):
    *_, last = help_of(command, capsys).strip().splitlines()
    example = re.fullmatch(rf"\s*Example: mofa-deploy {command}( .*)?", last)
    assert example is not None
    LEAVES[command].make_context(command, shlex.split(example[1] or ""))  # or it raises


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command):
    assert re.search(rf"mofa-deploy {command}\b|`{command}`", README.read_text())
