"""A process' memory by the names that Android gives it: smaps text or sums by name -> native heap.

Pure: text and records in, numbers out.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

# The heads of a mapping's name that make it native heap, and those that make it a stack.
# Source: AOSP, system/memory/libmeminfo/androidprocheaps.cpp, ExtractAndroidHeapStats; it fills
# the first columns of `dumpsys meminfo`. jemalloc names its memory libc_malloc.
NATIVE_HEAP = ("[heap]", "[anon:libc_malloc]", "[anon:scudo:", "[anon:GWP-ASan")
STACK = ("[stack", "[anon:stack_and_tls:")
_DELETED = " (deleted)"  # the kernel's addition where the file is gone; the rule takes it off
_NAMED = "[anon:"  # a kernel with CONFIG_ANON_VMA_NAME shows what the C library called its memory

_HEADER = re.compile(r"[0-9a-f]+-[0-9a-f]+ [rwxps-]{4} [0-9a-f]+ \S+ \d+ *(?P<name>.*)")
_KEYS = {
    "Rss": "rss_bytes",
    "Pss": "pss_bytes",
    "Private_Dirty": "private_dirty_bytes",
    "SwapPss": "swap_pss_bytes",
}


@dataclass(frozen=True)
class Sizes:
    """What some mappings hold; several processes that share a page have a part of it in PSS each.

    `dumpsys meminfo` shows the native heap as PSS in its table and as private dirty in its
    summary.
    """

    rss_bytes: int = 0
    pss_bytes: int = 0
    private_dirty_bytes: int = 0
    swap_pss_bytes: int = 0

    def __add__(self, other: "Sizes") -> "Sizes":
        return Sizes(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Sizes)))


def category(name: str) -> str:
    """Give what the mappings of a name are: native_heap, stack, file or other."""
    name = name.removesuffix(_DELETED)
    if name.startswith(NATIVE_HEAP):
        return "native_heap"
    if name.startswith(STACK):
        return "stack"
    return "file" if name.startswith("/") and not name.startswith("/dev/") else "other"


def total(sums: Mapping[str, Sizes]) -> Sizes:
    """Give what all mappings hold together."""
    return _together(sums.values())


def native_heap(sums: Mapping[str, Sizes]) -> Sizes | None:
    """Give Android's native heap; None where the kernel shows no names of anonymous memory.

    Without them most of a heap has no name at all, and what is left would be a false small sum.
    """
    if not any(name.startswith(_NAMED) for name in sums):
        return None
    return _together(one for name, one in sums.items() if category(name) == "native_heap")


def parse_smaps(text: str) -> dict[str, Sizes]:
    """Give the sums by name of what /proc/PID/smaps shows; "" is what has no name.

    Source: proc_pid_smaps(5); its kB are KiB.
    """
    sums: dict[str, Sizes] = {}
    name = ""
    for line in text.splitlines():
        header = _HEADER.fullmatch(line.rstrip())
        if header:
            name = header["name"].removesuffix(_DELETED)
            sums.setdefault(name, Sizes())
            continue
        key, _, value = line.partition(":")
        if key in _KEYS and value.endswith("kB"):
            size_bytes = int(value.removesuffix("kB")) * 1024
            sums[name] = sums.get(name, Sizes()) + Sizes(**{_KEYS[key]: size_bytes})
    return sums


def sums_of_record(vmas: Mapping[str, Sequence[int]]) -> dict[str, Sizes]:
    """Give the sums by name that a runner's `smaps` record holds: four sizes a name."""
    return {name: Sizes(*sizes) for name, sizes in vmas.items()}


def _together(sizes: Iterable[Sizes]) -> Sizes:
    return sum(sizes, Sizes())
