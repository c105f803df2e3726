"""Android's sum of the native heap beside our own. The text was composed after AOSP."""

import pytest
from phone.profile import read_profile

from android_bench.phone_meminfo import CLOCKS_NS, HeapTold, compare_heaps, parse_meminfo
from android_bench.rows import MemorySampleRow

KIB = 1024
SECOND_NS = 10**9


def told(heap_bytes, asked_s=10.0):
    asked_ns = int(asked_s * SECOND_NS)
    return HeapTold(asked_ns, asked_ns + SECOND_NS // 10, heap_bytes)


def read(t_s, heap_bytes):
    return MemorySampleRow(
        "r", int(t_s * SECOND_NS), "steady", 1, None, None, native_heap_bytes=heap_bytes
    )


def test_the_share_in_the_table_counts_and_not_what_is_dirty():
    assert parse_meminfo(read_profile("android14").services["meminfo PID"]) == 36_000 * KIB


@pytest.mark.parametrize(
    "text", ["", "No process found for: 42\n", "           Native Heap:    35900      36000\n"]
)
def test_where_there_is_no_table_nothing_is_told(text):
    assert parse_meminfo(text) is None


def test_the_difference_is_to_the_reading_nearest_to_it_at_that_moment():
    rows = [read(9.0, 1050), read(9.9, 500), read(10.0, 1000), read(12.0, 1040)]
    assert compare_heaps([told(1040)], rows, 0) == {
        "meminfo_native_heap_bytes": 1040,
        "meminfo_diff_pct": pytest.approx(4.0),
    }


def test_moments_are_compared_on_the_clock_of_the_device():
    rows = [read(1010.0, 1000)]
    assert compare_heaps([told(1010)], rows, 1000 * SECOND_NS)["meminfo_diff_pct"] > 0.9
    assert "meminfo_diff_pct" not in compare_heaps([told(1010)], rows, 0)


def test_the_last_answer_that_has_readings_beside_it_counts():
    rows = [read(10.0, 1000), read(11.0, 2000)]
    answers = [told(1000), told(2000, 11.0), told(9, 20.0)]
    assert compare_heaps(answers, rows, 0)["meminfo_native_heap_bytes"] == 2000


def test_a_reading_further_away_than_the_clocks_are_known_is_none_of_that_moment():
    rows = [read(10.0 - CLOCKS_NS / SECOND_NS - 0.01, 1000)]
    assert compare_heaps([told(1000)], rows, 0) == {"meminfo_native_heap_bytes": 1000}


def test_where_no_names_of_the_heap_are_shown_androids_sum_stands_alone():
    assert compare_heaps([told(1000)], [read(10.0, None)], 0) == {"meminfo_native_heap_bytes": 1000}


def test_where_android_told_nothing_there_is_no_column():
    assert compare_heaps([], [read(10.0, 1000)], 0) == {}
