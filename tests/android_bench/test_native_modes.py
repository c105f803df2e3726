"""The modes of the native runner, and what it does with cores and providers."""

import hashlib
import json
import os
import subprocess
from itertools import pairwise

import numpy as np
import onnxruntime as ort
import pytest
from bench_examples import SHAPE, model_of
from native_examples import (
    PROPERTIES,
    RUNTIME_WITH_NNAPI,
    failure,
    launch,
    make_library,
    start,
    write_inputs,
)
from onnx import helper

from android_bench.runner import host_command, host_library


@pytest.fixture
def folder(tmp_path):
    return write_inputs(tmp_path)


def test_a_memory_launch_reads_every_phase_by_the_names_of_mappings(folder):
    seen = launch(folder, "--mode", "memory", "--interval-ms", "1", "--seconds", "0.05")
    phases = [one.phase for one in seen.smaps]
    assert sorted(set(phases), key=phases.index) == ["baseline", "loaded", "first", "steady"]
    assert {"", "[heap]", "[stack]"} <= set(seen.smaps[-1].vmas)
    assert str(host_library().resolve()) in seen.smaps[-1].vmas


def test_the_mappings_of_a_reading_sum_to_resident_memory(folder):
    seen = launch(folder, "--mode", "memory")
    (loaded,) = [one for one in seen.memory if one.phase == "loaded"]
    *_, last = [one for one in seen.smaps if one.phase == "loaded"]
    rss, pss = (sum(sizes[place] for sizes in last.vmas.values()) for place in (0, 1))
    assert rss == pytest.approx(loaded.rss_bytes, rel=0.05)
    assert pss == pytest.approx(loaded.pss_bytes, rel=0.05)


def test_the_sampler_says_how_closely_it_looked(folder):
    seen = launch(folder, "--mode", "memory", "--interval-ms", "2", "--seconds", "0.1")
    assert seen.begin.interval_ms == 2
    assert seen.sampler.readings == len(seen.smaps)
    times = [one.t_ns for one in seen.smaps]
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) == seen.sampler.interval_max_ns
    assert seen.sampler.interval_mean_ns == (times[-1] - times[0]) // (len(times) - 1)
    assert seen.sampler.truncated == 0


def test_the_sampler_sees_what_the_model_takes(folder):
    wide = model_of(
        [helper.make_node("Tile", ["input", "often"], ["wide"]),
         helper.make_node("ReduceMax", ["wide"], ["output"], keepdims=1)],
        [("input", SHAPE)], [("output", (1, 1, 1, 1))],
        [helper.make_tensor("often", 7, [4], [1, 1, 128, 128])],
    )  # fmt: skip
    write_inputs(folder, wide)
    seen = launch(folder, "--mode", "memory", "--interval-ms", "1")
    anonymous = {
        phase: max(
            sum(sizes[0] for name, sizes in one.vmas.items() if name in ("", "[heap]"))
            for one in seen.smaps
            if one.phase == phase
        )
        for phase in ("baseline", "steady")
    }
    assert anonymous["steady"] - anonymous["baseline"] >= 4 * np.prod(SHAPE) * 128 * 128


def test_a_memory_launch_that_is_killed_has_told_how_far_it_came(folder):
    command = [*host_command(), "net.onnx", "--input", "input.f32", "--output", "output.f32"]
    command += ["--mode", "memory", "--interval-ms", "1", "--seconds", "30"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        lines = []
        while not lines or json.loads(lines[-1]).get("phase") != "steady":
            lines.append(process.stdout.readline())
        process.kill()
    assert {json.loads(line)["record"] for line in lines} >= {"begin", "session", "smaps"}


def test_a_profile_is_left_where_it_was_asked_for_and_names_each_nodes_provider(folder):
    seen = launch(folder, "--mode", "profile", "--profile", "profile.json")
    text = (folder / "profile.json").read_text()
    assert (seen.profile.file, seen.profile.bytes) == ("profile.json", len(text))
    nodes = [one for one in json.loads(text) if one["name"].endswith("_kernel_time")]
    assert {one["args"]["provider"] for one in nodes} == {"CPUExecutionProvider"}
    assert [path.name for path in folder.glob("*.json")] == ["profile.json"]


@pytest.mark.parametrize("name", ["saved.onnx", "saved.ort"])
def test_the_graph_that_is_saved_computes_the_same(folder, name):
    seen = launch(folder, "--mode", "save", "--save", name)
    written = (folder / name).read_bytes()
    assert seen.samples == ()
    assert (seen.saved.bytes, seen.saved.sha256) == (
        len(written),
        hashlib.sha256(written).hexdigest(),
    )
    launch(folder, "--mode", "check")
    expected = np.fromfile(folder / "output.f32", "<f4")
    launch(folder, "--mode", "check", model=name)
    np.testing.assert_allclose(np.fromfile(folder / "output.f32", "<f4"), expected, rtol=1e-5)


def test_a_check_runs_once_whatever_it_is_asked(folder):
    seen = launch(folder, "--mode", "check", "--warmup", "5", "--min-runs", "7")
    assert [one.phase for one in seen.samples] == ["first"]
    assert (seen.begin.mode, seen.begin.warmup, seen.begin.min_runs) == ("check", 0, 0)


@pytest.mark.parametrize("n", [1, 13, 14, 15, 16, 17, 29, 30, 32, 1000])
def test_the_hash_of_the_output_is_sha256(tmp_path, n):
    node = helper.make_node("Relu", ["input"], ["output"])
    write_inputs(tmp_path, model_of([node], [("input", [n])], [("output", [n])]))
    np.random.default_rng(n).random(n).astype("<f4").tofile(tmp_path / "input.f32")
    seen = launch(tmp_path, "--mode", "check")
    written = (tmp_path / "output.f32").read_bytes()
    assert (seen.output.bytes, seen.output.sha256) == (4 * n, hashlib.sha256(written).hexdigest())


def test_cores_are_asked_for_and_read_back(folder):
    mask = f"{1 << min(os.sched_getaffinity(0)):x}"
    begin = launch(folder, "--cores", mask).begin
    assert (begin.cores_asked, begin.cores_granted) == (mask, mask)


def test_cores_that_are_not_there_are_no_error_and_not_granted(folder):
    begin = launch(folder, "--cores", "80000000000000000").begin
    assert begin.cores_asked == "80000000000000000"
    assert begin.cores_granted == launch(folder).begin.cores_granted


def test_the_runtime_tells_who_computes_which_node(folder):
    assignment = launch(folder).assignment
    assert (assignment.source, assignment.nodes_total) == ("api", 2)
    assert assignment.providers["CPUExecutionProvider"].nodes == 2
    assert [(one.op_type, one.provider) for one in assignment.nodes] == [
        ("Conv", "CPUExecutionProvider")
    ] * 2


def test_without_that_answer_the_verbose_log_tells(folder):
    off = ["--config", "session.record_ep_graph_assignment_info=0"]
    assert launch(folder, *off).assignment.source == "none"
    assignment = launch(folder, *off, "--log-level", "0").assignment
    assert assignment.source == "log"
    assert set(assignment.providers) == {"CPUExecutionProvider"}


def test_what_the_runtime_logs_goes_to_standard_error(folder):
    completed = start(folder, "--log-level", "0")
    assert "verbose: onnxruntime: Node placements" in completed.stderr


def test_a_name_that_is_not_ascii_is_printed_as_json(tmp_path):
    nodes = [
        helper.make_node("Relu", ["input"], ["middle"], name='größe 😀 "\\'),
        helper.make_node("Relu", ["middle"], ["output"], name="x\ny"),
    ]
    write_inputs(tmp_path, model_of(nodes, [("input", SHAPE)], [("output", SHAPE)]))
    completed = start(tmp_path, "--opt-level", "disable")
    assert completed.stdout.isascii()
    seen = launch(tmp_path, "--opt-level", "disable")
    assert [one.name for one in seen.assignment.nodes] == ['größe 😀 "\\', "x\ny"]


def test_a_library_that_is_not_there_fails_to_load_without_a_version(folder):
    code, found = failure(folder, library="absent.so")
    assert (code, found.stage) == (3, "load")
    assert "absent.so" in found.message


def test_a_library_that_is_no_onnx_runtime_is_refused(folder):
    other = make_library(folder, "other.so", "int x;")
    assert failure(folder, library=other)[1].message.endswith("no OrtGetApiBase in the library")


def test_a_provider_that_the_build_lacks_is_unavailable(folder):
    code, found = failure(folder, "--provider", "xnnpack")
    assert (code, found.stage) == (5, "provider")
    assert "XNNPACK execution provider is not supported in this build" in found.message
    code, found = failure(folder, "--provider", "nnapi")
    assert (code, found.message) == (5, "this build of ONNX Runtime has no NNAPI")


@pytest.fixture
def with_nnapi(folder):
    return make_library(folder, "runtime.so", RUNTIME_WITH_NNAPI, REAL=host_library())


def test_nnapi_outside_of_android_is_unavailable(folder, with_nnapi):
    code, found = failure(folder, "--provider", "nnapi", library=with_nnapi)
    assert (code, found.stage) == (5, "provider")
    assert "part of Android" in found.message


def test_nnapi_before_sdk_27_is_unavailable(folder, with_nnapi):
    old = make_library(folder, "properties.so", PROPERTIES, SDK="26")
    code, found = failure(folder, "--provider", "nnapi", library=with_nnapi, preload=old)
    assert (code, found.message) == (5, "NNAPI needs SDK 27, this device has 26")


def test_nnapi_without_its_library_is_unavailable_and_no_crash(folder, with_nnapi):
    new = make_library(folder, "properties.so", PROPERTIES, SDK="34")
    code, found = failure(folder, "--provider", "nnapi", library=with_nnapi, preload=new)
    assert (code, found.stage) == (5, "provider")
    assert "libneuralnetworks.so" in found.message


def test_nnapi_that_is_there_is_added_with_its_flags(folder, with_nnapi):
    new = make_library(folder, "properties.so", PROPERTIES, SDK="34")
    make_library(folder, "libneuralnetworks.so", "int x;")
    how = {"library": with_nnapi, "preload": new}
    seen = launch(folder, "--provider", "nnapi", "--provider-option", "flags=5", **how)
    assert seen.begin.provider_options == {"flags": "5"}


def test_xnnpack_gets_the_threads_and_stops_the_other_pool_from_spinning(folder):
    completed = start(folder, "--provider", "xnnpack", "--threads", "2")
    begin = json.loads(completed.stdout.splitlines()[0])
    assert begin["provider_options"] == {"intra_op_num_threads": "2"}
    assert begin["config"]["session.intra_op.allow_spinning"] == "0"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--provider", "nnapi", "--provider-option", "flags=x"], "flags"),
        (["--provider", "nnapi", "--provider-option", "speed=1"], "--provider-option"),
        (["--mode", "fast"], "--mode"),
        (["--mode", "save"], "--save"),
        (["--mode", "profile"], "--profile"),
        (["--cores", "0"], "--cores"),
        (["--cores", "xyz"], "--cores"),
        (["--interval-ms", "0"], "--interval-ms"),
        (["--log-level", "5"], "--log-level"),
        (["--threads", "99999999999999999999"], "--threads"),
        (["--unheard-of", "1"], "--unheard-of"),
        (["--warmup"], "--warmup"),
        (["another.onnx"], "another.onnx"),
    ],
)
def test_a_wrong_option_of_version_2_is_named_and_nothing_printed(folder, options, named):
    completed = start(folder, *options)
    assert (completed.returncode, completed.stdout) == (2, "")
    assert named in completed.stderr.splitlines()[-1]


def test_it_runs_without_a_reader_and_without_a_crash(folder):
    """A pipe that nobody reads ends the runner, as it does any program."""
    command = [*host_command(), "net.onnx", "--input", "input.f32", "--output", "output.f32"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE) as process:
        process.stdout.close()
    assert process.returncode in (4, -13)


def test_a_whole_launch_computes_what_python_does(folder):
    launch(folder, "--threads", "2")
    values = np.fromfile(folder / "input.f32", "<f4").reshape(SHAPE)
    expected = ort.InferenceSession(folder / "net.onnx").run(None, {"input": values})[0]
    written = np.fromfile(folder / "output.f32", "<f4").reshape(SHAPE)
    np.testing.assert_allclose(written, expected, rtol=1e-5, atol=1e-5)
