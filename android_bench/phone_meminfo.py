"""Android's own sum of a program's native heap, beside the one that the runner's readings give."""

import re
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from android_bench.beside import beside
from android_bench.rows import MemorySampleRow
from android_bench.sensor_text import ANSWER_S, CanQuery

FIRST_ASK_S, ASK_EVERY_S = 0.3, 0.5  # of a launch whose latency does not count
# Both sums are of the same kernel's numbers by the same rule; what is left is what the program took
# or gave back between the two readings. `make test-device` fails beyond this.
TOLERANCE_PCT = 5.0
CLOCKS_NS = 500 * 10**6  # to which the phone's clock is known: what it takes to start a launch

_NATIVE_HEAP = re.compile(r"^ *Native Heap +(\d+)", re.MULTILINE)


@runtime_checkable
class CanTellPid(CanQuery, Protocol):
    """A device that also knows the process that `run` waits for."""

    def running_pid(self) -> int | None:
        """Give the id of the program that runs now; None where there is none."""
        ...


@dataclass(frozen=True)
class HeapTold:
    """One answer. Both moments are on this machine's monotonic clock.

    Attributes:
        native_heap_bytes: proportional share (PSS).
    """

    asked_ns: int
    told_ns: int
    native_heap_bytes: int


def asking_meminfo(
    device: CanTellPid, first_s: float = FIRST_ASK_S, every_s: float = ASK_EVERY_S
) -> AbstractContextManager[list[HeapTold]]:
    """Ask Android for the native heap of the program that the block runs; lend the answers."""

    def ask() -> HeapTold | None:
        pid = device.running_pid()
        if pid is None:
            return None
        asked_ns = time.perf_counter_ns()
        text = device.query(["dumpsys", "meminfo", str(pid)], ANSWER_S).stdout
        heap_bytes = parse_meminfo(text)
        if heap_bytes is None:  # it ended meanwhile, or Android refuses
            return None
        return HeapTold(asked_ns, time.perf_counter_ns(), heap_bytes)

    return beside(ask, first_s=first_s, every_s=every_s)


def parse_meminfo(text: str) -> int | None:
    """Give the PSS of the native heap from what `dumpsys meminfo PID` prints, in bytes.

    The table's first column; the summary below it shows private dirty memory under the same name.

    Source: AOSP, frameworks/base, ActivityThread.dumpMemInfoTable; its KB are KiB.
    """
    found = _NATIVE_HEAP.search(text)
    return int(found[1]) * 1024 if found else None


def compare_heaps(
    told: Sequence[HeapTold], own: Sequence[MemorySampleRow], shift_ns: int
) -> dict[str, Any]:
    """Give the columns of `runs` that hold Android's sum against the runner's.

    The last answer with readings of the runner's beside it counts, against the nearest in value of
    those: while a program allocates, no two readings are of the same moment.

    Args:
        own: the launch's readings, in time of the device's clock.
        shift_ns: from this machine's monotonic clock to the device's.
    """
    if not told:
        return {}
    for one in reversed(told):
        begin_ns, end_ns = one.asked_ns + shift_ns - CLOCKS_NS, one.told_ns + shift_ns + CLOCKS_NS
        near = [
            row.native_heap_bytes
            for row in own
            if row.native_heap_bytes and begin_ns <= row.t_ns <= end_ns
        ]
        if near:
            ratio = min((one.native_heap_bytes / each for each in near), key=lambda r: abs(r - 1))
            return {
                "meminfo_native_heap_bytes": one.native_heap_bytes,
                "meminfo_diff_pct": 100 * (ratio - 1),
            }
    return {"meminfo_native_heap_bytes": told[-1].native_heap_bytes}
