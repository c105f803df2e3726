"""Verdicts on counted instructions, which repeat: exact, pinned, and without statistics."""

import json
from dataclasses import replace

import pytest
from count_rows import LINE, emulated

from deploy.errors import RowsError
from reports.budgets import Budget, Budgets, default_budgets
from reports.ci import as_json, bencher, github_action_benchmark, junit
from reports.count_baseline import baseline_text, read_baseline, write_baseline
from reports.count_cases import baseline_of, counted_cases
from reports.count_gate import baseline_changes, judge_counts
from reports.frame import load

AGAIN = "mofa-deploy gate --rebaseline"


def changed(kind, **fields):
    return LINE | {kind: {**LINE[kind], **fields}}


@pytest.fixture
def judge(write_counts):
    """Hold a session against a baseline of LINE."""

    def of(cases, budgets=None, **options):
        baseline = baseline_of(load(write_counts(LINE, "old")))
        current = load(write_counts(cases, "new", **options))
        return judge_counts(baseline, current, budgets or default_budgets(), AGAIN)

    return of


def findings(verdict):
    return {(one.case, one.metric): one for one in verdict.findings}


def test_the_same_counts_pass(judge):
    verdict = judge(LINE)
    assert (verdict.verdict, verdict.exit_code) == ("pass", 0)
    assert {one.reason for one in verdict.findings} == {"the same"}
    assert len(verdict.findings) == 6


@pytest.mark.parametrize(
    ("more", "expected"), [(0.0099, "pass"), (0.011, "regression"), (-0.011, "improvement")]
)
def test_one_percent_is_tolerated_by_default(judge, more, expected):
    count = round(53_000_000 * (1 + more))
    assert judge(changed("plain", instructions=count)).verdict == expected


def test_a_regression_names_how_many_more_and_which_kinds(judge):
    verdict = judge(changed("int8-arm-cpu", instructions=40_000_000, dot=0))
    one = findings(verdict)["net/int8-arm-cpu", "instructions"]
    assert (one.verdict, one.change, one.baseline.value) == ("regression", 25.0, 32.0)
    assert one.reason.startswith("25 % more instructions, budget 1 % (dot-product 5.000 to 0 M")
    assert verdict.exit_code == 4


def test_the_session_has_a_budget_of_its_own(judge):
    verdict = judge(changed("plain", session=440_000_000))
    one = findings(verdict)["net/plain", "session_instructions"]
    assert (one.verdict, one.reason) == ("regression", "10 % more instructions, budget 2 %")
    assert findings(verdict)["net/plain", "instructions"].verdict == "pass"


def test_budgets_are_those_of_the_metric_and_the_case(judge):
    budgets = Budgets(
        {"instructions": Budget(30.0)}, (("net/int8-*", "instructions", Budget(5.0)),)
    )
    heavier = {
        kind: {**LINE[kind], "instructions": 1.2 * LINE[kind]["instructions"]} for kind in LINE
    }
    whole = {
        kind: case | {"instructions": int(case["instructions"])} for kind, case in heavier.items()
    }
    verdict = judge(whole, budgets)
    assert {one.case: one.verdict for one in verdict.findings} == {
        "net/plain": "pass",
        "net/fp32": "pass",
        "net/int8-arm-cpu": "regression",
    }


def test_all_budgets_off_is_an_error(judge):
    with pytest.raises(RowsError, match="nothing was judged"):
        judge(LINE, Budgets({}))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("onnxruntime", "1.2.4", "onnxruntime differs: 1.2.3 in the baseline and 1.2.4 now"),
        ("qemu", "8.2.2", "qemu differs: 7.2.22 in the baseline and 8.2.2 now"),
        ("native_sha256", "d" * 64, f"native_sha256 differs: {'c' * 12}… in the baseline"),
        ("new_field", "x", "new_field differs: nothing in the baseline and x now"),
    ],
)
def test_other_pins_are_invalid_with_both_values_and_the_command(judge, field, value, said):
    verdict = judge(LINE, device=emulated(**{field: value}))
    (one,) = verdict.findings
    assert (verdict.verdict, verdict.exit_code) == ("invalid", 5)
    assert said in one.reason
    assert one.reason.endswith(AGAIN)


def test_another_processor_is_invalid(judge):
    assert "cpu differs: a76 in the baseline and a53 now" in (
        judge(LINE, device=emulated("a53")).findings[0].reason
    )


def test_a_case_that_was_not_counted_is_invalid(judge):
    kept = {kind: case for kind, case in LINE.items() if kind != "fp32"}
    one = findings(judge(kept))["net/fp32 at 1x3x64x64", "case"]
    assert (one.verdict, one.reason) == ("invalid", "in the baseline, but not counted now")


def test_a_launch_that_failed_is_invalid_and_says_how(judge):
    verdict = judge(LINE, failed={"fp32": "crash"})
    one = findings(verdict)["net/fp32 at 1x3x64x64", "case"]
    assert (one.verdict, one.reason) == ("invalid", "not counted (crash: ended early)")


def test_a_launch_that_failed_before_it_knew_its_input_is_told_with_its_case(judge):
    verdict = judge(changed("fp32", input_shape=None), failed={"fp32": "load_error"})
    one = findings(verdict)["net/fp32 at 1x3x64x64", "case"]
    assert one.reason == "not counted (load_error: ended early)"
    assert not any("new" in note for note in verdict.notes)


def test_a_new_case_that_failed_is_invalid(judge):
    verdict = judge(LINE | {"fp16": LINE["fp32"]}, failed={"fp16": "crash"})
    assert findings(verdict)["net/fp16", "case"].verdict == "invalid"


def test_a_wrong_output_is_invalid_however_light_it_is(judge):
    lighter = changed("fp32", instructions=1_000_000, output_ok=False)
    one = findings(judge(lighter))["net/fp32 at 1x3x64x64", "case"]
    assert (one.verdict, one.reason) == ("invalid", "wrong output in 1 of 1 launches")


def test_a_new_case_passes_and_is_named(judge):
    verdict = judge(LINE | {"fp16": LINE["fp32"]})
    assert verdict.verdict == "pass"
    assert "net fp16 1x3x64x64: new" in verdict.notes[0]


def test_another_input_size_is_another_case(judge):
    verdict = judge(changed("plain", input_shape="[1, 3, 128, 128]"))
    assert findings(verdict)["net/plain at 1x3x64x64", "case"].verdict == "invalid"


def test_the_verdict_says_that_no_statistics_were_needed(judge):
    assert "compared exactly, without statistics" in judge(LINE).notes[-1]


def test_what_was_gained_comes_with_the_command_that_keeps_it(judge):
    verdict = judge(changed("plain", instructions=30_000_000))
    assert any(AGAIN in note for note in verdict.notes)


def test_machines_get_counts_and_not_millions(judge):
    verdict = judge(LINE)
    assert bencher(verdict)["net/plain"]["instructions"]["value"] == 53e6
    assert as_json(verdict)["findings"][0]["unit"] == "M"
    assert {one["unit"] for one in github_action_benchmark(verdict)} == {"M instructions"}
    assert junit(verdict).count("<testcase") == 6


def test_a_latency_session_holds_no_counts(write_session):
    frames = load(write_session({"plain": {"latency_ms": 1.0}}))
    with pytest.raises(RowsError, match="no instructions were counted there"):
        counted_cases(frames)


def test_two_cases_of_one_name_are_refused(write_counts):
    twins = {"plain": LINE["plain"], "other": {**LINE["fp32"], "kind": "plain"}}
    with pytest.raises(RowsError, match="2 cases are net plain 1x3x64x64"):
        counted_cases(load(write_counts(twins)))


def test_the_file_gives_back_what_was_written(write_counts, tmp_path):
    baseline = baseline_of(load(write_counts(LINE)))
    path = tmp_path / "deep" / "baseline.json"
    write_baseline(baseline, path)
    assert read_baseline(path) == baseline
    record = json.loads(path.read_text())
    assert record["taken_with"]["cpu"] == "a76"
    plain = record["cases"]["net plain 1x3x64x64"]
    assert plain["session"] == {"instructions": 400_000_000}
    assert plain["steady"]["moved_bytes"] == 4 * 53_000_000


def test_a_case_that_went_wrong_becomes_no_baseline(write_counts):
    frames = load(write_counts(LINE, failed={"fp32": "timeout"}))
    with pytest.raises(RowsError, match=r"net fp32 1x3x64x64: not counted \(timeout"):
        baseline_of(frames)


BROKEN = {
    "nothing there": (None, "no baseline at"),
    "no JSON": ("{", "is not JSON"),
    "something else": ('{"cases": {}}', "is no baseline of instructions"),
    "a list": ("[]", "is no baseline of instructions"),
    "a newer format": ('{"metric": "instructions", "format": 2}', "has format 2, known is 1"),
    "no cases": (
        '{"metric": "instructions", "format": 1, "taken_with": {}, "cases": {}}',
        "has no taken_with or no cases",
    ),
}


def test_a_folder_is_no_baseline(tmp_path):
    with pytest.raises(RowsError, match="is a folder, and a baseline is a file"):
        read_baseline(tmp_path)


@pytest.mark.parametrize(("text", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_file_that_is_no_baseline_is_said_to_be_none(tmp_path, text, problem):
    path = tmp_path / "baseline.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RowsError, match=problem):
        read_baseline(path)


@pytest.mark.parametrize(
    ("old", "new"), [("53000000", '"many"'), ("53000000", "-1"), ("53000000", "0")]
)
def test_a_count_that_is_none_names_the_case(write_counts, tmp_path, old, new):
    path = tmp_path / "baseline.json"
    path.write_text(baseline_text(baseline_of(load(write_counts(LINE)))).replace(old, new))
    with pytest.raises(RowsError, match="case 'net plain 1x3x64x64'"):
        read_baseline(path)


def test_what_a_new_baseline_changes_is_told_line_by_line(write_counts):
    old = baseline_of(load(write_counts(LINE, "old")))
    cases = {"plain": {**LINE["plain"], "instructions": 50_000_000}, "fp32": LINE["fp32"]}
    new = baseline_of(load(write_counts(cases, "new", device=emulated(qemu="8.2.2"))))
    lines = baseline_changes(old, new)
    assert lines[0] == "qemu differs: 7.2.22 in the baseline and 8.2.2 now"
    assert any("int8-arm-cpu 1x3x64x64: gone, it was 32.00 M" in line for line in lines)
    assert any("53.00 M, 400.0 M for the session; now 50.00 M" in line for line in lines)
    assert not any("fp32" in line for line in lines)
    assert baseline_changes(old, old) == []


def test_a_session_that_was_not_counted_now_is_invalid(judge, write_counts):
    frames = load(write_counts(LINE, "mine"))
    bare = replace(frames, counts=frames.counts[frames.counts["phase"] != "session"])
    verdict = judge_counts(baseline_of(frames), bare, default_budgets(), AGAIN)
    assert findings(verdict)["net/plain", "session_instructions"].verdict == "invalid"
