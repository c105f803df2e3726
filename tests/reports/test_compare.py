import numpy as np
import pandas as pd
import pytest

from deploy.errors import RowsError
from reports.compare import (
    FLAGS,
    abi_family,
    add_speed_ups,
    case_labels,
    launch_table,
    speed_ups,
    summarize,
)
from reports.frame import load
from reports.summary import precision_of


@pytest.fixture
def frames_of(write_session):
    return lambda *args, **options: load(write_session(*args, **options))


def flags_of(frames, kind):
    summary = add_speed_ups(summarize(frames), speed_ups(frames))
    return set(filter(None, summary.set_index("kind")["flags"][kind].split(",")))


def test_the_summary_goes_along_the_line_and_ends_with_what_is_not_on_it(frames_of):
    line = ["external", "plain", "fp32", "int8-arm-cpu", "int8-x86", "int8-opt", "int8-opt-x86"]
    kinds = ["mystery", *reversed(line)]
    summary = summarize(frames_of({kind: {"latency_ms": 1.0} for kind in kinds}, launches=1))
    expected = [*line, "mystery"]
    assert list(summary["kind"]) == expected


def test_the_summary_counts_and_measures_each_case(frames_of, line):
    failed = {("plain", 2): "crash", ("plain", 5): "timeout"}
    case = summarize(frames_of(line, spread=0.0, failed=failed)).iloc[0]
    assert (case["n_launches"], case["n_failed"], case["n_samples"]) == (6, 2, 36)
    assert case["latency_median_ms"] == case["latency_ci_low_ms"] == case["latency_ci_high_ms"]
    assert case["latency_median_ms"] == pytest.approx(40.0)
    assert case["first_inference_ms"] == pytest.approx(80.0)
    assert case["session_create_ms"] == pytest.approx(50.0)
    assert (case["peak_rss_mib"], case["peak_over_baseline_mib"]) == (120.0, 80.0)
    assert (case["model_mib"], case["psnr_db"], case["runtime_version"]) == (1.5, 30.5, "1.2.3")


def test_a_case_without_a_good_launch_keeps_its_row_and_has_no_times(frames_of):
    failed = {("fp32", block): "load_error" for block in range(4)}
    cases = {"plain": {"latency_ms": 5.0}, "fp32": {"latency_ms": 5.0}}
    summary = summarize(frames_of(cases, launches=4, failed=failed)).set_index("kind")
    assert (summary["n_launches"]["fp32"], summary["n_failed"]["fp32"]) == (0, 4)
    assert np.isnan(summary["latency_median_ms"]["fp32"])
    assert np.isnan(summary["peak_rss_mib"]["fp32"])


def test_quality_that_was_not_measured_is_missing(frames_of):
    nothing = dict.fromkeys(["psnr_db", "ssim", "degraded_psnr_db", "degraded_ssim"])
    summary = summarize(frames_of({"plain": {"latency_ms": 5.0, **nothing}}))
    assert summary[list(nothing)].isna().to_numpy().all()


def test_only_good_launches_are_in_the_launch_table(frames_of, line):
    launches = launch_table(frames_of(line, failed={("fp32", 0): "bad_output"}))
    assert len(launches) == 31
    assert launches["latency_ms"].notna().all()


def test_launches_that_disagree_on_their_case_are_refused(write_session, line, rewrite):
    folder = write_session(line)

    def one_other_file(runs: pd.DataFrame) -> pd.DataFrame:
        return runs.assign(model_sha256=runs["model_sha256"].where(runs.index > 0, "other"))

    rewrite(folder, "runs", one_other_file)
    with pytest.raises(RowsError, match="launches of case 'case-plain' disagree on model_sha256"):
        summarize(load(folder))


def test_speed_ups_are_against_plain_over_blocks(frames_of, line):
    ratios = speed_ups(frames_of(line, spread=0.01, failed={("int8-x86", 3): "crash"}))
    assert set(ratios) == {("s1", f"case-{kind}") for kind in line if kind != "plain"}
    fast, slow = ratios["s1", "case-int8-opt-x86"], ratios["s1", "case-int8-x86"]
    assert fast.ci_low < 2.5 < fast.ci_high
    assert slow.ci_low < 0.8 < slow.ci_high
    assert (fast.pairs, slow.pairs) == (8, 7)


def test_a_comparison_tells_what_differs(frames_of, line):
    ratios = speed_ups(frames_of(line))
    assert ratios["s1", "case-fp32"].differs == ("kind", "model_sha256")
    assert ratios["s1", "case-int8-x86"].differs == ("kind", "target", "model_sha256")


def test_another_baseline_turns_the_ratio_round(frames_of, line):
    frames = frames_of(line)
    against_fp32 = speed_ups(frames, "fp32")["s1", "case-plain"]
    against_plain = speed_ups(frames)["s1", "case-fp32"]
    assert against_fp32.ratio == pytest.approx(1 / against_plain.ratio)


def test_without_a_baseline_there_are_no_speed_ups(frames_of):
    frames = frames_of({"fp32": {"latency_ms": 5.0}})
    assert speed_ups(frames) == {}
    assert add_speed_ups(summarize(frames), {})["speed_up"].isna().all()


def test_each_session_has_its_own_baseline(write_session, line):
    slower = {kind: {**case, "latency_ms": 3 * case["latency_ms"]} for kind, case in line.items()}
    frames = load(write_session(line, "s1"), write_session(slower, "s2"))
    ratios = speed_ups(frames)
    assert ratios["s2", "case-fp32"].ratio == pytest.approx(ratios["s1", "case-fp32"].ratio)


def test_two_baselines_of_one_model_are_refused(frames_of):
    twins = {"plain": {"latency_ms": 5.0}, "other": {"latency_ms": 5.0, "kind": "plain"}}
    with pytest.raises(RowsError, match="2 plain cases of net in one session"):
        speed_ups(frames_of(twins))


def test_rows_of_two_devices_are_not_compared(write_session, line, phone):
    here, there = write_session(line, "s1"), write_session(line, "s2", device=phone)
    expected = r"device_id differs: desk \(d-host\) and handy \(d-phone\)"
    with pytest.raises(RowsError, match=expected):
        speed_ups(load(here, there))


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("intra_op_threads", (1, 4)),
        ("runtime_version", ("1.24.0", "1.31.1")),
        ("runtime", ("onnxruntime", "litert")),
    ],
)
def test_rows_under_other_conditions_are_not_compared(frames_of, field, values):
    one, other = values
    cases = {
        "plain": {"latency_ms": 5.0, field: one},
        "fp32": {"latency_ms": 5.0, field: other},
    }
    with pytest.raises(RowsError, match=f"whose {field} differs: {one} and {other}"):
        speed_ups(frames_of(cases))


def test_each_provider_has_its_own_baseline(frames_of):
    cases = {
        "plain": {"latency_ms": 40.0},
        "int8": {"latency_ms": 20.0},
        "plain-n": {"latency_ms": 30.0, "kind": "plain", "provider": "nnapi"},
        "int8-n": {"latency_ms": 10.0, "kind": "int8", "provider": "nnapi"},
    }
    ratios = speed_ups(frames_of(cases, spread=0.0))
    assert ratios["s1", "case-int8"].ratio == pytest.approx(2)
    assert ratios["s1", "case-int8-n"].ratio == pytest.approx(3)


def test_unlike_rows_are_let_through_by_force_and_still_not_compared(frames_of):
    cases = {
        "plain": {"latency_ms": 5.0, "intra_op_threads": 1},
        "fp32": {"latency_ms": 5.0, "intra_op_threads": 4},
    }
    assert speed_ups(frames_of(cases), force=True) == {}


def test_a_failed_launch_without_a_runtime_version_is_no_other_version(frames_of, line):
    assert speed_ups(frames_of(line, failed={("fp32", 0): "crash"}))


@pytest.mark.parametrize(
    ("flag", "case", "options"),
    [
        ("failed_launches", {}, {"failed": {("fp32", 0): "crash"}}),
        ("few_launches", {}, {"launches": 4}),
        ("foreign_target", {"target": "arm-cpu"}, {}),
        ("peak_not_reset", {"peak_rss_reset": False}, {}),
        ("throttled", {"throttled": True}, {}),
        ("wrong_output", {"output_ok": False}, {}),
        ("imported", {"tool_version": "imported from elsewhere"}, {}),
        ("slower", {"latency_ms": 20.0}, {}),
        ("undecided", {"latency_ms": 10.0}, {"spread": 0.1}),
    ],
)
def test_each_flag_is_raised_by_its_cause_alone(frames_of, flag, case, options):
    cases = {"plain": {"latency_ms": 10.0}, "fp32": {"latency_ms": 5.0, **case}}
    assert flag in FLAGS
    assert flags_of(frames_of(cases, **options), "fp32") == {flag}


@pytest.mark.parametrize(
    ("taken", "flags"),
    [(0, {"provider_fallback"}), (3, {"partial_coverage"}), (9, set()), (None, set())],
)
def test_a_provider_that_left_nodes_to_the_cpu_is_flagged(frames_of, taken, flags):
    case = {"latency_ms": 5.0, "provider": "nnapi", "nodes_total": 9, "nodes_on_provider": taken}
    assert flags_of(frames_of({"fp32": case}), "fp32") == flags


def test_a_case_whose_output_is_wrong_has_no_time(frames_of):
    cases = {"plain": {"latency_ms": 5.0}, "fp32": {"latency_ms": 4.0}}
    frames = frames_of(cases, failed={("fp32", 3): "output_mismatch"})
    case = summarize(frames).set_index("kind").loc["fp32"]
    assert np.isnan(case["latency_median_ms"])
    assert case["flags"] == "wrong_output"
    assert ("s1", "case-fp32") not in speed_ups(frames) or np.isnan(
        speed_ups(frames)["s1", "case-fp32"].ratio
    )


def test_a_launch_that_was_taken_again_did_not_fail(write_session, rewrite):
    folder = write_session({"plain": {"latency_ms": 5.0}}, failed={("plain", 3): "throttled"})

    def again(runs: pd.DataFrame) -> pd.DataFrame:
        lost, other = runs["run_id"] == "s1/plain/3", runs["run_id"] == "s1/plain/7"
        runs["block"] = runs["block"].mask(other, 3)
        return runs.assign(attempt=runs["attempt"].mask(other, 2).mask(lost, 1))

    rewrite(folder, "runs", again)
    case = summarize(load(folder)).iloc[0]
    assert (case["n_launches"], case["n_failed"], case["n_redone"]) == (7, 0, 1)
    assert case["flags"] == "redone_launches"


@pytest.fixture
def watched(frames_of):
    """Give the summary of a case that was timed, and once more to watch its memory."""

    def summary(timed_mib, watched_mib):
        own = {"kind": "plain", "case_id": "case-plain", "mode": "memory"}
        heap = {"peak_native_heap_bytes": 60 * 2**20}
        cases = {
            "plain": {"latency_ms": 5.0, "peak_rss_bytes": timed_mib and timed_mib * 2**20},
            "m": {"latency_ms": 50.0, "peak_rss_bytes": watched_mib * 2**20, **own, **heap},
        }
        for case in cases.values():
            case |= {"model_sha256": "same", "output_sha256": "same"}
        return summarize(frames_of(cases, spread=0.0)).iloc[0]

    return summary


def test_a_launch_that_watches_memory_is_not_timed(watched):
    case = watched(120, 99)
    assert (case["latency_median_ms"], case["n_launches"]) == (pytest.approx(5), 8)


def test_the_peak_is_of_timed_launches_and_the_heap_of_those_that_watched(watched):
    case = watched(120, 99)
    assert (case["peak_rss_mib"], case["peak_native_heap_mib"]) == (120, 60)


def test_a_peak_that_timed_launches_lack_is_of_those_that_watched(watched):
    assert watched(None, 99)["peak_rss_mib"] == 99


@pytest.mark.parametrize(
    ("launches", "p90", "p99"), [(1, False, False), (2, True, False), (17, True, True)]
)
def test_a_quantile_needs_samples_enough_to_speak_of_it(frames_of, launches, p90, p99):
    case = summarize(frames_of({"plain": {"latency_ms": 5.0}}, launches=launches)).iloc[0]
    assert (np.isfinite(case["p90_ms"]), np.isfinite(case["p99_ms"])) == (p90, p99)


@pytest.mark.parametrize(
    ("kind", "precision"),
    [("plain", "fp32"), ("fp16", "fp16"), ("int8-opt-x86", "int8"), ("external", None)],
)
def test_a_kind_tells_its_precision(kind, precision):
    assert precision_of(kind) == precision


def test_a_faster_case_made_for_this_machine_has_no_flags(frames_of, line):
    assert flags_of(frames_of(line), "int8-opt-x86") == set()


def test_an_output_that_changes_between_launches_is_flagged(write_session, line, rewrite):
    folder = write_session(line)

    def one_other_output(runs: pd.DataFrame) -> pd.DataFrame:
        changed = runs["run_id"] == "s1/fp32/4"
        return runs.assign(output_sha256=runs["output_sha256"].mask(changed, "other"))

    rewrite(folder, "runs", one_other_output)
    assert flags_of(load(folder), "fp32") == {"output_changes"}


def test_slowness_on_the_wrong_machine_is_not_held_against_a_graph(frames_of):
    cases = {
        "plain": {"latency_ms": 10.0},
        "int8-arm-cpu": {"latency_ms": 40.0, "target": "arm-cpu"},
    }
    assert flags_of(frames_of(cases), "int8-arm-cpu") == {"foreign_target"}


@pytest.mark.parametrize(
    ("abi", "family"),
    [("x86_64", "x86"), ("AMD64", "x86"), ("aarch64", "arm-cpu"), ("arm64-v8a", "arm-cpu")],
)
def test_an_abi_belongs_to_a_target(abi, family):
    assert abi_family(abi) == family


def test_an_unknown_abi_is_its_own_target():
    assert abi_family("riscv64") == "riscv64"


def test_labels_name_the_model_and_the_session_only_where_there_are_several(write_session):
    one, two = {"plain": {"latency_ms": 5.0}}, {"plain": {"latency_ms": 5.0, "model": "net2"}}
    first = write_session(one, "s1", launches=1)
    assert case_labels(summarize(load(first))) == ["plain"]
    both = load(first, write_session(two, "s2", launches=1))
    assert case_labels(summarize(both)) == ["net plain s1", "net2 plain s2"]
