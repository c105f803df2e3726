import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest
from bench_examples import QUICK, as_text, calls, launch_records, write_case, write_runner

from android_bench.launch import Case
from android_bench.session import bench, is_finished, launch_order, list_sessions
from deploy.errors import ArtifactError, DataError, DeviceError, OutputError, UsageError

GOOD = as_text(launch_records())


@pytest.fixture
def cases(tmp_path):
    return [write_case(tmp_path, name, seed) for seed, name in enumerate(["one", "two", "three"])]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def table(results, name="runs"):
    return pd.read_parquet(results / f"{name}.parquet")


class StopAfter:
    """A progress that interrupts the session once so many launches are done."""

    def __init__(self, launches):
        self.launches = launches

    def __call__(self, done, total, run):
        if run is not None and done == self.launches:
            raise KeyboardInterrupt


# The real runner


def test_a_session_leaves_a_row_for_every_launch_and_all_samples(cases, device, out):
    results = bench(cases[:2], QUICK, device, out)
    runs, samples = table(results), table(results, "samples")
    assert runs["status"].tolist() == ["ok"] * 4
    assert runs.groupby("case_id").size().tolist() == [2, 2]
    assert samples.groupby("run_id").size().to_dict() == dict(
        zip(runs["run_id"], runs["n_samples"], strict=True)
    )
    assert samples["phase"].tolist() == ["first", "warmup", "steady", "steady"] * 4
    assert (samples["latency_ns"] > 0).all()
    assert table(results, "devices")["name"].tolist() == ["host"]


def test_a_corrupt_model_is_a_row_and_the_others_go_on(cases, device, out, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"garbage")
    runs = table(bench([write_case(tmp_path, "broken"), cases[0]], QUICK, device, out))
    assert runs.groupby("model")["status"].unique().map(list).to_dict() == {
        "broken": ["load_error"],
        "one": ["ok"],
    }
    broken = runs[runs["model"] == "broken"].iloc[0]
    assert "Load model from broken.onnx failed" in broken["status_message"]
    assert (broken["exit_code"], broken["n_samples"]) == (3, 0)
    assert pd.isna(broken["session_create_ns"])


def test_the_session_options_reach_the_runner_and_the_row(tmp_path, device, out):
    case = write_case(tmp_path, opt_level="basic", config={"session.b": "2", "session.a": "1"})
    run = table(bench([case], QUICK, device, out)).iloc[0]
    assert (run["status"], run["graph_opt_level"]) == ("ok", "basic")
    assert json.loads(run["session_config"]) == {"session.a": "1", "session.b": "2"}


# Rows


def test_quality_and_calibration_come_from_the_artifact_and_missing_stays_missing(
    case, device, out, tmp_path
):
    artifact = replace(
        case.artifact,
        fidelity={"psnr_db": 31.5, "degraded_ssim": 0.5, "fusion": {"line": "9 of 9"}},
        params={"crops_sha256": "cafe", "target": "x86"},
    )
    run = table(
        bench([replace(case, artifact=artifact)], QUICK, device, out, runner=write_runner(tmp_path))
    ).iloc[0]
    assert (run["psnr_db"], run["degraded_ssim"]) == (31.5, 0.5)
    assert (run["calibration_sha256"], run["target"], run["fusion"]) == ("cafe", "x86", "9 of 9")
    assert pd.isna(run["ssim"])


def test_one_model_with_two_settings_is_two_cases(case, device, out, tmp_path):
    pair = [case, replace(case, opt_level="disable")]
    runs = table(bench(pair, QUICK, device, out, runner=write_runner(tmp_path)))
    assert runs["case_id"].nunique() == 2


def test_launches_follow_the_order_of_the_seed(cases, device, out, tmp_path):
    plan = replace(QUICK, launches=4, seed=3)
    runs = table(bench(cases, plan, device, out, runner=write_runner(tmp_path)))
    expected = [cases[slot.case].artifact.model for slot in launch_order(3, 4, 3)]
    assert runs["model"].tolist() == expected
    assert runs["started_at_utc"].is_monotonic_increasing


def test_the_session_file_says_what_was_measured_and_how(cases, device, out, tmp_path):
    results = bench(cases, QUICK, device, out, runner=write_runner(tmp_path))
    record = json.loads((results / "session.json").read_text())
    assert record["session_id"] == results.name
    assert record["plan"]["seed"] == QUICK.seed
    assert [one["model"] for one in record["cases"]] == ["one", "two", "three"]
    assert record["order"] == table(results)["case_id"].tolist()
    assert {"mofa-deploy", "onnxruntime"} <= set(record["versions"])


# Failures are rows


FAILURES = {
    "timeout": ("time.sleep(600)", "", "timeout", "no end within 1 s"),
    "signal": ("os.kill(os.getpid(), 11)", "", "crash", "ended by SIGSEGV"),
    "exit": ("sys.exit('out of luck')", "", "crash", "exit code 1: out of luck"),
    "garbage": ("", "I/adb: hello\n" + GOOD, "bad_output", "line 1 of the runner's output"),
    "truncated": ("", GOOD[:-30], "bad_output", "not a JSON object"),
    "empty": ("", "", "bad_output", "empty"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_runner_that_fails_is_a_row_with_its_reason(case, device, out, tmp_path, failure):
    body, prints, status, says = FAILURES[failure]
    plan = replace(QUICK, launches=1, timeout_s=1)
    runner = write_runner(tmp_path, body, prints=prints)
    results = bench([case], plan, device, out, runner=runner)
    run = table(results).iloc[0]
    assert run["status"] == status
    assert says in run["status_message"]
    assert table(results, "samples").empty


def test_a_failed_launch_is_not_repeated(case, device, out, tmp_path):
    runner = write_runner(tmp_path, "sys.exit(1)")
    results = bench([case], replace(QUICK, launches=3), device, out, runner=runner)
    assert calls(tmp_path) == 3
    bench([case], replace(QUICK, launches=3), device, out, runner=runner)
    assert calls(tmp_path) == 3
    assert len(table(results)) == 3


# Resuming


def test_a_finished_session_is_given_as_it_is(cases, device, out, tmp_path):
    runner = write_runner(tmp_path)
    told = []
    first = bench(cases, QUICK, device, out, runner=runner)
    second = bench(
        cases, QUICK, device, out, runner=runner, on_progress=lambda *now: told.append(now)
    )
    assert (second, calls(tmp_path), told) == (first, 6, [(6, 6, None)])


def test_force_measures_anew(cases, device, out, tmp_path):
    runner = write_runner(tmp_path)
    before = table(bench(cases, QUICK, device, out, runner=runner))
    after = table(bench(cases, QUICK, device, out, runner=runner, force=True))
    assert calls(tmp_path) == 12
    assert set(before["run_id"]).isdisjoint(after["run_id"])


@pytest.mark.parametrize("launches_done", range(1, 6))
def test_an_interrupted_session_goes_on_where_it_stopped(
    cases, device, out, tmp_path, launches_done
):
    runner = write_runner(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        bench(cases, QUICK, device, out, runner=runner, on_progress=StopAfter(launches_done))
    assert list_sessions(out) == []
    results = bench(cases, QUICK, device, out, runner=runner)
    assert calls(tmp_path) == 6
    expected = [cases[slot.case].artifact.model for slot in launch_order(3, 2, QUICK.seed)]
    assert table(results)["model"].tolist() == expected


def test_progress_starts_from_what_was_done_before(cases, device, out, tmp_path):
    runner = write_runner(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        bench(cases, QUICK, device, out, runner=runner, on_progress=StopAfter(4))
    told = []
    bench(cases, QUICK, device, out, runner=runner, on_progress=lambda *now: told.append(now[:2]))
    assert told == [(4, 6), (5, 6), (6, 6)]


def test_a_session_that_died_before_its_tables_needs_no_launch(cases, device, out, tmp_path):
    runner = write_runner(tmp_path)
    results = bench(cases, QUICK, device, out, runner=runner)
    (results / "samples.parquet").unlink()
    assert not is_finished(results)
    assert bench(cases, QUICK, device, out, runner=runner) == results
    assert calls(tmp_path) == 6
    assert is_finished(results)


KILLED = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from bench_examples import QUICK, write_case
from android_bench.host import HostDevice
from android_bench.session import bench
folder = Path({folder!r})
cases = [write_case(folder, name, seed) for seed, name in enumerate(["one", "two", "three"])]
bench(cases, QUICK, HostDevice(), folder / "out", runner={runner!r})
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a child outlives its parent elsewhere")
def test_kill_9_loses_the_launch_in_progress_alone_and_leaves_nothing_behind(
    cases, device, out, tmp_path, temporary_folder
):
    # The third launch opens the pipe and holds it: reading tells when it is there, and when dead.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    hold = (
        f"if len(open({str(tmp_path / 'calls')!r}).read()) == 3:\n"
        f"    held = open({str(pipe)!r}, 'w'); held.write('x'); held.flush(); time.sleep(30)"
    )
    runner = write_runner(tmp_path, hold)
    paths = [path for path in sys.path if path]
    host = subprocess.Popen(
        [sys.executable, "-c", KILLED.format(paths=paths, folder=str(tmp_path), runner=runner)],
        env=os.environ | {"TMPDIR": str(temporary_folder)},
    )
    with pipe.open() as held:
        assert held.read(1) == "x"
        host.send_signal(signal.SIGKILL)
        host.wait()
        killed = time.monotonic()
        assert held.read() == ""
        assert time.monotonic() - killed < 20
    (session,) = out.iterdir()
    journal = (session / "journal.jsonl").read_text().splitlines()
    kept = [json.loads(line)["run"]["run_id"] for line in journal[1:]]
    results = bench(cases, QUICK, device, out, runner=runner)
    assert results == session
    assert len(kept) == 2
    assert table(results)["run_id"].tolist()[:2] == kept
    assert (len(table(results)), calls(tmp_path)) == (6, 7)
    assert list(temporary_folder.iterdir()) == []


# What makes another session


@pytest.mark.parametrize("change", [{"launches": 3}, {"threads": 2}, {"seed": 1}, {"seconds": 0.1}])
def test_another_plan_is_another_session(case, device, out, tmp_path, change):
    runner = write_runner(tmp_path)
    results = {
        bench([case], plan, device, out, runner=runner)
        for plan in (QUICK, replace(QUICK, **change))
    }
    assert len(results) == 2
    assert set(list_sessions(out)) == results


def test_another_input_is_another_case(case, device, out, tmp_path):
    runner = write_runner(tmp_path)
    first = table(bench([case], QUICK, device, out, runner=runner))
    case.input.write_bytes(b"\0" * case.input.stat().st_size)
    second = table(bench([case], QUICK, device, out, runner=runner))
    assert first["case_id"].iloc[0] != second["case_id"].iloc[0]


def test_a_quality_that_was_measured_again_makes_another_session(case, device, out, tmp_path):
    runner = write_runner(tmp_path)
    bench([case], QUICK, device, out, runner=runner)
    better = replace(case.artifact, fidelity={"psnr_db": 40.0})
    results = bench([replace(case, artifact=better)], QUICK, device, out, runner=runner)
    assert table(results)["psnr_db"].tolist() == [40.0, 40.0]


def test_a_case_has_the_same_id_in_every_session(cases, device, out, tmp_path):
    runner = write_runner(tmp_path)
    alone = table(bench(cases[:1], QUICK, device, out, runner=runner))
    beside = table(bench(cases, QUICK, device, out, runner=runner))
    assert alone["case_id"].iloc[0] in set(beside["case_id"])


def test_sessions_are_listed_with_the_last_one_at_the_end(cases, device, out, tmp_path):
    runner = write_runner(tmp_path)
    order = [bench(cases[:n], QUICK, device, out, runner=runner) for n in (3, 1, 2)]
    assert list_sessions(out) == order
    assert list_sessions(out / "absent") == []


# Cleaning up and bad input


def test_nothing_is_left_on_the_device(cases, device, out, temporary_folder):
    bench(cases[:1], QUICK, device, out)
    assert list(temporary_folder.iterdir()) == []


def test_nothing_is_left_on_the_device_after_an_interruption(
    cases, device, out, tmp_path, temporary_folder
):
    with pytest.raises(KeyboardInterrupt):
        bench(cases, QUICK, device, out, runner=write_runner(tmp_path), on_progress=StopAfter(1))
    assert list(temporary_folder.iterdir()) == []


def test_a_runner_that_is_not_there_is_an_error_and_no_row(case, device, out):
    with pytest.raises(DeviceError, match="cannot run no-such-runner"):
        bench([case], QUICK, device, out, runner=["no-such-runner"])
    assert list_sessions(out) == []


def test_no_case_is_refused(device, out):
    with pytest.raises(UsageError, match="nothing to measure"):
        bench([], QUICK, device, out)


def test_a_case_given_twice_is_refused_by_its_file(case, device, out):
    with pytest.raises(UsageError, match=r"net\.onnx is given twice"):
        bench([case, case], QUICK, device, out)


def test_an_unknown_optimization_level_is_refused_with_the_known_ones(case):
    with pytest.raises(UsageError, match="'most' is unknown: pass one of disable, basic"):
        Case(case.artifact, case.input, opt_level="most")


def test_a_model_that_changed_since_it_was_read_is_refused(case, device, out):
    case.artifact.path.write_bytes(b"other")
    with pytest.raises(ArtifactError, match=r"net\.onnx has changed"):
        bench([case], QUICK, device, out)


def test_a_model_that_is_gone_is_refused(case, device, out):
    case.artifact.path.unlink()
    with pytest.raises(ArtifactError, match="no model file at"):
        bench([case], QUICK, device, out)


def test_an_input_that_is_gone_is_refused(case, device, out):
    case.input.unlink()
    with pytest.raises(DataError, match="no input file at"):
        bench([case], QUICK, device, out)


def test_a_place_that_is_no_folder_is_refused_before_anything_is_launched(case, device, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        bench([case], QUICK, device, tmp_path / "file", runner=write_runner(tmp_path))
    assert calls(tmp_path) == 0
