"""Doing something now and then beside a block of code, until the block is over."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from deploy.errors import DeviceError

Seen = TypeVar("Seen")


@contextmanager
def beside(
    look: Callable[[], Seen | None], *, first_s: float, every_s: float
) -> Iterator[list[Seen]]:
    """Look, in a thread, after first_s and then every_s, while the block runs; lend what was seen.

    A phone that is away for one look is looked at again: what runs there goes on all the same. A
    look that is under way when the block ends is not waited for, and comes too late to be lent.
    """
    seen: list[Seen] = []
    over = threading.Event()

    def look_on() -> None:
        pause_s = first_s
        while not over.wait(pause_s):
            pause_s = every_s
            with suppress(DeviceError):
                one = look()
                if one is not None and not over.is_set():
                    seen.append(one)

    threading.Thread(target=look_on, daemon=True).start()
    try:
        yield seen
    finally:
        over.set()
