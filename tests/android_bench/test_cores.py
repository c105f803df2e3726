import pytest

from android_bench.cores import check_wish, core_mask
from deploy.errors import DeviceError, UsageError

# greatest frequencies in kHz, core 0 first
PRIME_GOLD_SILVER = [1_800_000] * 4 + [2_400_000] * 3 + [2_840_000]
TWO_BIG = [2_000_000] * 6 + [2_600_000] * 2
ONE_KIND = [2_000_000] * 4
ONE_PRIME = [1_800_000] * 7 + [2_800_000]


@pytest.mark.parametrize(
    ("wish", "speeds", "threads", "mask"),
    [
        ("big", PRIME_GOLD_SILVER, 2, "f0"),
        ("little", PRIME_GOLD_SILVER, 2, "f"),
        ("all", PRIME_GOLD_SILVER, 2, "ff"),
        ("big", TWO_BIG, 2, "c0"),
        ("big", ONE_KIND, 2, "f"),
        ("little", ONE_KIND, 2, "f"),
        ("80", PRIME_GOLD_SILVER, 1, "80"),
        ("0xF0", PRIME_GOLD_SILVER, 4, "f0"),
        (None, PRIME_GOLD_SILVER, 2, None),
    ],
)
def test_a_wish_becomes_a_mask(wish, speeds, threads, mask):
    assert core_mask(wish, speeds, len(speeds), threads) == mask


def test_where_the_fast_cores_are_fewer_than_the_threads_big_is_all():
    assert core_mask("big", ONE_PRIME, 8, 2) == "ff"


@pytest.mark.parametrize("wish", ["big", "little"])
def test_kinds_that_cannot_be_told_are_refused(wish):
    with pytest.raises(DeviceError, match="speeds of the 2 cores cannot be read"):
        core_mask(wish, [1_000_000, None], 2, 1)


def test_all_needs_no_speeds():
    assert core_mask("all", [], 2, 1) == "3"


def test_cores_that_are_not_there_are_refused():
    with pytest.raises(UsageError, match="cores f0 are not all there: the device has 4"):
        core_mask("f0", ONE_KIND, 4, 1)


def test_more_threads_than_cores_are_refused():
    with pytest.raises(UsageError, match="2 threads on the 1 cores of 8"):
        core_mask("8", ONE_KIND, 4, 2)


@pytest.mark.parametrize("wish", ["fast", "", "0", "-1", "g"])
def test_a_wish_that_is_neither_preset_nor_mask_is_refused(wish):
    with pytest.raises(UsageError, match="neither big, all, little nor a hexadecimal mask"):
        check_wish(wish)
