import io
import re

import pytest
from rich.console import Console

from deploy.commands import progress


@pytest.fixture
def screen(monkeypatch):
    """What a terminal would show."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(progress, "console", console)
    return shown


def test_a_bar_ends_at_what_was_done_with_the_peak_of_memory(screen):
    with progress.bar("calibrating", 40, "crops", memory=True) as done:
        for number in range(1, 41):
            done(number)
    assert re.search(r"calibrating .* 40/40 .*peak \d+\.\d GiB", screen.getvalue())


def test_a_bar_without_memory_says_nothing_of_it(screen):
    with progress.bar("calibrating", 2, "crops") as done:
        done(2)
    assert "2/2" in screen.getvalue()
    assert "peak" not in screen.getvalue()


def test_steps_that_come_fast_are_not_all_drawn(screen):
    with progress.bar("calibrating", 1000, "crops") as done:
        for number in range(1, 1001):
            done(number)
    assert screen.getvalue().count("calibrating") < 100


def test_a_long_step_without_a_terminal_is_said_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(progress, "SAY_AFTER_S", -1.0)
    with progress.bar("calibrating", 2, "crops", memory=True) as done:
        done(2)
    assert re.fullmatch(r"calibrating: 2 crops: 0 s, peak \d+\.\d GiB\n", capsys.readouterr().err)
