import json

import pytest
from bench_examples import as_text, launch_records
from hypothesis import given
from hypothesis import strategies as st

from android_bench.protocol import INT64_MAX, Failure, Launch, Memory, Sample, parse_launch
from deploy.errors import BenchOutputError


def refusal(text):
    with pytest.raises(BenchOutputError) as refused:
        parse_launch(text)
    return refused.value.problem


def changed(name, **values):
    """The text of a good launch in which the first record of that name has other values."""
    records = launch_records()
    one = next(one for one in records if one["record"] == name)
    one.update(values)
    return as_text(records)


def without(name, key):
    records = launch_records()
    del next(one for one in records if one["record"] == name)[key]
    return as_text(records)


def test_a_good_launch_gives_what_was_printed():
    launch = parse_launch(as_text(launch_records()))
    assert launch.begin.runtime == "stand-in"
    assert launch.session.create_ns == 7
    assert launch.memory[0] == Memory("baseline", 1, 5, 3, None)
    assert launch.samples == (
        Sample(0, "first", 0, 1000),
        Sample(1, "warmup", 10, 1000),
        Sample(2, "steady", 20, 1000),
        Sample(3, "steady", 30, 1000),
    )
    assert (launch.output.sha256, launch.peak.rss_bytes, launch.peak.reset) == ("ab", 9, True)
    assert launch.failure is None


@given(
    warmup=st.integers(0, 5),
    steady=st.integers(1, 20),
    latency_ns=st.integers(1, INT64_MAX),
    extra=st.dictionaries(st.sampled_from(["new_key", "core"]), st.none() | st.text()),
    with_memory=st.booleans(),
)
def test_any_good_launch_is_read_and_new_keys_are_left_aside(
    warmup, steady, latency_ns, extra, with_memory
):
    records = launch_records(warmup, steady, latency_ns)
    records = [extra | one for one in records if with_memory or one["record"] != "memory"]
    launch = parse_launch(as_text(records))
    assert len(launch.samples) == 1 + warmup + steady
    assert {one.latency_ns for one in launch.samples} == {latency_ns}
    assert len(launch.memory) == (4 if with_memory else 0)


def test_carriage_returns_of_an_old_device_shell_do_no_harm():
    text = as_text(launch_records())
    assert parse_launch(text.replace("\n", "\r\n")) == parse_launch(text)


@given(st.data())
def test_output_that_was_cut_off_anywhere_is_refused(data):
    text = as_text(launch_records()).rstrip()
    cut = data.draw(st.integers(0, len(text) - 1))
    refusal(text[:cut])


@given(st.data())
def test_output_that_lost_a_line_is_refused(data):
    records = launch_records()
    needed = [i for i, one in enumerate(records) if one["record"] != "memory"]
    del records[data.draw(st.sampled_from(needed))]
    refusal(as_text(records))


@given(st.data())
def test_output_with_a_line_twice_is_refused(data):
    records = launch_records()
    twice = data.draw(st.integers(0, len(records) - 1))
    records.insert(twice, records[twice])
    refusal(as_text(records))


@given(st.data())
def test_garbage_is_refused_by_the_number_of_its_line(data):
    lines = as_text(launch_records()).splitlines()
    place = data.draw(st.integers(0, len(lines) - 1))
    garbage = data.draw(st.sampled_from(["", "{", "E/onnxruntime: hello", "3", "[]", "{}", "null"]))
    lines.insert(place, garbage)
    assert f"line {place + 1} of" in refusal("\n".join(lines))


@given(st.text())
def test_any_text_at_all_is_a_launch_or_refused(text):
    refusal(text)


@given(st.permutations(launch_records()))
def test_records_in_any_other_order_are_a_launch_or_refused(records):
    try:
        assert isinstance(parse_launch(as_text(records)), Launch)
    except BenchOutputError as error:
        assert error.problem.startswith("line ")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.data(), json_values)
def test_any_value_in_any_place_is_a_launch_or_refused(data, value):
    records = launch_records()
    record = data.draw(st.sampled_from(records))
    record[data.draw(st.sampled_from(sorted(record)))] = value
    try:
        assert isinstance(parse_launch(as_text(records)), Launch)
    except BenchOutputError as error:
        assert error.problem.startswith("line ")


def test_nesting_too_deep_to_read_is_refused():
    assert "line 1 of" in refusal("[" * 200_000)


def test_empty_output_is_refused():
    assert "empty" in refusal("\n")


def test_a_wrong_count_names_both_counts():
    assert "n is '7', but there are 4 samples" in refusal(changed("done", n=7))


def test_a_later_protocol_is_refused_by_its_number_whatever_else_it_changed():
    text = json.dumps({"record": "begin", "protocol": 4, "everything": "else"})
    assert "protocol 4, this version reads up to 3" in refusal(text)


def test_too_few_steady_samples_are_refused():
    assert "2 steady samples, fewer than 5" in refusal(changed("begin", min_runs=5))


def test_a_latency_of_zero_is_refused():
    assert "the clock did not move" in refusal(changed("sample", latency_ns=0))


@pytest.mark.parametrize("wrong", [True, -1, 1.5, "9", None, INT64_MAX + 1])
def test_a_number_that_no_column_can_hold_is_refused_by_name(wrong):
    assert "`rss_bytes` is" in refusal(changed("peak", rss_bytes=wrong))


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        ("peak", {"reset": 1}, "`reset` is '1', not true or false"),
        ("begin", {"runtime": None}, "`runtime` is 'null', not text"),
        ("begin", {"mode": "lunch"}, "mode 'lunch' is none of"),
        ("begin", {"config": {"a": 1}}, "`config` is"),
        ("begin", {"protocol": "one"}, "not a version"),
        ("begin", {"protocol": 0}, "not a version"),
        ("memory", {"phase": "later"}, "phase 'later' is none of"),
        ("sample", {"phase": "steady"}, "phase 'steady' where first is due"),
        ("sample", {"iteration": 3}, "iteration 3 where 0 is due"),
        ("output", {"record": "outputs"}, "`outputs` is not a record"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_with_the_reason(name, values, says):
    assert says in refusal(changed(name, **values))


def test_a_missing_key_is_named():
    assert "`session` has no `create_ns`" in refusal(without("session", "create_ns"))


def test_an_error_stands_for_all_that_would_have_followed():
    records = [*launch_records()[:3], {"record": "error", "stage": "load", "message": "no"}]
    launch = parse_launch(as_text(records))
    assert launch.failure == Failure("load", "no")
    assert (launch.session, launch.samples) == (None, ())


def test_an_error_of_an_unknown_stage_is_refused():
    records = [launch_records()[0], {"record": "error", "stage": "lunch", "message": "no"}]
    assert "stage 'lunch' is none of load, run, provider" in refusal(as_text(records))


def test_nothing_may_follow_an_error():
    records = [launch_records()[0], {"record": "error", "stage": "run", "message": "no"}]
    assert "`done` after the end" in refusal(as_text([*records, {"record": "done", "n": 0}]))
