"""Progress on the terminal's error stream: a bar with rate and time left, or a running clock.

Written to stderr, so that `--json` on stdout stays clean; silent where stderr is no terminal,
but for one line when a long step is done.
"""

import resource
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
DRAW_EVERY_S = 0.2  # drawing takes a millisecond or two from what is being done

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


class PeakMemoryColumn(ProgressColumn):
    """The most memory that this process has had so far."""

    def render(self, task: Task) -> Text:
        """Give the peak, in GiB."""
        return Text(f"peak {peak_memory_bytes() / 2**30:.1f} GiB", style="progress.filesize")


def peak_memory_bytes() -> int:
    """Give the most resident memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # KiB but on macOS


@contextmanager
def bar(
    what: str, total: int, units: str, *, memory: bool = False
) -> Iterator[Callable[[int], None]]:
    """Lend a function that is told how many are done so far; `units` is their plural.

    Args:
        memory: show the process's peak, too.
    """
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(units),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    if memory:
        columns.append(PeakMemoryColumn())
    began = time.monotonic()
    # drawn only when something is done: a drawing thread would share the cores that are measured
    with Progress(
        *columns, console=console, auto_refresh=False, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task(what, total=total)
        drawn_s = 0.0

        def count(done: int) -> None:
            nonlocal drawn_s
            now_s = time.monotonic()
            draw = done == total or now_s - drawn_s > DRAW_EVERY_S
            drawn_s = now_s if draw else drawn_s
            progress.update(task, completed=done, refresh=draw)

        yield count
    peak = f", peak {peak_memory_bytes() / 2**30:.1f} GiB" if memory else ""
    _say_done(f"{what}: {total} {units}", began, peak)


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


def _say_done(what: str, began: float, more: str = "") -> None:
    elapsed_s = time.monotonic() - began
    if not console.is_terminal and elapsed_s > SAY_AFTER_S:
        print(f"{what}: {elapsed_s:.0f} s{more}", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Say one thing that the user should know, beside the results."""
    console.print(text, style="dim", highlight=False, soft_wrap=True)
