"""Which launch comes when, which are still due, and when there are enough. Pure."""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median, stdev

from android_bench.launch import Due, Finished, Slot
from android_bench.plan import BenchPlan

MODE_OF_METRIC = {"latency": "latency", "instructions": "count"}
REDONE = ("device_lost", "throttled")  # says nothing of the case, so it is taken again
CONFIDENCE = 0.95


def launch_order(n_cases: int, launches: int, seed: int, mode: str = "latency") -> list[Slot]:
    """Give every launch that is for the plan's metric: pairs of blocks, the second reversed.

    With a drift that is linear over a pair of blocks, each case meets the same mean of it (ABBA).
    """
    generator = random.Random(seed)
    slots: list[Slot] = []
    order: list[int] = []
    for block in range(launches):
        order = order[::-1] if block % 2 else generator.sample(range(n_cases), n_cases)
        slots += [Slot(block, place, case, mode) for place, case in enumerate(order)]
    return slots


def all_slots(n_cases: int, plan: BenchPlan) -> list[Slot]:
    """Give every launch of a session: of the metric, then of memory, then the profiled ones."""
    mode = MODE_OF_METRIC[plan.metric]
    slots = launch_order(n_cases, plan.launches, plan.seed, mode)
    block = plan.launches
    for mode, launches in (("memory", plan.memory_launches), ("profile", plan.profile_launches)):
        for _ in range(launches):
            slots += [Slot(block, place, place, mode) for place in range(n_cases)]
            block += 1
    return slots


def next_due(slots: Sequence[Slot], plan: BenchPlan, launches: Sequence[Finished]) -> Due | None:
    """Give the launch to be made next, after these; None where all is done.

    A launch that was lost or throttled is due again at once: so it stays in its block.
    """
    last = last_of_slots(launches)
    enough = latency_is_enough(slots, plan, launches)
    for slot in slots:
        if slot.mode == "latency" and enough:
            continue
        run = last.get((slot.block, slot.order_in_block))
        if run is None:
            return Due(slot, 1)
        if run.run.status in REDONE and run.run.attempt < plan.attempts and not run.final:
            return Due(slot, run.run.attempt + 1)
    return None


def last_of_slots(launches: Iterable[Finished]) -> dict[tuple[int, int], Finished]:
    """Give the last attempt of every launch that was made, by its block and place."""
    return {(one.run.block, one.run.order_in_block): one for one in launches}


def latency_is_enough(slots: Sequence[Slot], plan: BenchPlan, launches: Sequence[Finished]) -> bool:
    """Say whether every case has launches enough for the interval that was asked for.

    Decided at the end of a pair of blocks only, so that every case has met the same drift. The
    interval is that of the mean of the launches' log medians, by Student's t.
    """
    if plan.until_interval_pct is None:
        return False
    last = last_of_slots(launches)
    places = {slot.block: 0 for slot in slots if slot.mode == "latency"}
    for slot in slots:
        if slot.mode == "latency" and (slot.block, slot.order_in_block) not in last:
            places[slot.block] += 1
    whole = 0
    while places.get(whole, 1) == 0:
        whole += 1
    whole -= whole % 2
    if whole < plan.min_launches:
        return False
    medians = _medians_of_cases(one for (block, _), one in last.items() if block < whole)
    return all(_half_width_pct(one) <= plan.until_interval_pct for one in medians.values())


def _medians_of_cases(launches: Iterable[Finished]) -> Mapping[str, list[float]]:
    medians: dict[str, list[float]] = {}
    for one in launches:
        steady = [sample.latency_ns for sample in one.samples if sample.phase == "steady"]
        of_case = medians.setdefault(one.run.case_id, [])
        if one.run.status == "ok" and steady:
            of_case.append(median(steady))
    return medians


def _half_width_pct(medians: Sequence[float]) -> float:
    """Give half the interval of the middle, in % of it; 0 where every launch of a case failed."""
    if not medians:
        return 0.0
    if len(medians) < 3:
        return math.inf
    from scipy.stats import t

    logs = [math.log(one) for one in medians]
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1)) * stdev(logs) / math.sqrt(len(logs))
    return 100 * math.sinh(half) if math.isfinite(fmean(logs)) else math.inf
