"""What makes a row one to trust: checked outputs, cool starts, lost launches, honest providers."""

import json
from dataclasses import replace

import pandas as pd
import pytest
from bench_examples import QUICK, as_text, calls, launch_records, write_runner

from android_bench.device import Completed
from android_bench.host import HostDevice
from android_bench.request import read_request
from android_bench.runner import host_command
from android_bench.session import bench, is_finished, list_unfinished
from deploy.errors import DeviceError, RowsError, TransientDeviceError

ONCE = replace(QUICK, launches=1)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def table(results, name="runs"):
    return pd.read_parquet(results / f"{name}.parquet")


def nth(number, body):
    """Give what a stand-in does in its call of that number, counted from 1, alone."""
    return f"if open(sys.argv[0][:-9] + 'calls').read() == {'x' * number!r}:\n    {body}"


class Phone(HostDevice):
    """This machine, calling itself a phone, with answers to questions and a cable that breaks.

    Attributes:
        services: what dumpsys says, each a list that is followed to its end.
        lost: numbers of the launches at which it is lost, from 1.
        gone: it is lost for good once it was lost.
    """

    def __init__(self, lost=(), *, gone=False, logcat="", **services):
        super().__init__()
        self.lost, self.gone, self.logcat = lost, gone, logcat
        self.services = {name: list(script) for name, script in services.items()}
        self.launches, self.pushes, self.is_gone = 0, 0, False

    def info(self):
        return replace(super().info(), is_phone=True, name="Phone")

    def query(self, argv, timeout_s):
        self.require_there()
        if argv[0] == "dumpsys" and argv[1] in self.services:
            script = self.services[argv[1]]
            return Completed(0, script.pop(0) if len(script) > 1 else script[0], "", 1)
        if argv[0] == "logcat":
            return Completed(0, self.logcat, "", 1)
        return Completed(1, "", "", 1)

    def push(self, local, name):
        self.require_there()
        self.pushes += 1
        return super().push(local, name)

    def run(self, argv, timeout_s):
        self.require_there()
        self.launches += 1
        if self.launches in self.lost:
            self.is_gone = self.gone
            raise TransientDeviceError("the phone went away", "plug it in")
        return super().run(argv, timeout_s)

    def require_there(self):
        if self.is_gone:
            raise TransientDeviceError("the phone is not there", "plug it in")


@pytest.fixture
def phone(temporary_folder):
    """Give a function that makes a phone, and clean up after it."""
    made = []

    def make(*arguments, **options):
        made.append(Phone(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.remove()


# Outputs


def test_a_right_output_is_checked_and_said_to_be(case, device, out, tmp_path):
    run = table(bench([case], ONCE, device, out, runner=write_runner(tmp_path))).iloc[0]
    assert (run["status"], run["output_checked"], run["output_ok"]) == ("ok", True, True)
    assert run["output_max_abs_err"] == 0.0


def test_a_wrong_output_is_a_row_that_is_marked_and_keeps_its_times(case, device, out, tmp_path):
    runner = write_runner(tmp_path, "output = bytes(len(output))")
    results = bench([case], ONCE, device, out, runner=runner)
    run = table(results).iloc[0]
    assert (run["status"], run["output_ok"]) == ("output_mismatch", False)
    assert run["status_message"].startswith("the output is wrong: PSNR")
    assert len(table(results, "samples")) == 4


def test_one_launch_that_computes_something_else_is_found_among_the_good(
    case, device, out, tmp_path
):
    runner = write_runner(tmp_path, nth(2, "output = output[::-1]"))
    runs = table(bench([case], replace(QUICK, launches=3), device, out, runner=runner))
    assert runs["status"].tolist() == ["ok", "output_mismatch", "ok"]


def test_an_output_that_is_not_the_one_that_was_hashed_is_not_trusted(case, device, out, tmp_path):
    runner = write_runner(tmp_path, "text = text.replace('\"ab\"', '\"cd\"')")
    run = table(bench([case], ONCE, device, out, runner=runner)).iloc[0]
    assert run["status"] == "output_mismatch"
    assert "is not the one that it hashed" in run["status_message"]


# Providers


def runner_on(tmp_path, provider, nodes, body=""):
    """Give a stand-in whose graph of 9 nodes is taken by NNAPI in part."""
    records = launch_records(provider=provider, protocol=2)
    shares = {"NnapiExecutionProvider": {"nodes": nodes, "partitions": 1}} if nodes else {}
    record = {"record": "assignment", "source": "api", "nodes_total": 9, "providers": shares}
    shares["CPUExecutionProvider"] = {"nodes": 9 - nodes, "partitions": None}
    place = next(i for i, one in enumerate(records) if one["record"] == "sample")
    prints = as_text([*records[:place], record, *records[place:]])
    return write_runner(tmp_path, body, prints=prints)


@pytest.mark.parametrize("nodes", [0, 7])
def test_how_much_a_provider_took_is_in_the_row(case, device, out, tmp_path, nodes):
    runner = runner_on(tmp_path, "nnapi", nodes)
    run = table(bench([replace(case, provider="nnapi")], ONCE, device, out, runner=runner)).iloc[0]
    assert (run["status"], run["provider"], run["coverage_source"]) == ("ok", "nnapi", "api")
    assert (run["nodes_total"], run["nodes_on_provider"]) == (9, nodes)
    reasons = json.loads(run["fallback_reasons"])
    assert reasons == [f"{9 - nodes} nodes ran on CPUExecutionProvider"]


def test_a_launch_that_cannot_tell_who_computed_is_told_by_its_case_s_others(
    case, device, out, tmp_path
):
    before_1_24 = (
        "import json\n"
        "records = [json.loads(line) for line in text.splitlines()]\n"
        "told = '--log-level' in sys.argv\n"
        "records = [one for one in records if told or one['record'] != 'assignment']\n"
        "text = ''.join(json.dumps(one) + '\\n' for one in records)\n"
        "memory = {'mode': 'memory', 'interval_ms': 10}\n"
        "text = text.replace('\"warmup\": 1,', '\"warmup\": 1, ' + json.dumps(memory)[1:-1] + ',')"
        " if '--mode' in sys.argv else text"
    )
    runner = runner_on(tmp_path, "nnapi", 7, before_1_24)
    plan = replace(ONCE, memory_launches=1)
    runs = table(bench([replace(case, provider="nnapi")], plan, device, out, runner=runner))
    assert runs[["mode", "status"]].to_numpy().tolist() == [["latency", "ok"], ["memory", "ok"]]
    assert runs["nodes_on_provider"].tolist() == [7, 7]


@pytest.mark.parametrize(("nodes", "status"), [(0, "provider_fallback"), (1, "ok")])
def test_a_strict_provider_that_takes_nothing_is_a_fallback(case, device, tmp_path, nodes, status):
    case, plan = replace(case, provider="nnapi"), replace(ONCE, strict_provider=True)
    runner = runner_on(tmp_path, "nnapi", nodes)
    run = table(bench([case], plan, device, tmp_path / "out", runner=runner)).iloc[0]
    assert run["status"] == status


def test_several_providers_are_cases_of_one_session(case, device, out):
    cases = [replace(case, provider=name) for name in ("cpu", "nnapi", "xnnpack")]
    runs = table(bench(cases, QUICK, device, out, runner=host_command()))
    assert runs["case_id"].nunique() == 3
    of = runs.groupby("provider")["status"].unique().map(list).to_dict()
    assert of == {"cpu": ["ok"], "nnapi": ["unavailable"], "xnnpack": ["unavailable"]}


# The real runner's other modes


def test_launches_of_every_mode_leave_what_is_theirs(case, device, out):
    plan = replace(ONCE, memory_launches=1, profile_launches=1)
    results = bench([case], plan, device, out, runner=host_command())
    runs = table(results).set_index("mode")
    assert runs["status"].tolist() == ["ok"] * 3
    memory = runs.loc["memory"]
    assert memory["memory_source"] == "smaps"
    assert 0 < memory["peak_pss_bytes"] <= memory["peak_sampled_rss_bytes"]
    assert memory["peak_missed_bytes"] >= 0
    ops = table(results, "ops")
    assert set(ops["run_id"]) == {runs.loc["profile", "run_id"]}
    assert (ops["provider"] == "CPUExecutionProvider").all()
    assert runs["coverage_source"].tolist() == ["api"] * 3
    assert runs["runner_sha256"].notna().all()
    assert runs["runtime_sha256"].notna().all()
    assert json.loads(runs.iloc[0]["input_shape"]) == [1, 3, 16, 16]


def test_cores_that_are_asked_for_are_told_with_those_that_were_granted(case, device, out):
    plan = replace(ONCE, cores="1")
    run = table(bench([case], plan, device, out, runner=host_command())).iloc[0]
    assert (run["cores_asked"], run["cores_granted"]) == ("1", "1")


# Heat


def service(status):
    return f"IsStatusOverride: false\nThermal Status: {status}\n"


def test_a_launch_that_got_hot_is_marked_and_taken_again(case, phone, out, tmp_path):
    # read when probed, before the first launch, after it; then it has cooled
    hot = phone(thermalservice=[service(0), service(0), service(3), service(0)])
    plan = replace(ONCE, max_wait_s=0.5)
    results = bench([case], plan, hot, out, runner=write_runner(tmp_path))
    runs = table(results)
    assert runs["status"].tolist() == ["throttled", "ok"]
    assert runs["attempt"].tolist() == [1, 2]
    assert runs["thermal_status_max"].tolist() == [3, 0]
    assert runs["cooldown_ns"].iloc[1] > 0.05 * 1e9
    telemetry = table(results, "telemetry")
    assert set(telemetry["run_id"]) == set(runs["run_id"])


def test_a_device_that_stays_hot_gives_one_throttled_row_a_launch(case, phone, out, tmp_path):
    hot = phone(thermalservice=[service(4)])
    plan = replace(QUICK, max_wait_s=0)
    runs = table(bench([case], plan, hot, out, runner=write_runner(tmp_path)))
    assert runs["status"].tolist() == ["throttled", "throttled"]
    assert runs["status_message"].unique().tolist() == ["thermal status 4"]


def test_the_sensors_of_a_device_are_in_its_row(case, phone, out, tmp_path):
    cool = phone(thermalservice=[service(0)])
    device = table(bench([case], ONCE, cool, out, runner=write_runner(tmp_path)), "devices").iloc[0]
    sensors = json.loads(device["sensors"])
    assert (sensors["thermal_status"], sensors["battery"]) == ("available", "absent")


# Kills


def killed(pid):
    """Give a stand-in that tells its process id and is killed by SIGKILL."""
    records = launch_records(protocol=2, pid=pid)[:2]
    return f"sys.stdout.write({as_text(records)!r}); sys.stdout.flush(); os.kill(os.getpid(), 9)"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("E lowmemorykiller: Kill 'ort_bench' (4242), uid 2000, oom_score_adj 0", "oom_killed"),
        ("E lowmemorykiller: Kill 'other' (1717), uid 2000, oom_score_adj 0", "crash"),
        ("", "crash"),
    ],
)
def test_a_kill_is_for_want_of_memory_where_the_phone_says_so(case, phone, tmp_path, line, status):
    runner, device = write_runner(tmp_path, killed(4242)), phone(logcat=f"other\n{line}\n")
    results = bench([case], ONCE, device, tmp_path / "out", runner=runner)
    run = table(results).iloc[0]
    assert (run["status"], run["signal"]) == (status, 9)
    assert len(table(results, "memory_samples")) == 1


# A device that goes away


def test_a_lost_launch_is_a_row_and_is_taken_again(case, phone, out, tmp_path):
    device = phone(lost=(1,))
    runs = table(bench([case], QUICK, device, out, runner=write_runner(tmp_path)))
    assert runs["status"].tolist() == ["device_lost", "ok", "ok"]
    assert runs["attempt"].tolist() == [1, 2, 1]
    assert runs["status_message"].iloc[0] == "the phone went away"
    assert device.pushes == 4  # what lay on it may be gone
    assert calls(tmp_path) == 2


def test_a_launch_is_lost_a_few_times_only(case, phone, out, tmp_path):
    device = phone(lost=(1, 2, 3))
    runs = table(bench([case], ONCE, device, out, runner=write_runner(tmp_path)))
    assert runs["status"].tolist() == ["device_lost"] * 3


def test_a_device_that_stays_away_leaves_a_row_for_every_launch_and_goes_on_when_back(
    case, phone, out, tmp_path
):
    device = phone(lost=(2,), gone=True)
    plan, runner = replace(QUICK, launches=4), write_runner(tmp_path)
    with pytest.raises(DeviceError, match="the phone is not there"):
        bench([case], plan, device, out, runner=runner)
    (results,) = out.iterdir()
    runs = table(results)
    assert runs["status"].tolist() == ["ok", "device_lost", "skipped", "skipped"]
    assert runs["status_message"].iloc[-1] == "not launched: the phone is not there"
    assert not is_finished(results)
    device.is_gone = False
    assert bench([case], plan, device, out, runner=runner) == results
    runs = table(results)
    assert runs["status"].tolist() == ["ok", "device_lost", "ok", "ok", "ok"]
    assert (runs["attempt"].tolist(), calls(tmp_path)) == ([1, 1, 2, 1, 1], 4)


# Going on


def stop(done, total, run):
    if run is not None:
        raise KeyboardInterrupt


def test_an_interrupted_session_says_what_to_go_on_with(case, device, out, tmp_path):
    asked = replace(case, config={"session.a": "1"}, provider="cpu", known={"model_opset": 18})
    runner = write_runner(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        bench([asked], QUICK, device, out, runner=runner, on_progress=stop)
    (results,) = list_unfinished(out)
    cases, plan, device_id = read_request(results)
    assert (cases, plan, device_id) == ([asked], QUICK, device.info().device_id)
    assert bench(cases, plan, device, out, runner=runner) == results
    assert list_unfinished(out) == []
    assert str(tmp_path) not in "".join(path.read_text() for path in results.glob("*.json*"))


def test_a_request_that_cannot_be_read_is_refused_by_its_name(tmp_path):
    (tmp_path / "request.json").write_text("{}")
    with pytest.raises(RowsError, match=r"request\.json does not say what to go on with"):
        read_request(tmp_path)


def test_where_nothing_was_begun_there_is_nothing_to_go_on_with(tmp_path):
    assert list_unfinished(tmp_path) == []


def test_files_of_the_runner_are_put_on_the_device_first(case, device, out, tmp_path):
    runner = write_runner(tmp_path)
    results = bench([case], ONCE, device, out, runner=runner, files=[type(tmp_path)(runner[-1])])
    assert table(results)["status"].tolist() == ["ok"]
