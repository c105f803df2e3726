"""Version 3 of the protocol: counts of an emulator in place of times."""

import pytest
from bench_examples import as_text, launch_records
from hypothesis import given
from hypothesis import strategies as st

from android_bench.protocol import INT64_MAX, Launch, parse_launch, parse_so_far
from android_bench.records import Count
from deploy.errors import BenchOutputError

KINDS = ("instructions", "simd", "loads", "stores", "moved_bytes", "dot", "mmla", "fmla")
NUMBERS = {kind: 10 + place for place, kind in enumerate((*KINDS, "branches"))}
PROFILE = {"record": "profile", "file": "profile.json", "bytes": 9}


def count_record(place, warmup, **values):
    phases = ["session", "first", *["warmup"] * warmup]
    phase = phases[place] if place < len(phases) else "steady"
    iteration = place - 1 if place else None
    return {"record": "count", "phase": phase, "iteration": iteration, **NUMBERS, **values}


def counted_records(mode="count", warmup=1, steady=2, **values):
    """Give the records of a launch that ended well and was counted."""
    made = launch_records(warmup, steady, protocol=3, mode=mode)
    kept = [one for one in made if one["record"] not in ("memory", "sample", "peak")]
    begin, session, output, done = kept
    counts = [count_record(place, warmup, **values) for place in range(2 + warmup + steady)]
    left = [PROFILE] if mode == "profile" else []
    return [begin, {**session, "create_ns": None}, *counts, output, *left, done]


def refusal(made):
    with pytest.raises(BenchOutputError) as refused:
        parse_launch(as_text(made))
    return refused.value.problem


def test_counts_are_of_the_session_and_of_each_inference():
    launch = parse_launch(as_text(counted_records()))
    assert launch.counts[0] == Count("session", None, *NUMBERS.values())
    assert [(one.phase, one.iteration) for one in launch.counts[1:]] == [
        ("first", 0), ("warmup", 1), ("steady", 2), ("steady", 3)
    ]  # fmt: skip
    assert (launch.session.create_ns, launch.peak, launch.samples) == (None, None, ())


def test_a_counted_profile_has_counts_too_and_no_peak():
    launch = parse_launch(as_text(counted_records("profile")))
    assert len(launch.counts) == 5
    assert (launch.profile.bytes, launch.peak) == (9, None)


@given(
    warmup=st.integers(0, 5),
    steady=st.integers(1, 10),
    values=st.fixed_dictionaries({kind: st.integers(1, INT64_MAX) for kind in NUMBERS}),
)
def test_any_good_counted_launch_is_read_to_the_last_number(warmup, steady, values):
    launch = parse_launch(as_text(counted_records("count", warmup, steady, **values)))
    assert len(launch.counts) == 2 + warmup + steady
    assert {one.instructions for one in launch.counts} == {values["instructions"]}
    assert {one.moved_bytes for one in launch.counts} == {values["moved_bytes"]}


@given(st.sampled_from(["count", "profile"]), st.data())
def test_a_counted_launch_that_lost_a_line_is_refused(mode, data):
    made = counted_records(mode)
    del made[data.draw(st.integers(0, len(made) - 1))]
    refusal(made)


@given(st.data())
def test_a_counted_launch_with_a_line_twice_is_refused(data):
    made = counted_records()
    twice = data.draw(st.integers(0, len(made) - 1))
    refusal([*made[:twice], made[twice], *made[twice:]])


@given(st.permutations(counted_records()))
def test_counts_in_any_other_order_are_a_launch_or_refused(made):
    try:
        assert isinstance(parse_launch(as_text(made)), Launch)
    except BenchOutputError as error:
        assert error.problem.startswith("line ")


@given(st.data(), st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_any_value_in_any_place_of_a_counted_launch_is_a_launch_or_refused(data, value):
    made = counted_records()
    record = data.draw(st.sampled_from(made))
    record[data.draw(st.sampled_from(sorted(record)))] = value
    try:
        assert isinstance(parse_launch(as_text(made)), Launch)
    except BenchOutputError as error:
        assert error.problem.startswith("line ")


@pytest.mark.parametrize("name", ["sample", "memory", "peak"])
def test_what_needs_a_clock_or_memory_has_no_place_among_counts(name):
    timed = next(one for one in launch_records() if one["record"] == name)
    made = counted_records("profile")
    assert f"`{name}` where instructions are counted" in refusal([*made[:2], timed, *made[2:]])


@pytest.mark.parametrize("mode", ["latency", "memory", "check"])
def test_a_session_of_unknown_time_is_refused_where_time_is_measured(mode):
    made = launch_records(protocol=3, mode=mode)
    made[3]["create_ns"] = None
    assert "`create_ns` is null where time is measured" in refusal(made)


def test_memory_before_a_counted_session_is_refused():
    begin, *rest = counted_records("profile")
    memory = launch_records()[1]
    assert "`create_ns` is null where time is measured" in refusal([begin, memory, *rest])


def test_a_time_of_the_session_is_refused_where_instructions_are_counted():
    made = counted_records()
    made[1]["create_ns"] = 7
    assert "`create_ns` is 7 where instructions are counted" in refusal(made)


def test_a_count_among_times_is_refused():
    made = launch_records(protocol=3)
    assert "`count` where time is measured" in refusal([*made[:4], count_record(0, 1), *made[4:]])


@pytest.mark.parametrize(
    ("place", "values", "says"),
    [
        (2, {"iteration": 0}, "iteration 0 where None is due"),
        (3, {"iteration": None}, "iteration None where 0 is due"),
        (3, {"phase": "steady"}, "phase 'steady' where first is due"),
        (2, {"phase": "first"}, "phase 'first' where session is due"),
        (4, {"instructions": 0}, "the counter did not count"),
        (4, {"dot": -1}, "`dot` is"),
        (4, {"dot": None}, "`dot` is"),
        (-1, {"n": 5}, "n is '5', but there are 4 counts"),
        (0, {"min_runs": 3}, "2 steady counts, fewer than 3"),
    ],
)
def test_a_count_that_does_not_fit_is_refused_with_the_reason(place, values, says):
    made = counted_records()
    made[place].update(values)
    assert says in refusal(made)


def test_of_a_counted_launch_that_was_killed_no_count_is_kept():
    text = as_text(counted_records())
    assert parse_so_far(text[: text.index('"output"')]).counts == ()


@pytest.mark.parametrize("version", [1, 2])
def test_launches_of_older_versions_are_still_read(version):
    launch = parse_launch(as_text(launch_records(protocol=version)))
    assert (len(launch.samples), launch.counts) == (4, ())
