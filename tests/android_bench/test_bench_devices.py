"""Sessions as the command line makes them: going on with one, and what counts as measured."""

import json
from dataclasses import replace

import pytest
from bench_examples import QUICK, as_text, launch_records, write_case, write_runner

from android_bench.programs import Programs
from android_bench.runner import host_command
from android_bench.session import bench, list_unfinished
from deploy.commands.bench_devices import Job, measure, require_measured, resume
from deploy.errors import BenchOutputError, DeviceError, UsageError
from reports.frame import load


@pytest.fixture
def interrupted(case, device, tmp_path):
    """Give the folder of sessions, in which one stopped after its first launch."""

    def stop(done, total, run):
        if run is not None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench([case], QUICK, device, tmp_path / "out", runner=host_command(), on_progress=stop)
    return tmp_path / "out"


def test_an_interrupted_session_is_gone_on_with_from_its_folder_alone(interrupted):
    (begun,) = list_unfinished(interrupted)
    kept = (begun / "journal.jsonl").read_text()
    assert resume(interrupted) == ([begun], {})
    assert load(begun).runs["status"].tolist() == ["ok", "ok"]
    assert (begun / "journal.jsonl").read_text().startswith(kept)


def test_where_nothing_was_interrupted_that_is_said(interrupted):
    resume(interrupted)
    with pytest.raises(UsageError, match="no interrupted session"):
        resume(interrupted)


@pytest.mark.usefixtures("private_adb")
def test_a_session_of_a_device_that_is_not_there_waits_for_it(interrupted):
    request = list_unfinished(interrupted)[-1] / "request.json"
    request.write_text(json.dumps(json.loads(request.read_text()) | {"device_id": "other"}))
    with pytest.raises(DeviceError, match="the device of the interrupted session is not there"):
        resume(interrupted)


def measured(cases, device, folder, runner):
    jobs = [Job(device, device.info(), cases)]
    return measure(jobs, QUICK, folder, force=False, programs=lambda job: Programs(runner))


def test_a_provider_that_is_not_there_is_told_and_the_others_count(case, device, tmp_path, capsys):
    cases = [case, replace(case, provider="nnapi")]
    folders, failed = measured(cases, device, tmp_path / "out", host_command())
    assert (len(folders), failed) == (1, {})
    assert "not measured: net.external with nnapi (unavailable: this build" in (
        capsys.readouterr().err
    )


def test_where_no_provider_is_there_nothing_was_measured(case, device, tmp_path):
    with pytest.raises(BenchOutputError, match=r"nothing could be measured: net\.external with nn"):
        measured([replace(case, provider="nnapi")], device, tmp_path / "out", host_command())


def test_a_case_whose_outputs_are_all_wrong_is_not_measured(case, device, tmp_path):
    runner = write_runner(tmp_path, "output = bytes(len(output))")
    with pytest.raises(BenchOutputError, match=r"every launch of net\.external with cpu failed"):
        measured([case], device, tmp_path / "out", runner)


def test_good_launches_of_memory_alone_do_not_make_a_case_measured(case, device, tmp_path):
    only = "if '--mode' not in sys.argv: sys.exit('no')\n"
    records = launch_records(protocol=2, mode="memory", interval_ms=10)
    runner = write_runner(tmp_path, only, prints=as_text(records))
    plan = replace(QUICK, memory_launches=1)
    results = bench([case], plan, device, tmp_path / "out", runner=runner)
    assert load(results).runs["status"].tolist() == ["crash", "crash", "ok"]
    with pytest.raises(BenchOutputError, match="every launch of"):
        require_measured(results)


def test_one_good_launch_of_each_case_is_enough(tmp_path, device):
    cases = [write_case(tmp_path, name, seed) for seed, name in enumerate(["one", "two"])]
    crash_once = f"if len(open({str(tmp_path / 'calls')!r}).read()) == 1: sys.exit('no')"
    runner = write_runner(tmp_path, crash_once)
    folders, _ = measured(cases, device, tmp_path / "out", runner)
    assert sorted(load(folders[0]).runs["status"]) == ["crash", "ok", "ok", "ok"]


def test_a_locked_phone_that_a_session_may_wait_for_says_how_to_unlock_it(interrupted, start_phone):
    request = list_unfinished(interrupted)[-1] / "request.json"
    request.write_text(json.dumps(json.loads(request.read_text()) | {"device_id": "other"}))
    start_phone().become(authorized=False)
    with pytest.raises(
        DeviceError, match=r"is not there \(.* is unauthorized\): unlock its screen"
    ):
        resume(interrupted)


def test_of_several_phones_that_a_session_may_wait_for_the_locked_one_is_told(
    interrupted, start_phone, capsys
):
    request = list_unfinished(interrupted)[-1] / "request.json"
    request.write_text(json.dumps(json.loads(request.read_text()) | {"device_id": "other"}))
    start_phone()
    start_phone().become(authorized=False)
    with pytest.raises(DeviceError, match="is not there: plug it in, or start anew"):
        resume(interrupted)
    assert "is unauthorized: unlock its screen" in capsys.readouterr().err
