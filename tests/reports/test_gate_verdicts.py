"""Verdicts on written sessions; how often the rule errs is held in test_gate_rule.py."""

import re
from collections.abc import Callable

import pytest

from deploy.errors import RowsError
from reports.budgets import Budget, Budgets, default_budgets
from reports.frame import load
from reports.gate import Pair, Verdict, confirm, judge_interleaved, judge_sessions, to_confirm
from reports.gate_findings import WHOLE_CASE, Finding

ARMS = {"net/plain": Pair("case-old", "case-new")}
MIB = 2**20


@pytest.fixture
def judge(write_session):
    """Judge a session in which `old` and `new` are the arms; give the verdict."""

    def of(old=None, new=None, budgets=None, force=False, **options) -> Verdict:
        arms = {
            "old": {"latency_ms": 10.0, "kind": "plain", **(old or {})},
            "new": {"latency_ms": 10.0, "kind": "plain", **(new or {})},
        }
        frames = load(write_session(arms, **{"spread": 0.005, **options}))
        return judge_interleaved(frames, ARMS, budgets or default_budgets(), force=force)

    return of


@pytest.fixture
def judge_two(write_session):
    """Judge two sessions of `plain`; give the verdict."""

    def of(old=None, new=None, *, force=False, plans=(), new_options=None, **options) -> Verdict:
        sides = []
        for name, fields in (("s-old", old), ("s-new", new)):
            mine = (new_options or {}) if name == "s-new" else {}
            case = {"plain": {"latency_ms": 10.0, **(fields or {})}}
            session = write_session(case, name, **{"spread": 0.005, **options, **mine})
            sides.append(load(session))
        return judge_sessions(*sides, default_budgets(), unlike_plans=plans, force=force)

    return of


def metric(verdict: Verdict, name: str) -> Finding:
    (found,) = [one for one in verdict.findings if one.metric == name]
    return found


def test_equal_sides_pass_with_0(judge):
    verdict = judge()
    assert {one.verdict for one in verdict.findings} == {"pass"}
    assert (verdict.verdict, verdict.exit_code) == ("pass", 0)


def test_every_metric_that_was_measured_is_judged(judge):
    counted = {"nodes_total": 10, "nodes_on_provider": 9}
    found = [one.metric for one in judge(counted, counted).findings]
    assert found == ["latency", "memory", "psnr", "coverage", "size"]


def test_a_slower_model_is_a_regression_with_4(judge):
    verdict = judge(new={"latency_ms": 11.0})
    found = metric(verdict, "latency")
    assert (found.verdict, verdict.exit_code) == ("regression", 4)
    assert found.change == pytest.approx(10, abs=1)
    assert found.low > 2
    assert found.paired
    assert re.fullmatch(r"worse by \d+\.\d %, at least \d\.\d %; budget 2 %", found.reason)


def test_a_faster_model_is_an_improvement_with_0(judge):
    verdict = judge(new={"latency_ms": 9.0})
    assert metric(verdict, "latency").verdict == "improvement"
    assert (verdict.verdict, verdict.exit_code) == ("improvement", 0)


def test_a_slowdown_within_the_budget_passes(judge):
    generous = Budgets({"latency": Budget(15.0, 20.0, 3.0)})
    assert judge(new={"latency_ms": 11.0}, budgets=generous).verdict == "pass"


def test_noise_that_hides_a_slowdown_is_inconclusive_with_5(judge):
    verdict = judge(new={"latency_ms": 10.4}, spread=0.05)
    found = metric(verdict, "latency")
    assert (found.verdict, verdict.exit_code) == ("inconclusive", 5)
    assert found.needed > 8
    assert f"about {found.needed} launches a side would decide" in found.reason


def test_too_few_launches_are_inconclusive_and_say_how_many(judge):
    found = metric(judge(launches=2), "latency")
    assert (found.verdict, found.needed) == ("inconclusive", 6)


def test_more_memory_is_a_regression(judge):
    verdict = judge(new={"peak_rss_bytes": 140 * MIB})
    assert metric(verdict, "memory").verdict == "regression"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("psnr", {"psnr_db": 30.5}, {"psnr_db": 30.4}),
        ("size", {"model_bytes": 1000}, {"model_bytes": 1011}),
        (
            "coverage",
            {"nodes_total": 100, "nodes_on_provider": 90},
            {"nodes_total": 100, "nodes_on_provider": 89},
        ),
    ],
)
def test_what_never_varies_is_compared_exactly(judge, name, old, new):
    assert metric(judge(old, new, launches=1), name).verdict == "regression"


def test_what_never_varies_and_did_not_is_the_same(judge):
    reasons = {one.metric: one.reason for one in judge(launches=1).findings}
    assert (reasons["psnr"], reasons["size"]) == ("the same", "the same")


def test_a_better_score_is_an_improvement(judge):
    found = metric(judge({"psnr_db": 30.0}, {"psnr_db": 30.5}, launches=1), "psnr")
    assert found.verdict == "improvement"


def test_a_drop_within_its_budget_passes(judge):
    assert metric(judge({"psnr_db": 30.5}, {"psnr_db": 30.46}), "psnr").verdict == "pass"


def test_a_metric_whose_budget_is_off_is_not_judged(judge):
    verdict = judge(new={"latency_ms": 20.0}, budgets=Budgets({"size": Budget(1.0)}))
    assert [one.metric for one in verdict.findings] == ["size"]


def test_all_budgets_off_judge_nothing_and_are_refused(judge):
    with pytest.raises(RowsError, match="nothing was judged"):
        judge(budgets=Budgets({}))


def test_a_psnr_that_got_lost_is_invalid(judge):
    assert metric(judge(new={"psnr_db": None}), "psnr").verdict == "invalid"


@pytest.mark.parametrize("nothing", [None, 0])
def test_a_side_without_memory_is_not_judged_by_it(judge, nothing):
    assert metric(judge(new={"peak_rss_bytes": nothing}), "memory").verdict == "invalid"
    found = judge(old={"peak_rss_bytes": nothing}).findings
    assert "memory" not in [one.metric for one in found]


def test_scores_on_other_images_are_not_compared(judge):
    found = metric(judge(new={"degraded_psnr_db": 19.0}), "psnr")
    assert (found.verdict, found.reason) == ("invalid", "scored on other images on each side")


def test_a_wrong_output_is_invalid_and_not_slower(judge):
    failed = {("new", 0): "output_mismatch"}
    verdict = judge(new={"latency_ms": 20.0}, failed=failed)
    (found,) = verdict.findings
    assert (found.metric, found.verdict, verdict.exit_code) == (WHOLE_CASE, "invalid", 5)
    assert found.reason == "current: wrong output in 1 of 8 launches"


def test_an_output_that_was_checked_and_is_wrong_is_invalid(judge):
    verdict = judge(new={"output_checked": True, "output_ok": False})
    assert verdict.verdict == "invalid"


@pytest.mark.parametrize("status", ["crash", "timeout", "throttled", "device_lost", "oom_killed"])
def test_launches_that_fail_are_invalid_and_not_slower(judge, status):
    failed = {("new", block): status for block in range(3)}
    (found,) = judge(new={"latency_ms": 20.0}, failed=failed).findings
    assert found.verdict == "invalid"
    assert found.reason == f"current: 3 of 8 launches failed ({status}: 3; ended early)"


def test_launches_marked_as_throttled_do_not_count(judge):
    (found,) = judge(new={"throttled": True}).findings
    assert found.reason == "current: 8 of 8 launches failed (throttled: 8)"


def test_a_failure_or_two_are_told_and_their_pairs_left_out(judge):
    verdict = judge(failed={("new", 0): "timeout", ("old", 3): "crash"})
    assert metric(verdict, "latency").n == 6
    assert "net/plain: 1 of 8 launches failed (timeout: 1; ended early)" in verdict.notes


def test_a_launch_taken_again_is_no_failure(judge, write_session, rewrite):
    arms = {name: {"latency_ms": 10.0, "kind": "plain"} for name in ("old", "new")}
    folder = write_session(arms, spread=0.005, failed={("new", 1): "device_lost"})

    def retried(runs):
        moved = runs["run_id"].eq("s1/new/2")
        return runs.assign(block=runs["block"].mask(moved, 1))

    rewrite(folder, "runs", retried)
    verdict = judge_interleaved(load(folder), ARMS, default_budgets())
    assert metric(verdict, "latency").n == 7
    assert not [note for note in verdict.notes if "failed" in note]


@pytest.mark.parametrize("mode", ["memory", "profile"])
def test_only_launches_that_measure_latency_count(write_session, rewrite, mode):
    arms = {name: {"latency_ms": 10.0, "kind": "plain"} for name in ("old", "new")}
    folder = write_session(arms, spread=0.005)
    rewrite(folder, "runs", lambda runs: runs.assign(mode=mode).where(runs["block"] > 6, runs))
    verdict = judge_interleaved(load(folder), ARMS, default_budgets())
    assert (metric(verdict, "latency").n, metric(verdict, "memory").n) == (7, 7)


def test_an_arm_that_was_not_measured_is_invalid(judge, write_session):
    frames = load(write_session({"old": {"latency_ms": 10.0}}))
    verdict = judge_interleaved(frames, ARMS, default_budgets())
    assert verdict.findings[0].reason == "not measured on both sides"
    assert verdict.exit_code == 5


def test_two_sessions_are_compared_unpaired_and_say_so(judge_two):
    verdict = judge_two(new={"latency_ms": 12.0})
    found = metric(verdict, "latency")
    assert (found.verdict, found.paired) == ("regression", False)
    assert "budget 5 %" in found.reason
    assert any("measured in two sessions" in note for note in verdict.notes)


def test_a_drift_between_two_sessions_is_no_alarm(judge_two):
    assert judge_two(new={"latency_ms": 10.3}).verdict == "pass"


def test_a_case_that_is_no_longer_measured_is_invalid(write_session):
    both = {"plain": {"latency_ms": 10.0}, "fp32": {"latency_ms": 9.0}}
    old = load(write_session(both, "s-old", spread=0.005))
    new = load(write_session({"plain": both["plain"]}, "s-new", spread=0.005))
    verdict = judge_sessions(old, new, default_budgets())
    lost = [one for one in verdict.findings if one.case == "net/fp32"]
    assert [one.verdict for one in lost] == ["invalid"]
    assert verdict.exit_code == 5
    forth = judge_sessions(new, old, default_budgets())
    assert forth.exit_code == 0
    assert "net/fp32: new, there is no baseline to compare with" in forth.notes


def test_sides_with_nothing_in_common_are_refused(write_session):
    old, new = (
        load(write_session({kind: {"latency_ms": 1.0}}, kind)) for kind in ("plain", "fp32")
    )
    with pytest.raises(RowsError, match="the baseline has net/plain, and the current side has net"):
        judge_sessions(old, new, default_budgets())


def test_one_file_on_two_providers_is_two_cases(write_session):
    cases = {
        "a": {"latency_ms": 10.0, "kind": "fp32"},
        "b": {"latency_ms": 5.0, "kind": "fp32", "provider": "nnapi"},
    }
    sides = [load(write_session(cases, name)) for name in ("s-old", "s-new")]
    verdict = judge_sessions(*sides, default_budgets())
    assert {one.case for one in verdict.findings} == {"net/fp32", "net/fp32 on nnapi"}


def test_two_cases_of_one_name_are_refused(write_session):
    twice = {"a": {"latency_ms": 1.0, "kind": "fp32"}, "b": {"latency_ms": 1.0, "kind": "fp32"}}
    frames = load(write_session(twice))
    with pytest.raises(RowsError, match="2 cases are net/fp32"):
        judge_sessions(frames, frames, default_budgets())


UNLIKE = [
    ({"intra_op_threads": 4}, {}, "intra_op_threads differs: 2 and 4"),
    ({"runtime_version": "2.0"}, {}, "runtime_version differs: 1.2.3 and 2.0"),
    ({"input_shape": "[1, 3, 8, 8]"}, {}, None),  # older rows do not know their shape
]


@pytest.mark.parametrize(("fields", "options", "problem"), UNLIKE)
def test_unlike_conditions_are_refused_by_name(judge_two, fields, options, problem):
    verdict = judge_two(new={"latency_ms": 20.0, **fields}, new_options=options)
    if problem is None:
        assert verdict.verdict == "regression"
        return
    (found,) = verdict.findings
    assert (found.verdict, verdict.exit_code) == ("invalid", 5)
    assert found.reason == f"{problem} (--force compares all the same)"


def test_other_devices_are_refused_by_name(judge_two, phone):
    (found,) = judge_two(new_options={"device": phone}).findings
    assert "device_id differs: desk (d-host) and handy (d-phone)" in found.reason


def test_other_plans_are_refused_by_name(judge_two):
    (found,) = judge_two(plans=["seconds differs: 1.0 and 2.0"]).findings
    assert found.reason.startswith("seconds differs: 1.0 and 2.0")


def test_unlike_conditions_can_be_forced_and_are_told(judge_two):
    verdict = judge_two(new={"runtime_version": "2.0", "latency_ms": 15.0}, force=True)
    assert metric(verdict, "latency").verdict == "regression"
    assert "net/plain: compared although runtime_version differs: 1.2.3 and 2.0" in verdict.notes


def test_what_may_differ_is_told(judge):
    verdict = judge({"graph_opt_level": "all"}, {"graph_opt_level": "basic"})
    assert verdict.verdict == "pass"
    assert "net/plain: graph_opt_level differs: all and basic" in verdict.notes


def test_a_regression_outweighs_what_is_invalid(judge):
    verdict = judge(new={"latency_ms": 20.0, "psnr_db": None})
    assert {one.verdict for one in verdict.findings} >= {"regression", "invalid"}
    assert verdict.exit_code == 4


Judge = Callable[..., Verdict]


def test_a_regression_that_a_second_session_sees_too_is_confirmed(judge: Judge):
    first, again = judge(new={"latency_ms": 12.0}), judge(new={"latency_ms": 11.5})
    assert to_confirm(first) == ["net/plain"]
    found = metric(confirm(first, again), "latency")
    assert (found.verdict, found.confirmed) == ("regression", True)
    assert "confirmed by a second session (+15" in found.reason


def test_a_regression_that_a_second_session_does_not_see_is_none(judge: Judge):
    verdict = confirm(judge(new={"latency_ms": 12.0}), judge())
    found = metric(verdict, "latency")
    assert (found.verdict, found.confirmed, verdict.exit_code) == ("pass", False, 0)
    assert found.reason.startswith("+20.4 % at first, not confirmed: worse by at most")


def test_a_second_session_that_fails_makes_it_invalid(judge: Judge):
    failed = {("new", block): "device_lost" for block in range(8)}
    verdict = confirm(judge(new={"latency_ms": 12.0}), judge(failed=failed))
    assert (metric(verdict, "latency").verdict, verdict.exit_code) == ("invalid", 5)


def test_what_never_varies_needs_no_confirmation(judge: Judge):
    first = judge(new={"psnr_db": 29.0})
    assert to_confirm(first) == []
    assert confirm(first, judge()).verdict == "regression"
