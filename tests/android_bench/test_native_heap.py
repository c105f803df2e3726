"""Native heap by Android's rule, on smaps text of three kinds of devices.

The text was composed after AOSP's own rule (androidprocheaps.cpp) and the names that its
allocators give; it was not recorded from phones.
"""

import pytest

from android_bench.memory import Sizes, category, native_heap, parse_smaps, sums_of_record, total

KIB = 1024
VMA = """{address} {flags} 00000000 {device} {inode}{name}
Size:               2048 kB
KernelPageSize:        4 kB
Rss:            {rss:8} kB
Pss:            {pss:8} kB
Shared_Clean:          0 kB
Private_Clean:         0 kB
Private_Dirty:  {dirty:8} kB
Swap:                  0 kB
SwapPss:        {swap:8} kB
Locked:                0 kB
VmFlags: rd wr mr mw me ac
"""


def smaps(*vmas):
    """Give smaps text of mappings (name, rss, pss, private dirty, swap pss), in KiB."""
    return "".join(
        VMA.format(
            address=f"{0x7000000000 + place * 0x200000:x}-{0x7000200000 + place * 0x200000:x}",
            flags="rw-p",
            device="fd:00" if name.startswith("/") else "00:00",
            inode="4242" if name.startswith("/") else "0",
            name=f"                          {name}" if name else " ",
            rss=rss,
            pss=pss,
            dirty=dirty,
            swap=swap,
        )
        for place, (name, rss, pss, dirty, swap) in enumerate(vmas)
    )


OTHERS = [
    ("/data/local/tmp/mofa-deploy/ort_bench", 80, 80, 8, 0),
    ("/data/local/tmp/mofa-deploy/libonnxruntime.so", 9000, 9000, 700, 0),
    ("/apex/com.android.runtime/lib64/bionic/libc.so", 900, 12, 40, 0),
    ("[anon:.bss]", 60, 60, 60, 0),
    ("[anon:linker_alloc]", 200, 200, 200, 0),
    ("[anon:bionic_alloc_small_objects]", 16, 16, 16, 0),
    ("[anon:stack_and_tls:4243]", 24, 24, 24, 0),
    ("[stack]", 36, 36, 36, 0),
    ("[vdso]", 8, 0, 0, 0),
    ("", 300, 300, 300, 0),
    ("/dev/__properties__/u:object_r:build_prop:s0", 8, 1, 0, 0),
]
JEMALLOC = smaps(
    *OTHERS,
    ("[anon:libc_malloc]", 40_000, 39_000, 38_000, 500),
    ("[anon:libc_malloc]", 2_000, 2_000, 2_000, 0),
)
SCUDO = smaps(
    *OTHERS,
    ("[anon:scudo:primary]", 6_000, 6_000, 5_900, 10),
    ("[anon:scudo:primary_reserve]", 0, 0, 0, 0),
    ("[anon:scudo:secondary]", 30_000, 30_000, 30_000, 20),
)
GWP_ASAN = smaps(
    *OTHERS,
    ("[anon:scudo:primary]", 6_000, 6_000, 5_900, 0),
    ("[anon:GWP-ASan Guard Page]", 0, 0, 0, 0),
    ("[anon:GWP-ASan Metadata]", 4, 4, 4, 0),
    ("[anon:GWP-ASan Alive Slot]", 8, 8, 8, 0),
)


@pytest.mark.parametrize(
    ("text", "rss_kib", "pss_kib", "private_dirty_kib", "swap_pss_kib"),
    [
        (JEMALLOC, 42_000, 41_000, 40_000, 500),
        (SCUDO, 36_000, 36_000, 35_900, 30),
        (GWP_ASAN, 6_012, 6_012, 5_912, 0),
    ],
    ids=["jemalloc", "scudo", "gwp-asan"],
)
def test_native_heap_is_what_the_allocator_named(
    text, rss_kib, pss_kib, private_dirty_kib, swap_pss_kib
):
    sizes = [KIB * one for one in (rss_kib, pss_kib, private_dirty_kib, swap_pss_kib)]
    assert native_heap(parse_smaps(text)) == Sizes(*sizes)


def test_an_old_heap_by_brk_is_native_heap_beside_the_named():
    text = smaps(("[heap]", 100, 100, 90, 0), ("[anon:libc_malloc]", 10, 10, 10, 0))
    assert native_heap(parse_smaps(text)).pss_bytes == 110 * KIB


def test_without_names_of_anonymous_memory_there_is_no_native_heap_to_tell():
    desktop = smaps(
        ("[heap]", 100, 100, 90, 0), ("", 5_000, 5_000, 5_000, 0), ("[stack]", 8, 8, 8, 0)
    )
    assert native_heap(parse_smaps(desktop)) is None


def test_a_heap_of_nothing_is_zero_where_names_are_shown():
    assert native_heap(parse_smaps(smaps(*OTHERS))) == Sizes()


def test_the_total_is_of_all_mappings():
    sums = parse_smaps(smaps(("[heap]", 100, 50, 9, 1), ("", 10, 5, 1, 0)))
    assert total(sums) == Sizes(110 * KIB, 55 * KIB, 10 * KIB, KIB)


def test_what_was_deleted_counts_as_what_it_was():
    sums = parse_smaps(smaps(("/data/app/libx.so (deleted)", 4, 4, 4, 0)))
    assert list(sums) == ["/data/app/libx.so"]
    assert category("[anon:scudo:primary] (deleted)") == "native_heap"


@pytest.mark.parametrize(
    ("name", "is_"),
    [
        ("[anon:scudo:secondary]", "native_heap"),
        ("[anon:scudo]", "other"),
        ("[anon:libc_malloc]", "native_heap"),
        ("[anon:libc_malloc_extra]", "other"),
        ("[stack:12]", "stack"),
        ("[anon:stack_and_tls:main]", "stack"),
        ("/system/lib64/libc.so", "file"),
        ("/dev/ashmem/x", "other"),
        ("[anon:dalvik-main space]", "other"),
        ("", "other"),
    ],
)
def test_the_head_of_a_name_decides(name, is_):
    assert category(name) == is_


def test_sums_that_a_runner_made_give_what_the_text_gives():
    record = {"[anon:scudo:primary]": [4096, 4096, 4096, 0], "/lib/a.so": [8192, 100, 0, 0]}
    assert native_heap(sums_of_record(record)) == Sizes(4096, 4096, 4096, 0)


def test_this_machine_s_own_smaps_are_read():
    sums = parse_smaps(open("/proc/self/smaps").read())  # noqa: SIM115, PTH123
    assert total(sums).rss_bytes > 2**20
