"""Results of other tools as rows; the examples are composed here, after the documented formats."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import RowsError
from reports.compare import summarize
from reports.frame import load
from reports.importers import (
    FORMATS,
    google_benchmark,
    jetpack,
    litert,
    ort_perf_test,
    read_foreign,
)

# after onnxruntime_perf_test's result file: model, seconds, peak bytes, CPU %, run
ORT_CSV = """net.onnx,0.0101,52428800,97,0
net.onnx,0.0103,52428800,97,1
net.onnx,0.0102,52428800,97,2
net.onnx,0.0111,53477376,96,0
net.onnx,0.0113,53477376,96,1

P50 Latency: 0.0103 s
"""
# after its newer result file: the time of submission stands before the whole time
ORT_CSV_TWO_TIMES = "net.onnx,0.0001,0.0101,52428800,97,0\nnet.onnx,0.0001,0.0103,52428800,97,1\n"
# after what it prints
ORT_PRINTED = """Session creation time cost: 0.25 s
First inference time cost: 31 ms
Total inference time cost: 1.4 s
Total inference requests: 100
Average inference time cost: 14 ms
Total inference run time: 1.41 s
Avg CPU usage: 68 %
Peak working set size: 104857600 bytes
"""
# after what LiteRT's benchmark_model prints, with a profile in the order of running
LITERT = """STARTING!
Num threads: [4]
Graph: [/data/local/tmp/net.tflite]
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
Initialized session in 9ms.
count=5 first=52000 curr=41000 min=40500 max=52000 avg=43000 std=3000

count=50 first=41000 curr=40900 min=40000 max=42000 avg=41234.5 std=300

Inference timings in us: Init: 9000, First inference: 52000, \
Warmup (avg): 43000, Inference (avg): 41234.5
Memory footprint delta from the start of the tool (MB): init=10.1 overall=18.2
============================== Run Order ==============================
\t [node type]\t [first]\t [avg ms]\t [%]\t [cdf%]\t [mem KB]\t[times called]\t[Name]
\t CONV_2D\t 20.0\t 20.5\t 50%\t 50%\t 0.0\t 1\t[first]:0
\t ADD\t 20.0\t 10.25\t 50%\t 100%\t 0.0\t 2\t[second]:1

============================== Top by Computation Time ==============================
"""
# after its profile in CSV: a type may hold commas, which are tabs in the name
LITERT_CSV_PROFILE = """node type,first,avg_ms,%,cdf%,mem KB,times called,name
Convolution (NHWC, F32),0.2,0.5,80%,80%,0,1,Delegate/Convolution (NHWC\t F32):0
Sum (ND),0.1,0.25,20%,100%,0,2,Delegate/Sum (ND):1
"""
GOOGLE = {
    "context": {"date": "2026-01-01T00:00:00+00:00", "host_name": "desk", "num_cpus": 4},
    "benchmarks": [
        {"name": "BM_Net/256/repeats:2", "run_name": "BM_Net/256", "run_type": "iteration",
         "repetition_index": place, "iterations": 10, "real_time": time, "time_unit": "ms"}
        for place, time in enumerate([12.0, 13.0])
    ] + [
        {"name": "BM_Net/256_mean", "run_name": "BM_Net/256", "run_type": "aggregate",
         "aggregate_name": "mean", "iterations": 2, "real_time": 12.5, "time_unit": "ms"},
        {"name": "BM_Broken", "run_name": "BM_Broken", "run_type": "iteration",
         "error_occurred": True, "error_message": "no model", "iterations": 0, "real_time": 0.0,
         "time_unit": "ns"},
    ],
}  # fmt: skip
JETPACK = {
    "context": {
        "build": {"brand": "google", "model": "Pixel 8", "fingerprint": "google/shiba:15/x",
                  "version": {"sdk": 35}},
        "cpuCoreCount": 9, "cpuLocked": False, "memTotalBytes": 8 * 2**30,
    },
    "benchmarks": [
        {"name": "denoise", "className": "org.example.NetBenchmark", "totalRunTimeNs": 9,
         "metrics": {"timeNs": {"minimum": 1.0e7, "maximum": 1.2e7, "median": 1.1e7,
                                "runs": [1.0e7, 1.1e7, 1.2e7]}},
         "warmupIterations": 10, "repeatIterations": 50, "thermalThrottleSleepSeconds": 0},
        {"name": "LOW-BATTERY_DEBUGGABLE_deblur", "className": "org.example.NetBenchmark",
         "metrics": {"timeNs": {"median": 2.0e7, "runs": [2.0e7]}},
         "warmupIterations": 10, "repeatIterations": 50, "thermalThrottleSleepSeconds": 90},
        {"name": "startup", "className": "org.example.Start", "metrics": {"startupMs": {}},
         "warmupIterations": 0, "repeatIterations": 5, "thermalThrottleSleepSeconds": 0},
    ],
}  # fmt: skip


@pytest.fixture
def file_of(tmp_path):
    def write(text, name="result.txt"):
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path

    return write


def test_a_result_file_of_perf_test_has_every_latency(file_of):
    frames = load(file_of(ORT_CSV))
    assert list(frames.samples["latency_ns"]) == [10100000, 10300000, 10200000, 11100000, 11300000]
    assert list(frames.runs["peak_rss_bytes"]) == [52428800, 53477376]


def test_a_result_file_that_was_appended_to_holds_a_launch_for_each(file_of):
    runs = load(file_of(ORT_CSV)).runs
    assert list(runs["block"]) == [0, 1]
    assert list(runs["n_samples"]) == [3, 2]


def test_of_two_times_the_whole_one_is_the_latency(file_of):
    assert list(load(file_of(ORT_CSV_TWO_TIMES)).samples["latency_ns"]) == [10100000, 10300000]


def test_a_printout_of_perf_test_gives_its_mean_and_says_so(file_of):
    frames = load(file_of(ORT_PRINTED, "net.log"))
    (run,) = frames.runs.to_dict("records")
    assert (run["model"], run["session_create_ns"], run["n_samples"]) == ("net", 250_000_000, 100)
    assert run["status_message"] == "only the mean of 100 inferences is known"
    assert list(frames.samples["phase"]) == ["first", "steady"]
    assert list(frames.samples["latency_ns"]) == [31_000_000, 14_000_000]


def test_a_printout_of_benchmark_model_gives_its_mean_and_its_operators(file_of):
    frames = load(file_of(LITERT))
    (run,) = frames.runs.to_dict("records")
    assert (run["model"], run["provider"], run["intra_op_threads"]) == ("net", "xnnpack", 4)
    assert (run["session_create_ns"], run["n_samples"]) == (9_000_000, 50)
    assert list(frames.samples["latency_ns"]) == [52_000_000, 41_234_500]
    assert list(frames.ops["op_type"]) == ["CONV_2D", "ADD"]
    assert list(frames.ops["total_ns"]) == [20_500_000, 20_500_000]


def test_a_profile_in_csv_below_the_printout_is_read(file_of):
    text = LITERT.partition("=====")[0] + LITERT_CSV_PROFILE
    ops = load(file_of(text)).ops
    assert list(ops["op_type"]) == ["Convolution (NHWC, F32)", "Sum (ND)"]
    assert list(ops["total_ns"]) == [500_000, 500_000]
    assert ops["node_name"][0] == "Delegate/Convolution (NHWC, F32):0"


def test_a_profile_alone_has_no_latency(file_of):
    with pytest.raises(RowsError, match="has no inference timings, only a profile at most"):
        load(file_of(LITERT_CSV_PROFILE))


def test_two_printouts_in_one_file_are_two_launches(file_of):
    frames = load(file_of(LITERT + LITERT))
    assert list(frames.runs["block"]) == [0, 1]
    assert len(frames.ops) == 4


def test_repetitions_of_google_benchmark_are_samples_of_one_launch(file_of):
    frames = load(file_of(GOOGLE))
    runs = frames.runs.set_index("case_id")
    assert list(frames.samples["latency_ns"]) == [12_000_000, 13_000_000]
    assert runs["status_message"]["BM_Net/256"] == "each sample is the mean of 10 iterations"
    assert (runs["status"]["BM_Broken"], runs["status_message"]["BM_Broken"]) == (
        "skipped",
        "no model",
    )
    assert list(frames.devices["name"]) == ["desk"]


def test_of_aggregates_alone_the_median_is_taken(file_of):
    aggregates = [
        {"name": f"BM_{name}", "run_name": "BM", "run_type": "aggregate", "aggregate_name": name,
         "iterations": 5, "real_time": time, "time_unit": "us"}
        for name, time in (("mean", 20), ("median", 10))
    ]  # fmt: skip
    frames = load(file_of(GOOGLE | {"benchmarks": aggregates}))
    assert list(frames.samples["latency_ns"]) == [10_000]
    assert "only the median" in frames.runs["status_message"][0]


def test_methods_of_jetpack_benchmark_are_launches(file_of):
    frames = load(file_of(JETPACK))
    assert list(frames.runs["model"]) == [
        "NetBenchmark.denoise",
        "NetBenchmark.LOW-BATTERY_DEBUGGABLE_deblur",
    ]
    assert list(frames.samples["latency_ns"]) == [10_000_000, 11_000_000, 12_000_000, 20_000_000]
    assert list(frames.runs["throttled"]) == [False, True]
    assert frames.runs["status_message"][1] == "the tool warns: LOW-BATTERY_DEBUGGABLE"
    (device,) = frames.devices.to_dict("records")
    assert (device["name"], device["sdk"], device["is_phone"]) == ("google Pixel 8", 35, True)


EXAMPLES = {
    ort_perf_test.NAME: ORT_CSV,
    litert.NAME: LITERT,
    google_benchmark.NAME: json.dumps(GOOGLE),
    jetpack.NAME: json.dumps(JETPACK),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_known_by_its_content_and_by_its_name(file_of, name):
    path = file_of(EXAMPLES[name])
    by_name = load(f"{name}:{path}").runs
    assert list(by_name["status"]) == list(load(path).runs["status"])
    assert set(by_name["tool_version"]) == {f"imported from {name}"}


@pytest.mark.parametrize("name", FORMATS)
def test_only_its_own_format_recognizes_a_file(name):
    assert [one for one, form in FORMATS.items() if form.recognizes(EXAMPLES[name])] == [name]


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_imported_can_be_summarized(file_of, name):
    summary = summarize(load(file_of(EXAMPLES[name])))
    assert summary["latency_median_ms"].notna().any()
    assert summary["latency_ci_low_ms"].isna().all()
    assert summary["flags"].str.contains("imported").all()


def test_an_imported_file_stands_beside_a_session(file_of, write_session):
    frames = load(write_session({"plain": {"latency_ms": 5.0}}), file_of(ORT_CSV))
    assert set(frames.runs["kind"]) == {"plain", "external"}
    assert frames.runs["device_id"].isna().sum() == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is no session folder and of no format known here: name it as FORMAT:FILE"),
        ("once upon a time", "of no format known here"),
        ('{"benchmarks": 3}', "of no format known here"),
    ],
)
def test_an_unknown_file_is_refused_in_one_line(file_of, text, said):
    with pytest.raises(RowsError, match=said) as raised:
        load(file_of(text))
    assert "\n" not in str(raised.value)


def test_bytes_that_are_no_text_are_of_no_known_format(tmp_path):
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RowsError, match="of no format known here"):
        load(tmp_path / "x")


def test_a_named_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RowsError, match=r"cannot read .*nowhere"):
        load(f"{litert.NAME}:{tmp_path / 'nowhere'}")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (ort_perf_test.NAME, "net.onnx,0,1,1,0\n", "line 1: the latency is 0 s"),
        (ort_perf_test.NAME, "net.onnx,nan,1,1,0\n", "line 1: the latency is 'nan', not a number"),
        (ort_perf_test.NAME, "net.onnx,1,2\n", "line 1 has 3 fields, not 5 or 6"),
        (ort_perf_test.NAME, "", "holds no result of onnxruntime_perf_test"),
        (google_benchmark.NAME, '{"benchmarks": [', "is not whole JSON"),
        (google_benchmark.NAME, "[]", "is not a JSON object"),
        (google_benchmark.NAME, "{}", "has no list of benchmarks"),
        (jetpack.NAME, '{"benchmarks": []}', "holds no result of jetpack_benchmark"),
        (litert.NAME, LITERT.replace("41234.5\nM", "0\nM"), "the mean inference is 0 us"),
    ],
)
def test_a_broken_file_says_what_is_wrong(file_of, name, text, said):
    with pytest.raises(RowsError, match=said) as raised:
        read_foreign(f"{name}:{file_of(text)}")
    assert "\n" not in str(raised.value)


@given(st.sampled_from(sorted(FORMATS)), st.text(max_size=200))
def test_any_text_is_read_or_refused_and_nothing_else(name, text):
    form = FORMATS[name]
    form.recognizes(text)
    try:
        form.read(text, "somewhere")
    except RowsError as error:
        assert "\n" not in str(error).replace(text, "")


@given(st.sampled_from(sorted(EXAMPLES)), st.integers(0, 2000), st.integers(0, 40))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(name, start, length):
    text = EXAMPLES[name][:start] + EXAMPLES[name][start + length :]
    try:
        FORMATS[name].read(text, "somewhere")
    except RowsError as error:
        assert str(error)


@given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=20))
def test_latencies_of_perf_test_come_back_in_nanoseconds(seconds):
    text = "".join(f"net.onnx,{value!r},1,1,{place}\n" for place, value in enumerate(seconds))
    (launch,) = ort_perf_test.read(text, "somewhere").launches
    assert launch.steady_ns == [max(round(value * 1e9), 1) for value in seconds]
