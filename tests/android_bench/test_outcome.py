from dataclasses import replace

import pytest
from bench_examples import QUICK, as_text, launch_records

from android_bench.device import Completed
from android_bench.outcome import (
    LOG_LINES,
    REASON_LENGTH,
    Asked,
    judge,
    mark_out_of_memory,
    was_killed,
)

ASKED = Asked(warmup=QUICK.warmup, min_runs=QUICK.min_runs)

GOOD = as_text(launch_records())


def outcome(exit_code, stdout=GOOD, *, stderr="", **asked):
    return judge(Completed(exit_code, stdout, stderr, 1), replace(ASKED, **asked), 60)


def failed(stage, message="no"):
    return as_text([launch_records()[0], {"record": "error", "stage": stage, "message": message}])


def test_a_good_launch_is_ok_and_says_nothing_more():
    good = outcome(0)
    assert (good.status, good.reason, len(good.seen.samples)) == ("ok", None, 4)


def test_a_launch_past_its_limit_is_a_timeout_with_the_limit():
    late = outcome(None, stdout="")
    assert (late.status, late.reason) == ("timeout", "no end within 60 s")


@pytest.mark.parametrize(("code", "name"), [(139, "SIGSEGV"), (134, "SIGABRT"), (137, "memory")])
def test_a_launch_ended_by_a_signal_is_a_crash_that_names_it(code, name):
    crashed = outcome(code, stdout="")
    assert crashed.status == "crash"
    assert name in crashed.reason


def test_a_crash_after_the_last_record_is_still_a_crash():
    assert outcome(139).status == "crash"


def test_an_exit_code_that_is_no_signal_is_told_as_it_is():
    assert outcome(255, stdout="").reason == "exit code 255"


def test_a_crash_tells_the_last_line_of_standard_error():
    crashed = outcome(1, stdout="", stderr="Traceback\nModuleNotFoundError: onnxruntime\n")
    assert crashed.reason == "exit code 1: ModuleNotFoundError: onnxruntime"


def test_a_model_that_does_not_load_is_a_load_error_with_the_message():
    refused = outcome(3, failed("load", "bad graph"))
    assert (refused.status, refused.reason) == ("load_error", "load failed: bad graph")


def test_an_inference_that_fails_is_a_crash_with_the_message():
    crashed = outcome(4, failed("run", "bad index"))
    assert (crashed.status, crashed.reason) == ("crash", "run failed: bad index")


def test_success_after_an_error_is_bad_output():
    assert outcome(0, failed("load")).status == "bad_output"


def test_broken_output_with_success_is_bad_output_that_names_the_line():
    broken = outcome(0, stdout=GOOD + "garbage\n")
    assert broken.status == "bad_output"
    assert "line 14 of the runner's output" in broken.reason


@pytest.mark.parametrize(
    "asked",
    [
        {"intra_op_threads": 4},
        {"warmup": 9},
        {"graph_opt_level": "basic"},
        {"config": {"session.a": "1"}},
        {"provider": "nnapi"},
        {"provider_options": {"flags": "1"}},
        {"mode": "memory"},
        {"cores_asked": "f0"},
    ],
)
def test_a_runner_that_did_something_else_than_asked_is_bad_output(asked):
    assert outcome(0, **asked).status == "bad_output"


def test_a_reason_is_one_line_of_bounded_length():
    reason = outcome(3, failed("load", "a\nb" * REASON_LENGTH)).reason
    assert len(reason) == REASON_LENGTH
    assert "\n" not in reason


def test_a_provider_that_the_device_lacks_is_unavailable_with_the_message():
    absent = outcome(5, failed("provider", "no libneuralnetworks.so"))
    assert (absent.status, absent.reason) == ("unavailable", "no libneuralnetworks.so")


@pytest.mark.parametrize(("code", "number"), [(139, 11), (137, 9), (1, None), (255, None)])
def test_a_signal_is_told_by_its_number(code, number):
    assert outcome(code, stdout="").signal == number


def test_what_failed_keeps_the_last_lines_of_its_log():
    log = "".join(f"line {number}\n" for number in range(100))
    tail = outcome(139, stdout="", stderr=log).log_tail
    assert tail.splitlines() == [f"line {number}" for number in range(100 - LOG_LINES, 100)]
    assert outcome(0, stderr=log).log_tail is None


def test_a_killed_launch_keeps_the_memory_that_it_told_of_and_no_time():
    lines = GOOD.splitlines(keepends=True)
    killed = outcome(137, stdout="".join(lines[:6]) + lines[6][:10])
    assert was_killed(killed)
    assert [one.phase for one in killed.seen.memory] == ["baseline", "loaded"]
    assert killed.seen.samples == ()


def test_a_kill_with_evidence_is_one_for_want_of_memory():
    killed = mark_out_of_memory(outcome(137, stdout=""), "lmkd: Kill 'ort_bench' (4242)")
    assert killed.status == "oom_killed"
    assert killed.reason.endswith("; lmkd: Kill 'ort_bench' (4242)")
    assert not was_killed(outcome(139, stdout=""))
