"""Which launch comes next: redone ones at once, and no more than are needed."""

from dataclasses import fields, replace

import pytest
from bench_examples import QUICK

from android_bench.launch import Due, Finished
from android_bench.order import all_slots, next_due
from android_bench.rows import RunRow, SampleRow

EMPTY = dict.fromkeys(field.name for field in fields(RunRow))


def finished(due, status="ok", latency_ns=1000, *, final=False):
    run = RunRow(
        **EMPTY
        | {"run_id": "r", "status": status, "case_id": str(due.slot.case), "attempt": due.attempt}
        | {"block": due.slot.block, "order_in_block": due.slot.order_in_block}
    )
    samples = (SampleRow("r", 0, "first", 0, 9 * latency_ns),)
    samples += (SampleRow("r", 1, "steady", 1, latency_ns),)
    return Finished(run, samples if status == "ok" else (), final=final)


def play(plan, n_cases, become=lambda number, due: {}):
    """Make all launches that are due, each ending as `become` says; give them."""
    slots, made, order = all_slots(n_cases, plan), [], []
    while due := next_due(slots, plan, made):
        made.append(finished(due, **become(len(made), due)))
        order.append(due)
    return order


def test_launches_of_memory_come_after_all_of_latency_and_the_profiled_last():
    plan = replace(QUICK, launches=2, memory_launches=1, profile_launches=1)
    modes = [due.slot.mode for due in play(plan, 2)]
    assert modes == ["latency"] * 4 + ["memory"] * 2 + ["profile"] * 2


def test_every_slot_has_a_place_of_its_own():
    plan = replace(QUICK, launches=3, memory_launches=2, profile_launches=1)
    slots = all_slots(4, plan)
    assert len({(slot.block, slot.order_in_block) for slot in slots}) == len(slots) == 4 * 6


@pytest.mark.parametrize("status", ["device_lost", "throttled"])
def test_a_launch_that_says_nothing_of_its_case_is_taken_again_at_once(status):
    order = play(QUICK, 2, lambda number, due: {"status": status} if number == 1 else {})
    assert [due.attempt for due in order] == [1, 1, 2, 1, 1]
    assert order[1].slot == order[2].slot


def test_it_is_taken_again_a_few_times_only():
    order = play(
        replace(QUICK, launches=1, attempts=3), 1, lambda number, due: {"status": "throttled"}
    )
    assert [due.attempt for due in order] == [1, 2, 3]


def test_one_for_which_another_try_is_no_help_is_not_taken_again():
    order = play(QUICK, 1, lambda number, due: {"status": "throttled", "final": True})
    assert [due.attempt for due in order] == [1, 1]


@pytest.mark.parametrize("status", ["crash", "timeout", "output_mismatch", "unavailable"])
def test_a_launch_that_failed_is_not_taken_again(status):
    order = play(QUICK, 1, lambda number, due: {"status": status})
    assert order == [Due(slot, 1) for slot in all_slots(1, QUICK)]


EARLY = replace(QUICK, launches=20, min_launches=4, until_interval_pct=2.0, memory_launches=1)


def wobbling(*latencies_ns):
    """Let the launches of each block take these times in turn."""
    return lambda number, due: {"latency_ns": latencies_ns[due.slot.block % len(latencies_ns)]}


def blocks(order):
    return [due.slot.block for due in order if due.slot.mode == "latency"]


def test_launches_end_once_the_interval_is_narrow_and_those_of_memory_follow():
    order = play(EARLY, 2, wobbling(1000, 1001))
    assert blocks(order) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [due.slot.mode for due in order[-2:]] == ["memory"] * 2


def test_launches_go_on_while_the_interval_is_wide():
    assert blocks(play(EARLY, 1, wobbling(1000, 1500))) == list(range(20))


def test_the_widest_case_decides():
    def become(number, due):
        wide = due.slot.case == 1
        return {"latency_ns": 1000 + 500 * wide * (due.slot.block % 2)}

    assert len(blocks(play(EARLY, 2, become))) == 40


def test_it_ends_at_the_end_of_a_pair_of_blocks_only():
    plan = replace(EARLY, min_launches=5)
    assert blocks(play(plan, 1, wobbling(1000))) == list(range(6))


def test_a_case_that_never_works_does_not_keep_the_others_going():
    def become(number, due):
        return {"status": "unavailable"} if due.slot.case == 1 else {"latency_ns": 1000}

    assert len(blocks(play(EARLY, 2, become))) == 8


def test_the_interval_narrows_with_more_launches():
    wide = blocks(play(replace(EARLY, until_interval_pct=1.0), 1, wobbling(1000, 1020)))
    narrow = blocks(play(replace(EARLY, until_interval_pct=3.0), 1, wobbling(1000, 1020)))
    assert len(narrow) < len(wide) <= 20
