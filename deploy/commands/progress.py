"""Progress on the terminal's error stream: a bar with rate and time left, or a running clock.

Written to stderr, so that `--json` on stdout stays clean; silent where stderr is no terminal,
but for one line when a long step is done.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

SAY_AFTER_S = 2.0

console = Console(stderr=True)


class RateColumn(ProgressColumn):
    """Units done per second."""

    def __init__(self, units: str) -> None:
        super().__init__()
        self.units = units

    def render(self, task: Task) -> Text:
        """Give the rate over the last steps; empty until there is one."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:.1f} {self.units}/s", style="progress.data.speed")


@contextmanager
def bar(what: str, total: int, units: str) -> Iterator[Callable[[int], None]]:
    """Lend a function that is told how many are done so far; `units` is their plural."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(units),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    # drawn only when something is done: a drawing thread would share the cores that are measured
    with Progress(
        *columns, console=console, auto_refresh=False, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done, refresh=True)
    _say_done(f"{what}: {total} {units}", began)


@contextmanager
def clock(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show that a step is running, and for how long.

    Lends a function for the parts of it that can be counted: told how many are done and of how
    many, from 0 on, it shows the rate and the time left.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    began = time.monotonic()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=None)
        started = began

        def count(done: int, total: int) -> None:
            nonlocal started
            if done == 0:
                started = time.monotonic()
                return
            each_s = (time.monotonic() - started) / done
            left_s = each_s * (total - done)
            text = f"{what}: {done} of {total}, {1 / each_s:.1f}/s, {left_s:.0f} s left"
            progress.update(task, description=text)

        yield count
    _say_done(what, began)


def _say_done(what: str, began: float) -> None:
    elapsed_s = time.monotonic() - began
    if not console.is_terminal and elapsed_s > SAY_AFTER_S:
        print(f"{what}: {elapsed_s:.0f} s", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Say one thing that the user should know, beside the results."""
    console.print(text, style="dim", highlight=False, soft_wrap=True)
