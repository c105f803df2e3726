from hypothesis import given
from hypothesis import strategies as st

from android_bench.session import launch_order

sessions = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32))


def blocks_of(n_cases, launches, seed):
    slots = launch_order(n_cases, launches, seed)
    return [[slot.case for slot in slots if slot.block == block] for block in range(launches)]


@given(sessions)
def test_every_block_launches_every_case_once(session):
    n_cases, launches, _ = session
    blocks = blocks_of(*session)
    assert len(blocks) == launches
    assert all(sorted(block) == list(range(n_cases)) for block in blocks)


@given(sessions)
def test_every_second_block_is_the_one_before_it_reversed(session):
    blocks = blocks_of(*session)
    for first, second in zip(blocks[::2], blocks[1::2], strict=False):
        assert second == first[::-1]


@given(sessions)
def test_over_a_pair_of_blocks_a_linear_drift_weighs_on_all_cases_alike(session):
    n_cases, launches, seed = session
    slots = launch_order(n_cases, launches, seed)
    for start in range(0, launches // 2 * 2 * n_cases, 2 * n_cases):
        moments = dict.fromkeys(range(n_cases), 0)
        for moment, slot in enumerate(slots[start : start + 2 * n_cases]):
            moments[slot.case] += moment
        assert len(set(moments.values())) == 1


@given(sessions)
def test_places_count_up_within_each_block(session):
    n_cases, launches, seed = session
    places = [(slot.block, slot.order_in_block) for slot in launch_order(n_cases, launches, seed)]
    assert places == [(block, place) for block in range(launches) for place in range(n_cases)]


@given(sessions)
def test_the_same_seed_gives_the_same_order(session):
    assert launch_order(*session) == launch_order(*session)


def test_the_seed_and_the_pair_change_the_order():
    assert len({str(blocks_of(6, 2, seed)) for seed in range(20)}) > 10
    assert len({str(block) for block in blocks_of(6, 40, 0)}) > 10
