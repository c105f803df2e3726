import hashlib
import os
import subprocess
from itertools import pairwise

import numpy as np
import onnxruntime as ort
import pytest
from bench_examples import SHAPE, model_of, two_convs
from onnx import TensorProto, helper, numpy_helper, save

from android_bench import protocol
from android_bench.record_order import MEMORY_PHASES
from android_bench.records import Output
from android_bench.runner import host_command


@pytest.fixture
def folder(tmp_path):
    save(two_convs(), tmp_path / "net.onnx")
    np.random.default_rng(0).random(SHAPE).astype("<f4").tofile(tmp_path / "input.f32")
    return tmp_path


def start(folder, *options, model="net.onnx", values="input.f32"):
    """Run the real program as the harness does, in a folder that holds nothing of ours."""
    argv = [*host_command(), model, "--input", values, "--output", "output.f32"]
    argv += ["--seconds", "0", "--warmup", "2", "--min-runs", "3", *options]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def run(folder, *options):
    completed = start(folder, *options)
    assert completed.returncode == 0, completed.stderr
    return protocol.parse_launch(completed.stdout)


def refusal(folder, stage, **files):
    """Run what must fail in that stage; give the message."""
    completed = start(folder, **files)
    launch = protocol.parse_launch(completed.stdout)
    due = {"load": protocol.EXIT_LOAD, "run": protocol.EXIT_RUN}[stage]
    assert (completed.returncode, launch.failure.stage) == (due, stage)
    return launch.failure.message


def test_it_counts_first_warmup_and_steady_inferences_as_asked(folder):
    phases = [one.phase for one in run(folder).samples]
    assert phases == ["first", "warmup", "warmup", "steady", "steady", "steady"]


def test_samples_start_one_after_the_other(folder):
    samples = run(folder).samples
    for one, following in pairwise(samples):
        assert one.t_start_ns + one.latency_ns <= following.t_start_ns


def test_it_goes_on_until_the_time_has_passed(folder):
    samples = run(folder, "--seconds", "0.3").samples
    steady = [one for one in samples if one.phase == "steady"]
    last = steady[-1]
    assert last.t_start_ns + last.latency_ns - steady[0].t_start_ns >= 0.29e9


def test_it_stops_where_the_array_of_samples_ends(folder):
    assert len(run(folder, "--seconds", "60", "--max-runs", "9").samples) == 9


def test_the_output_file_holds_what_the_runtime_computes(folder):
    launch = run(folder)
    session = ort.InferenceSession(folder / "net.onnx")
    values = np.fromfile(folder / "input.f32", "<f4").reshape(SHAPE)
    expected = session.run(None, {"input": values})[0]
    written = (folder / "output.f32").read_bytes()
    np.testing.assert_allclose(
        np.frombuffer(written, "<f4").reshape(SHAPE), expected, rtol=1e-5, atol=1e-5
    )
    assert launch.output == Output(len(written), hashlib.sha256(written).hexdigest())


def test_memory_is_read_at_the_end_of_each_phase(folder):
    launch = run(folder)
    assert [one.phase for one in launch.memory] == list(MEMORY_PHASES)
    for one in launch.memory:
        assert one.rss_anon_bytes + one.rss_file_bytes <= one.rss_bytes
    times = [one.t_ns for one in launch.memory]
    assert times == sorted(times)


def test_the_peak_is_no_lower_than_what_was_seen(folder):
    launch = run(folder)
    assert launch.peak.rss_bytes >= max(one.rss_bytes for one in launch.memory)


def test_the_peak_says_whether_it_began_afresh(folder):
    assert run(folder).peak.reset is os.access("/proc/self/clear_refs", os.W_OK)


def test_it_says_what_it_was_asked(folder):
    begin = run(folder, "--threads", "2", "--opt-level", "basic").begin
    assert (begin.provider, begin.intra_op_threads, begin.inter_op_threads) == ("cpu", 2, 1)
    assert (begin.graph_opt_level, begin.warmup, begin.min_runs) == ("basic", 2, 3)
    assert (begin.runtime, begin.runtime_version) == ("onnxruntime", ort.__version__)


def test_threads_do_not_spin_between_runs_unless_asked(folder):
    key = "session.force_spinning_stop"
    assert run(folder).begin.config[key] == "1"
    begin = run(folder, "--config", f"{key}=0", "--config", "session.a=b=c").begin
    assert (begin.config[key], begin.config["session.a"]) == ("0", "b=c")


def test_a_corrupt_model_fails_to_load(folder):
    (folder / "net.onnx").write_bytes(b"garbage")
    assert "INVALID_PROTOBUF" in refusal(folder, "load")


def test_a_model_that_is_not_there_fails_to_load(folder):
    assert "absent.onnx" in refusal(folder, "load", model="absent.onnx")


def test_an_input_that_is_not_there_fails_to_load(folder):
    assert "absent.f32" in refusal(folder, "load", values="absent.f32")


def test_an_input_of_another_size_is_refused_with_both_sizes(folder):
    np.zeros(5, "<f4").tofile(folder / "input.f32")
    assert refusal(folder, "load") == "5 values for an input of shape [1, 3, 16, 16]"


def test_a_model_of_dynamic_shape_is_refused_with_its_shape(folder):
    save(two_convs(shape=(1, 3, "h", "w")), folder / "net.onnx")
    assert "[1, 3, 'h', 'w'], not float32 of a static shape" in refusal(folder, "load")


def test_a_model_of_another_type_is_refused_with_its_type(folder):
    node = helper.make_node("Identity", ["input"], ["output"])
    ends = [("input", SHAPE)], [("output", SHAPE)]
    save(model_of([node], *ends, kind=TensorProto.INT64), folder / "net.onnx")
    assert "input is tensor(int64)" in refusal(folder, "load")


def test_a_model_of_two_inputs_is_refused(folder):
    node = helper.make_node("Add", ["input", "other"], ["output"])
    model = model_of([node], [("input", SHAPE), ("other", SHAPE)], [("output", SHAPE)])
    save(model, folder / "net.onnx")
    assert refusal(folder, "load") == "2 inputs and 1 outputs, not one of each"


def test_an_inference_that_fails_is_told_apart_from_a_model_that_does_not_load(folder):
    table = numpy_helper.from_array(np.zeros(4, np.float32), "table")
    nodes = [
        helper.make_node("Cast", ["input"], ["index"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "index"], ["output"]),
    ]
    save(model_of(nodes, [("input", [2])], [("output", [2])], [table]), folder / "net.onnx")
    np.full(2, 1000, "<f4").tofile(folder / "input.f32")
    assert "1000" in refusal(folder, "run")


@pytest.mark.parametrize(
    "options",
    [
        ["--warmup", "-1"],
        ["--seconds", "nan"],
        ["--opt-level", "most"],
        ["--provider", "tpu"],
        ["--config", "no-equals-sign"],
        ["--max-runs", "3"],
    ],
)
def test_a_wrong_command_line_prints_no_record_and_names_the_option(folder, options):
    completed = start(folder, *options)
    assert (completed.returncode, completed.stdout) == (2, "")
    assert options[0] in completed.stderr
