"""What a runner printed -> a `Launch`, or a BenchOutputError that names the line.

Pure: text in, dataclasses out. The contract is `native/PROTOCOL.md`; its records are those of
`android_bench.records`, and their order is that of `android_bench.record_order`.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from android_bench.record_order import Launch, Unfinished
from android_bench.records import (
    EXIT_CODES,
    EXIT_LOAD,
    EXIT_PROVIDER,
    EXIT_RUN,
    INT64_MAX,
    PROTOCOL_VERSION,
    Begin,
    Count,
    Failure,
    Memory,
    Sample,
    refuse,
    short,
)
from deploy.errors import BenchOutputError

__all__ = [
    "EXIT_CODES",
    "EXIT_LOAD",
    "EXIT_PROVIDER",
    "EXIT_RUN",
    "INT64_MAX",
    "PROTOCOL_VERSION",
    "Begin",
    "Count",
    "Failure",
    "Launch",
    "Memory",
    "Sample",
    "parse_launch",
    "parse_so_far",
]


def parse_launch(text: str) -> Launch:
    """Read what a runner printed.

    Args:
        text: its standard output, all of it.

    Raises:
        BenchOutputError: a line is not a record, or records are missing, out of order or do not
            fit each other; the line is named.
    """
    launch = Unfinished()
    number = 0
    for number, record in _read_lines(text):
        launch.take(number, record)
    if not launch.ended:
        refuse(number, "the output stops here, without `done` or `error`")
    return launch.give()


def parse_so_far(text: str) -> Launch | None:
    """Read what a runner printed before it was killed: its memory alone, for its times are cut off.

    Returns:
        None where not even its first record came.
    """
    launch = Unfinished()
    try:
        for number, record in _read_lines(text):
            launch.take(number, record)
    except BenchOutputError:  # the line at which it was cut off
        pass
    return replace(launch.give(), samples=(), counts=(), output=None) if launch.only else None


def _read_lines(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    if not text.strip():
        refuse(1, "the output is empty")
    for number, line in enumerate(text.rstrip().split("\n"), start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            refuse(number, f"not a JSON object: {short(line)}")
        if not isinstance(record, dict) or not isinstance(record.get("record"), str):
            refuse(number, f"not a JSON object with a `record`: {short(line)}")
        yield number, record
