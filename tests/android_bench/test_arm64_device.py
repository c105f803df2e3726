"""The emulated core, whole, where its pieces are there: `mofa-deploy runtime add --arm64` fetches
them, never a test."""

import hashlib
import json
import platform
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest
from arm64_examples import COUNTING, case_of, compile_for_arm64, of_a_strange_operator, write_cases
from onnx import save
from pandas.testing import assert_frame_equal

from android_bench.arm64 import EmulatedArm
from android_bench.arm64_cpus import CPUS
from android_bench.arm64_pieces import find_pieces
from android_bench.plan import BenchPlan
from android_bench.rows import CountRow
from android_bench.session import bench
from deploy.commands.bench_devices import require_measured, resume
from deploy.errors import BenchOutputError, DeviceError, UsageError
from reports.frame import load

ILLEGAL, CRASH = 128 + 4, 128 + 11


@pytest.fixture(scope="module")
def pieces():
    try:
        return find_pieces()
    except DeviceError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def a76(pieces, temporary_folder):
    device = EmulatedArm(CPUS["a76"])
    yield device
    device.remove()


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def counted(pieces, cases, tmp_path_factory):
    """Both graphs counted on the default core, and profiled."""
    plan = replace(COUNTING, profile_launches=1)
    return load(bench(cases, plan, EmulatedArm(CPUS["a76"]), tmp_path_factory.mktemp("a76")))


@pytest.fixture(scope="module")
def on_a53(pieces, cases, tmp_path_factory):
    return load(
        bench(cases[1:], COUNTING, EmulatedArm(CPUS["a53"]), tmp_path_factory.mktemp("a53"))
    )


def launch_of(frames, case, mode="count"):
    runs = frames.runs[frames.runs["model_sha256"] == case.artifact.sha256]
    return runs[runs["mode"] == mode].iloc[0]


def steady(frames, case):
    of_launch = frames.counts["run_id"] == launch_of(frames, case)["run_id"]
    return frames.counts[of_launch & (frames.counts["phase"] == "steady")].iloc[0]


def test_a_session_counts_the_session_the_first_and_the_steady_inference(counted, cases):
    for _, rows in counted.counts.groupby("run_id"):
        assert list(rows["phase"]) == ["session", "first", "steady"]
        assert (rows["instructions"] > rows["simd"]).all()
    assert len(counted.counts) == 3 * len(cases)


def test_no_time_and_no_memory_of_the_emulator_is_kept(counted):
    assert len(counted.samples) == len(counted.memory) == len(counted.telemetry) == 0
    empty = ["session_create_ns", "peak_rss_bytes", "temp_start_c", "loadavg1_start", "cores_asked"]
    assert counted.runs[empty].isna().all(axis=None)
    assert (counted.runs["n_samples"] == 0).all()


def test_the_output_is_checked_against_this_machine_s(counted):
    launches = counted.runs[counted.runs["mode"] == "count"]
    assert launches["output_ok"].all()
    assert list(launches["status"]) == ["ok", "ok"]


def test_a_count_repeats_to_the_instruction_in_another_session_whose_folder_has_a_longer_path(
    counted, cases, a76, tmp_path
):
    again = load(bench(cases, COUNTING, a76, tmp_path / "again"))
    kinds = [field.name for field in fields(CountRow) if field.name != "run_id"]
    for case in cases:
        one, other = (
            frames.counts.loc[frames.counts["run_id"] == launch_of(frames, case)["run_id"], kinds]
            for frames in (counted, again)
        )
        assert_frame_equal(one.reset_index(drop=True), other.reset_index(drop=True))


def test_a_core_with_dot_products_uses_them(counted, cases):
    assert steady(counted, cases[1])["dot"] > 0


def test_a_core_without_dot_products_needs_more_for_the_same_output(counted, on_a53, cases):
    older, newer = steady(on_a53, cases[1]), steady(counted, cases[1])
    assert older["dot"] == 0
    assert older["instructions"] > newer["instructions"]
    here, there = (launch_of(frames, cases[1]) for frames in (counted, on_a53))
    assert here["output_sha256"] == there["output_sha256"]


def test_float_convolutions_multiply_as_often_as_the_graph_does(counted, cases):
    multiplications = 32 * 32 * (16 * 16 + 16 * 9)
    assert 4 * steady(counted, cases[0])["fmla"] == pytest.approx(multiplications, rel=0.3)


def test_nodes_have_instructions_in_place_of_times_and_add_up(counted, cases):
    run_id = launch_of(counted, cases[1], "profile")["run_id"]
    nodes = counted.ops[counted.ops["run_id"] == run_id]
    assert "QLinearConv" in set(nodes["op_type"])
    assert nodes["total_ns"].isna().all()
    assert nodes["instructions"].sum() == pytest.approx(
        steady(counted, cases[1])["instructions"], rel=0.2
    )


def test_the_device_is_told_by_its_core_and_versions_and_never_by_this_machine(a76, pieces):
    info = a76.info()
    told = json.loads(info.counts_with)
    assert (info.name, info.abi, info.emulated_cpu) == ("arm64-a76", "aarch64", "a76")
    assert (info.is_phone, info.is_emulator, info.mem_total_bytes) == (False, True, None)
    assert told["cpu"] == "a76"
    assert told["onnxruntime"] == pieces.library_version
    what = f"arm64:a76:{told['onnxruntime']}:{told['qemu']}"
    assert info.device_id == hashlib.sha256(what.encode()).hexdigest()[:16]
    assert platform.node() not in repr(info)


def test_each_core_is_a_device_of_its_own(pieces):
    ids = {EmulatedArm(cpu).info().device_id for cpu in CPUS.values()}
    assert len(ids) == len(CPUS)


def interrupt_after_one(done, total, run):
    if done == 1:
        raise KeyboardInterrupt


def test_resume_finds_the_core_again(cases, a76, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        bench(cases, COUNTING, a76, tmp_path, on_progress=interrupt_after_one)
    (folder,), failed = resume(tmp_path)
    assert list(load(folder).runs["status"]) == ["ok", "ok"]
    assert failed == {}


def test_an_interrupted_session_goes_on_where_it_stopped(cases, a76, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        bench(cases, COUNTING, a76, tmp_path, on_progress=interrupt_after_one)
    done = []
    results = bench(
        cases, COUNTING, a76, tmp_path, on_progress=lambda n, total, run: done.append(n)
    )
    assert done == [1, 2]
    assert len(load(results).runs) == 2


def test_a_description_of_more_than_the_core_is_refused_before_anything_runs(pieces):
    boasts = replace(CPUS["a76"], name="a53-that-boasts", qemu=CPUS["a53"].qemu)
    with pytest.raises(DeviceError, match=r"a53-that-boasts claims .*asimddp, which .* lacks"):
        EmulatedArm(boasts).info()


def test_a_core_that_the_emulator_does_not_know_is_refused(pieces):
    with pytest.raises(DeviceError, match="does not emulate a cortex-a999"):
        EmulatedArm(replace(CPUS["a76"], qemu="cortex-a999")).info()


def test_an_instruction_that_the_core_lacks_is_said_in_words(pieces, a76, tmp_path):
    source = 'int main(void) { __asm__(".inst 0x4e829420"); return 0; }'  # sdot
    program = compile_for_arm64(source, tmp_path / "sdot")
    assert a76.run([a76.push(program, "sdot").as_posix()], 60).exit_code == 0
    a53 = EmulatedArm(CPUS["a53"])
    done = a53.run([a53.push(program, "sdot").as_posix()], 60)
    a53.remove()
    assert done.exit_code == ILLEGAL
    assert done.stderr.endswith("an instruction that this core lacks; take another --cpu\n")


def test_a_crash_before_the_session_is_made_names_the_description(a76, tmp_path):
    source = "int main(void) { *(volatile int *)0 = 1; return 0; }"
    program = compile_for_arm64(source, tmp_path / "crash")
    done = a76.run([a76.push(program, "crash").as_posix()], 60)
    assert done.exit_code == CRASH
    assert "crashed at load" in done.stderr.splitlines()[-1]


def test_a_description_that_is_gone_or_wrong_is_put_right(a76, cases, tmp_path):
    a76.push(cases[0].input, "x")
    root = next(Path(tempfile.gettempdir()).glob("mofa-bench-*"))
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text("processor : 0\nmodel name : of the host\n")
    results = bench(cases[:1], COUNTING, a76, tmp_path)
    assert list(load(results).runs["status"]) == ["ok"]


def test_a_description_that_cannot_be_written_is_said(a76, cases):
    a76.push(cases[0].input, "x")
    root = next(Path(tempfile.gettempdir()).glob("mofa-bench-*"))
    (root / "proc/cpuinfo").mkdir(parents=True)
    with pytest.raises(DeviceError, match=r"description of the a76, .*cpuinfo, cannot be written"):
        a76.run(["/mofa/x"], 60)


def test_a_graph_whose_operators_the_library_lacks_is_named_with_the_reason(a76, tmp_path):
    save(of_a_strange_operator(), tmp_path / "strange.onnx")
    results = bench([case_of(tmp_path / "strange.onnx")], COUNTING, a76, tmp_path / "out")
    with pytest.raises(BenchOutputError, match=r"strange\.external .*load failed: .*Invented"):
        require_measured(results)


def test_a_run_over_its_time_is_ended_and_says_what_to_do(cases, a76, tmp_path):
    start = time.monotonic()
    results = bench(cases[:1], replace(COUNTING, timeout_s=0.05), a76, tmp_path)
    assert time.monotonic() - start < 60
    with pytest.raises(BenchOutputError, match=r"no end within 0\.05 s.*raise --timeout"):
        require_measured(results)


def test_a_plan_of_times_is_refused(cases, a76, tmp_path):
    with pytest.raises(UsageError, match="arm64-a76 has no clock"):
        bench(cases, BenchPlan(threads=1), a76, tmp_path)


def test_a_plan_of_counts_is_refused_where_nothing_counts(cases, device, tmp_path):
    with pytest.raises(UsageError, match="host counts no instructions: pass --device arm64"):
        bench(cases, COUNTING, device, tmp_path)
