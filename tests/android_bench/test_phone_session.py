"""Whole sessions on an emulated phone: the real adb server, the real harness, faults in between."""

import json
import os
import signal
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from bench_examples import QUICK, as_text, calls, launch_records, write_runner

from android_bench.adb import AdbDevice
from android_bench.phone_meminfo import TOLERANCE_PCT
from android_bench.programs import Programs
from android_bench.runner import host_command
from android_bench.session import bench, is_finished
from deploy.commands import bench_devices
from deploy.commands.bench_devices import Job, measure, resume
from deploy.errors import DeviceError

LAUNCH = "--min-runs"  # in the command that starts a launch, and in no other


@pytest.fixture
def stand_in(tmp_path):
    """A stand-in for the runner, put on the phone as the real one is."""

    def make(body=""):
        # an emulated phone has one fast core, and one thread is asked for
        prints = as_text(launch_records(protocol=2, cores_asked="2"))
        runner = write_runner(tmp_path, body, prints=prints)
        return {"runner": runner, "files": [Path(runner[-1])]}

    return make


@pytest.fixture
def device():
    """Give a function that makes the device of an emulated phone, and leave nothing on it."""
    made = []

    def make(phone, **options):
        made.append(AdbDevice(phone.serial, **options))
        return made[-1]

    yield make
    for one in made:
        one.remove()


def first_call_waits(folder, how):
    """Give what a stand-in does in its first call alone: tell that it runs, then wait."""
    for name in ("runs", "go"):
        os.mkfifo(folder / name)
    how = how.format(go=str(folder / "go"))
    return (
        f"if len(open({str(folder / 'calls')!r}).read()) == 1:\n"
        f"    open({str(folder / 'runs')!r}, 'w').close(); {how}"
    )


@contextmanager
def once_it_runs(folder, action):
    """Do something once the first call runs, beside the block."""

    def wait_and_act():
        (folder / "runs").read_text()
        action()

    acting = threading.Thread(target=wait_and_act)
    acting.start()
    yield
    acting.join()


def release(folder):
    """Let the first call go on."""
    (folder / "go").write_text("")


def assert_nameless(results, phone):
    """Check that a session can be passed on without telling whose phone it was."""
    names = [phone.serial.encode(), phone.tree.properties()["ro.serialno"].encode()]
    for path in results.rglob("*.*"):
        assert not [name for name in names if name in path.read_bytes()], path.name


def table(results, name="runs"):
    return pd.read_parquet(results / f"{name}.parquet")


def test_a_session_on_a_phone_with_the_real_runner(start_phone, device, case, tmp_path):
    program, _, library = host_command()  # an emulated phone runs what this machine runs
    plan = replace(QUICK, launches=1, memory_launches=1, profile_launches=1)
    phone = start_phone()
    results = bench(
        [case],
        plan,
        device(phone),
        tmp_path / "out",
        runner=[program, "--library", library],
        files=[Path(program), Path(library)],
    )
    runs = table(results)
    assert runs[["mode", "status"]].to_numpy().tolist() == [
        ["latency", "ok"],
        ["memory", "ok"],
        ["profile", "ok"],
    ]
    timed = runs.iloc[0]
    assert (timed["output_checked"], timed["output_ok"]) == (True, True)
    assert (timed["thermal_source"], timed["thermal_status_start"]) == ("service", 0)
    assert (timed["temp_start_c"], timed["battery_level_pct"]) == (31.2, 87.0)
    assert (timed["freq_cap_min_pct"], timed["cores_asked"]) == (100.0, "2")
    assert {"thermal_status", "temp_c", "freq_cap_khz"} <= set(
        table(results, "telemetry")["metric"]
    )
    assert not table(results, "ops").empty
    phone_row = table(results, "devices").iloc[0]
    assert (phone_row["is_phone"], phone_row["android_release"]) == (True, "14")
    assert not list(phone.storage.glob("mofa-deploy/*/*.onnx"))


def heap_records(heap_kib):
    """Give a launch that reads its memory for ten seconds."""
    sizes = [1024 * heap_kib] * 3 + [0]
    readings = [
        {
            "record": "smaps",
            "t_ns": 1 + tenths * 10**8,
            "phase": "steady",
            "vmas": {"[anon:scudo:primary]": sizes, "": [4096] * 3 + [0]},
        }
        for tenths in range(100)
    ]
    sampler = {"record": "sampler", "readings": len(readings), "interval_mean_ns": 10**8}
    *launch, peak, done = launch_records(protocol=2, mode="memory", interval_ms=10, cores_asked="2")
    return [*launch, *readings, sampler, peak, done]


def test_androids_own_sum_of_the_heap_is_beside_ours(start_phone, device, case, tmp_path):
    phone = start_phone()  # whose `dumpsys meminfo` says 36000 KiB
    body = f"import signal; signal.alarm(20); open({str(tmp_path / 'runs')!r}).read()"
    os.mkfifo(tmp_path / "runs")
    timed = "if '--mode' not in sys.argv: sys.exit(1)"
    runner = write_runner(tmp_path, f"{timed}\n{body}", prints=as_text(heap_records(35_000)))

    def end():  # with the third question: one of the two before has its answer by then
        (tmp_path / "runs").write_text("")

    asked = iter([lambda: phone.when("dumpsys meminfo", next(asked)), end])
    phone.when("dumpsys meminfo", lambda: phone.when("dumpsys meminfo", next(asked)))
    plan = replace(QUICK, launches=1, memory_launches=1)
    results = bench(
        [case], plan, device(phone), tmp_path / "out", runner=runner, files=[Path(runner[-1])]
    )
    memory = table(results).set_index("mode").loc["memory"]
    assert memory["status"] == "ok"
    assert memory["peak_native_heap_bytes"] == 35_000 * 1024
    assert memory["meminfo_native_heap_bytes"] == 36_000 * 1024
    assert memory["meminfo_diff_pct"] == pytest.approx(100 / 35, rel=1e-6)


def test_a_session_leaves_rows_to_be_trusted_on_any_phone(any_phone, case, tmp_path):
    emulated = any_phone.info().manufacturer == "Example"
    program, _, library = host_command()
    needed = {"runner": [program, "--library", library], "files": [Path(program), Path(library)]}
    seconds = 0.0 if emulated else 3.0  # Android takes about one to count a process' memory
    plan = replace(QUICK, launches=1, memory_launches=1, seconds=seconds)
    results = bench([case], plan, any_phone, tmp_path / "out", **(needed if emulated else {}))
    runs = table(results)
    assert runs["status"].tolist() == ["ok", "ok"]
    assert runs["output_ok"].iloc[0]
    assert runs["nodes_on_provider"].tolist() == runs["nodes_total"].tolist()
    assert runs["peak_pss_bytes"].iloc[1] > 0
    # an emulated phone has this machine's kernel and C library, which name no heap
    assert (runs["peak_native_heap_bytes"].notna().iloc[1]) == (not emulated)
    if not emulated:
        assert abs(runs["meminfo_diff_pct"].iloc[1]) <= TOLERANCE_PCT
    assert set(json.loads(table(results, "devices")["sensors"].iloc[0])) >= {"battery", "freq_cap"}


def test_a_cap_while_a_launch_runs_is_seen_and_the_launch_is_taken_again(
    start_phone, device, case, tmp_path, stand_in
):
    phone = start_phone()
    caps = phone.tree.locate("/sys/devices/system/cpu/cpu1/cpufreq/scaling_max_freq")
    usual = caps.read_text()

    def lift():
        caps.write_text(usual)
        release(tmp_path)

    runner = stand_in(first_call_waits(tmp_path, "open({go!r}).read()"))

    def cap():
        caps.write_text("1420800\n")
        phone.when("scaling_max_freq", lambda: threading.Timer(1.0, lift).start())

    with once_it_runs(tmp_path, cap):
        results = bench([case], QUICK, device(phone), tmp_path / "out", **runner)
    runs, telemetry = table(results), table(results, "telemetry")
    assert runs["status"].tolist() == ["throttled", "ok", "ok"]
    assert runs["freq_cap_min_pct"].tolist() == [pytest.approx(50.0, abs=0.1), 100.0, 100.0]
    first = telemetry[telemetry["run_id"] == runs["run_id"].iloc[0]]
    of_cap = first[(first["metric"] == "freq_cap_khz") & (first["source"] == "cpu1")]
    assert of_cap["value"].tolist() == [2841600, 1420800, 2841600]
    assert of_cap["t_ns"].is_monotonic_increasing


@pytest.mark.parametrize("keep", [False, True])
def test_with_files_kept_or_not_a_session_puts_the_settings_back(
    start_phone, device, case, tmp_path, stand_in, *, keep
):
    phone = start_phone()
    setting = phone.tree.locate("settings/global/stay_on_while_plugged_in")
    before, during = setting.read_text(), tmp_path / "during"
    runner = stand_in(f"open({str(during)!r}, 'w').write(open({str(setting)!r}).read())")
    bench([case], QUICK, device(phone, keep=keep), tmp_path / "out", **runner)
    assert (during.read_text(), setting.read_text()) == ("7\n", before)
    assert bool(list(phone.storage.glob("mofa-deploy/*/*.onnx"))) == keep


def test_a_cable_that_is_pulled_during_a_launch_costs_nothing(
    start_phone, device, case, tmp_path, stand_in
):
    phone = start_phone()
    waits = first_call_waits(tmp_path, "open({go!r}).close()")
    with once_it_runs(tmp_path, lambda: (phone.unplug(), phone.plug(), release(tmp_path))):
        results = bench([case], QUICK, device(phone), tmp_path / "out", **stand_in(waits))
    runs = table(results)
    assert runs["status"].tolist() == ["ok", "ok"]
    assert (runs["attempt"].tolist(), calls(tmp_path)) == ([1, 1], 2)


def test_a_launch_that_a_reboot_ended_is_marked_and_taken_again(
    start_phone, device, case, tmp_path, stand_in
):
    phone = start_phone()
    waits = first_call_waits(tmp_path, "time.sleep(60)")  # the reboot ends it
    with once_it_runs(tmp_path, phone.reboot):
        results = bench([case], QUICK, device(phone), tmp_path / "out", **stand_in(waits))
    runs = table(results)
    assert runs["status"].tolist() == ["device_lost", "ok", "ok"]
    assert runs["attempt"].tolist() == [1, 2, 1]
    assert runs["status_message"].iloc[0].startswith("the phone was restarted in the middle")
    assert_nameless(results, phone)


def test_a_phone_that_stays_away_is_a_session_that_goes_on_when_it_is_back(
    start_phone, device, case, tmp_path, stand_in
):
    phone, runner = start_phone(), stand_in()
    plan, out = replace(QUICK, launches=3, return_s=0.2), tmp_path / "out"

    def leave_after_one(done, total, run):
        if done == 1:
            phone.unplug()

    with pytest.raises(DeviceError):
        bench(
            [case],
            plan,
            device(phone, return_s=0.2),
            out,
            on_progress=leave_after_one,
            **runner,
        )
    (results,) = out.iterdir()
    assert table(results)["status"].tolist() == ["ok", "device_lost", "skipped"]
    assert_nameless(results, phone)
    phone.plug()
    assert bench([case], plan, device(phone), out, **runner) == results
    runs = table(results)
    assert runs[runs["status"] == "ok"]["block"].tolist() == [0, 1, 2]
    assert is_finished(results)


def test_of_two_phones_the_one_that_dies_does_not_stop_the_other(
    start_phone, device, case, tmp_path, stand_in
):
    good, dying = start_phone(), start_phone()
    dead = threading.Event()

    def die():
        dying.unplug()
        dead.set()

    dying.when(LAUNCH, die)
    good.when(LAUNCH, lambda: dead.wait(30))
    devices = [device(good), device(dying, return_s=0.2)]
    jobs = [Job(one, one.info(), [case]) for one in devices]
    runner = stand_in()
    folders, failed = measure(
        jobs,
        replace(QUICK, return_s=0.2),
        tmp_path / "out",
        force=False,
        programs=lambda job: Programs(runner["runner"], runner["files"]),
    )
    assert list(failed) == [f"Example Phone 14 {dying.serial}"]
    assert [table(folder)["status"].tolist() for folder in folders] == [["ok", "ok"]]


@pytest.mark.parametrize("resuming", [False, True])
def test_an_interruption_stops_all_phones_after_their_launches_and_going_on_is_for_all(
    start_phone, device, case, tmp_path, *, stand_in, monkeypatch, resuming
):
    phones = [start_phone(), start_phone()]
    phones[0].when(LAUNCH, lambda: os.kill(os.getpid(), signal.SIGINT))
    runner, plan = stand_in(), replace(QUICK, launches=4)
    programs = Programs(runner["runner"], runner["files"])

    def measured(plan):
        jobs = [Job(one, one.info(), [case]) for one in map(device, phones)]
        out = tmp_path / "out"
        return measure(jobs, plan, out, force=False, programs=lambda job: programs)

    with pytest.raises(KeyboardInterrupt):
        measured(plan)
    made = calls(tmp_path)
    assert 1 <= made < 8
    monkeypatch.setattr(bench_devices, "programs_for", lambda *_: programs)
    folders, failed = resume(tmp_path / "out") if resuming else measured(plan)
    assert len(folders) == 2
    assert failed == {}
    assert calls(tmp_path) == 8
    assert all(table(folder)["status"].tolist() == ["ok"] * 4 for folder in folders)


# what a runner does in its launches, one after the other -> the status and a part of the reason
FAULTS = {
    "os.kill(os.getpid(), 11)": ("crash", "SIGSEGV"),
    "os.kill(os.getpid(), 9)": ("crash", "SIGKILL"),
    "time.sleep(60)": ("timeout", "no end within 3 s"),
    "text = 'garbage' + text": ("bad_output", "line 1"),
    "text = text[:len(text) // 2]": ("bad_output", "line"),
    "text = text.replace(text.splitlines(True)[3], '')": ("bad_output", "session"),
    "text = text[:text.rindex('{')]": ("bad_output", "without `done` or `error`"),
}


def test_whatever_a_runner_does_on_a_phone_is_a_row_with_its_reason(
    start_phone, device, case, tmp_path, stand_in
):
    lines = [f"if number == {n}: {what}" for n, what in enumerate(FAULTS, start=1)]
    count = f"number = len(open({str(tmp_path / 'calls')!r}).read())"
    plan = replace(QUICK, launches=len(FAULTS), timeout_s=3)
    phone = start_phone()
    runner = stand_in("\n".join([count, *lines]))
    results = bench([case], plan, device(phone), tmp_path / "out", **runner)
    runs = table(results)
    assert runs["status"].tolist() == [status for status, _ in FAULTS.values()]
    for said, (_, why) in zip(runs["status_message"], FAULTS.values(), strict=True):
        assert why in said
    assert runs["signal"].dropna().tolist() == [11, 9]
    assert phone.processes() == []
