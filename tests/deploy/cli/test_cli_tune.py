"""`tune` end to end on this machine, and what `--tuned FILE` makes of its choice."""

import json
import signal
import sys
import tomllib

import numpy as np
import pytest
from bench_programs import programs_of_this_machine
from cli_examples import EXPECTED_ERROR, SIDE_PX, left_over, mofa, process, write_net
from onnx import helper

from android_bench.arm64_pieces import find_pieces
from deploy.artifact import read_artifact
from deploy.commands import bench_devices
from deploy.commands.tune_ledger import FLOAT
from deploy.commands.tune_race import COUNTS_TELL_FROM
from deploy.errors import DeviceError
from deploy.tuning import read_tuned

pytestmark = pytest.mark.slow
FEW = ("--launches", "4", "--seconds", "0.02", "--warmup", "1", "--threads", "1")
TUNED = "net.tuned-host.toml"

# The command, which kills itself when it starts this launch.
STOPS_ITSELF = """
import itertools
import os

from android_bench.host import HostDevice
from deploy.cli import main

numbers, run = itertools.count(1), HostDevice.run


def run_or_stop(device, argv, timeout_s):
    if next(numbers) == {launch}:
        os.kill(os.getpid(), {number})
    return run(device, argv, timeout_s)


HostDevice.run = run_or_stop
main()
"""


@pytest.fixture(scope="module")
def asked(net, calibrated):
    return (net, *calibrated, "--method", "minmax")


@pytest.fixture(scope="module")
def tuned(asked, tmp_path_factory):
    """Tune the small net once; give the folder and what was said."""
    out = tmp_path_factory.mktemp("tuned")
    said = mofa("tune", *asked, *FEW, "--out", out, "--json")
    return out, said.json()


def launches_in(folder):
    """Give the ids of all launches whose rows are kept."""
    lines = [
        json.loads(line)
        for journal in sorted(folder.rglob("journal.jsonl"))
        for line in journal.read_text().splitlines()
    ]
    return {run_id for line in lines for run_id in find_run_ids(line)}


def find_run_ids(value):
    if isinstance(value, dict):
        found = [value["run_id"]] if "run_id" in value else []
        return [*found, *(one for inner in value.values() for one in find_run_ids(inner))]
    return (
        [one for inner in value for one in find_run_ids(inner)] if isinstance(value, list) else []
    )


def test_the_table_has_every_candidate_and_says_why_it_stopped(tuned):
    _, said = tuned
    tried = {one["candidate"]: one for one in said["tried"]}
    assert {"default", "preset=accurate", "ends=keep", "layernorm=fused"} <= set(tried)
    assert all(one["why"] for one in tried.values())
    assert tried["layernorm=fused"]["why"] == "the same graph as default"
    assert tried["layernorm=fused"]["latency_ms"] is None
    assert tried["default"]["ratio"] == 1
    measured = [one for one in tried.values() if one["launches"]]
    assert all(
        one["latency_ms_low"] <= one["latency_ms"] <= one["latency_ms_high"] for one in measured
    )
    integers = [one for one in measured if one["candidate"] != FLOAT]
    assert len(integers) == len(measured) - 1
    assert all(one["psnr_vs_fp32_db"] > 20 for one in integers)
    assert tried["default"]["psnr_drop_db"] is not None


def test_the_file_says_where_it_comes_from_and_what_was_tried(tuned, net):
    out, said = tuned
    file = read_tuned(out / TUNED)
    on = file.tuned_on
    assert (on.model, on.device, on.metric, on.emulated_cpu) == ("net", "host", "latency", None)
    assert on.model_sha256 == read_artifact(net).sha256
    assert on.input_shape == f"1x3x{SIDE_PX}x{SIDE_PX}"
    assert file.choice.record() == said["choice"]
    known = tomllib.loads((out / TUNED).read_text())["tried"]
    assert [one["candidate"] for one in known] == [one["candidate"] for one in said["tried"]]


def test_the_stages_make_the_winner_of_it_to_the_byte(tuned, asked, judged, out):
    there, _ = tuned
    model, *calibration = asked
    file = ("--tuned", there / TUNED)
    (fp32,) = mofa("prepare", model, *file, *judged, "--out", out, "--json").json()
    (int8,) = mofa("quantize", fp32["path"], *file, *calibration, "--out", out, "--json").json()
    (made,) = mofa("optimize", int8["path"], *file, *judged, "--out", out, "--json").json()
    assert made["sha256"] == read_tuned(there / TUNED).tuned_on.optimized_sha256


def test_the_same_command_again_measures_nothing(tuned, asked):
    out, said = tuned
    before = launches_in(out)
    again = mofa("tune", *asked, *FEW, "--out", out, "--json")
    assert again.json()["tried"] == said["tried"]
    assert launches_in(out) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_tuning_goes_on_and_keeps_its_launches(asked, out, tmp_path, number):
    script = tmp_path / "command.py"
    script.write_text(STOPS_ITSELF.format(launch=11, number=int(number)))
    command = (sys.executable, "-P", script)
    stopped = process("tune", *asked, *FEW, "--out", out, command=command)
    assert stopped.code == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in stopped.err
    assert not (out / TUNED).exists()
    before = launches_in(out)
    assert len(before) == 10
    assert mofa("tune", *asked, *FEW, "--out", out).code == 0
    assert before <= launches_in(out)
    assert (out / TUNED).is_file()
    assert left_over(out) == []


@pytest.fixture
def other_choice(tuned, tmp_path):
    """Give a file with another choice than any that the small net's default is."""
    text = (tuned[0] / TUNED).read_text()
    table = text[text.index("[choice]") : text.index("[tuned_on]")]
    chosen = table
    for old, new in tomllib.loads(table)["choice"].items():
        wanted = {"preset": "accurate", "ends": "keep"}.get(old, new)
        chosen = chosen.replace(f'{old} = "{new}"', f'{old} = "{wanted}"')
    (tmp_path / "other.toml").write_text(text.replace(table, chosen))
    return tmp_path / "other.toml"


def test_forms_target_and_preset_come_from_the_file(other_choice, asked, out):
    prepared, quantized = mofa(
        "quantize", *asked, "--tuned", other_choice, "--out", out, "--json"
    ).json()
    assert prepared["params"]["forms"]["ends"] == "keep"
    assert quantized["params"]["recipe"]["preset"] == "accurate"
    assert quantized["params"]["target"] == read_tuned(other_choice).choice.target


def test_an_option_beside_the_file_goes_before_it(other_choice, net, judged, out):
    (made,) = mofa(
        *("prepare", net, "--tuned", other_choice, "--ends", "padded"), *judged,
        *("--out", out, "--json"),
    ).json()  # fmt: skip
    assert made["params"]["forms"]["ends"] == "padded"


def test_a_file_made_in_another_way_is_refused(other_choice, asked, judged, refuse, out):
    (_, made) = mofa("quantize", *asked, "--target", "x86", "--out", out, "--json").json()
    line = refuse("optimize", made["path"], "--tuned", other_choice, *judged)
    assert "was made with ends auto" in line
    assert "quantize --tuned" in line


def test_another_network_takes_the_forms_and_is_told(other_choice, judged, tmp_path, out):
    other = write_net(tmp_path / "other.onnx", seed=1)
    said = mofa("prepare", other, "--tuned", other_choice, *judged, "--out", out)
    assert said.code == 0
    assert "nothing was measured for other" in " ".join(said.err.split())


def test_a_tuned_file_that_is_none_is_refused(net, judged, refuse, tmp_path):
    (tmp_path / "wrong.toml").write_text('format = 1\nchoice = "fast"\ntuned_on = {}\n')
    line = refuse("prepare", net, "--tuned", tmp_path / "wrong.toml", *judged)
    assert "wrong.toml: choice is 'fast', not a table" in line


def test_a_bound_that_nothing_keeps_says_the_best_and_writes_nothing(asked, out):
    said = mofa("tune", *asked, *FEW, "--max-psnr-drop", "-50", "--out", out)
    assert said.code == EXPECTED_ERROR
    assert "lose at most -50 dB" in said.err
    assert "the best is x86" in said.err or "the best is arm-cpu" in said.err
    assert list(out.glob("*.toml")) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--device", "nowhere"), "no device 'nowhere'"),
        (("--target", "nnapi"), "is a provider's own"),
        (("--target", "vax"), "unknown target 'vax'"),
        (("--preset", "slow"), "unknown preset 'slow'"),
        (("--model", "nafnet-tiny"), "and what to export"),
        (("--cores", "many"), "many"),
        (("--device", "arm64", "--cpu", "a99"), "unknown CPU 'a99'"),
    ],
)
def test_a_name_that_there_is_not_is_refused(words, said, asked, refuse):
    assert said in refuse("tune", *asked, *words)


def test_a_quantized_file_is_refused(asked, refuse, out):
    (_, made) = mofa("quantize", *asked, "--target", "x86", "--out", out, "--json").json()
    assert "is int8-x86: tune takes a plain model" in refuse("tune", made["path"], *asked[1:])


def test_a_graph_with_one_form_only_has_nothing_to_tune(calibrated, out, tmp_path):
    depthwise = helper.make_node(
        "Conv", ["image", "each"], ["restored"], "only", pads=[1] * 4, group=3
    )
    weights = {"each": np.random.default_rng(0).standard_normal((3, 1, 3, 3)) * 0.1}
    net = write_net(tmp_path / "one.onnx", nodes=[depthwise], weights=weights)
    words = ("--method", "minmax", "--preset", "fast", "--target", "x86", "--out", out)
    said = mofa("tune", net, *calibrated, *FEW, *words)
    assert said.code == EXPECTED_ERROR
    assert "has nothing to tune on host" in said.err
    assert list(out.glob("*.toml")) == []


def test_a_phone_chooses_between_both_types(asked, out, start_phone, monkeypatch):
    monkeypatch.setattr(bench_devices, "programs_for", programs_of_this_machine)
    phone = start_phone()
    said = mofa("tune", *asked, *FEW, "--device", phone.serial, "--out", out, "--json").json()
    on = said["tuned_on"]
    assert (on["device"], on["metric"]) == ("Example Phone 14", "latency")
    integers = [one for one in said["tried"] if one["candidate"] != FLOAT]
    assert {one["target"] for one in integers} == {"arm-cpu", "arm-cpu-u8"}
    assert said["file"].endswith("net.tuned-example-phone-14.toml")
    assert phone.serial not in (out / "net.tuned-example-phone-14.toml").read_text()
    assert list(phone.storage.iterdir()) == []


def test_an_emulated_core_chooses_by_exact_counts(asked, out):
    try:
        find_pieces()
    except DeviceError as missing:
        pytest.skip(str(missing))
    said = mofa("tune", *asked, "--device", "arm64", "--out", out, "--json").json()
    on = said["tuned_on"]
    assert (on["device"], on["metric"], on["emulated_cpu"]) == ("arm64-a76", "instructions", "a76")
    counted = [one for one in said["tried"] if one["launches"]]
    assert len(counted) > 2
    assert all(one["instructions_m_low"] == one["instructions_m_high"] for one in counted)
    assert not any("latency_ms" in one for one in said["tried"])
    least = min(one["instructions_m"] for one in counted if one["candidate"] != FLOAT)
    chosen = next(one for one in counted if {**one, **said["choice"]} == one)
    assert chosen["instructions_m"] <= least * (1 + COUNTS_TELL_FROM)


def test_two_threads_cannot_be_counted(asked, refuse):
    try:
        find_pieces()
    except DeviceError as missing:
        pytest.skip(str(missing))
    line = refuse("tune", *asked, "--device", "arm64", "--threads", "2")
    assert "instructions of 2 threads cannot be counted" in line


NETWORK = """
import torch
from torch import nn


def make_net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
"""


def test_the_whole_line_takes_the_choice_too(other_choice, calibrated, out, write_module):
    model = ("--model", f"{write_module(NETWORK)}:make_net", "--shape", "1,3,64,64")
    quick = ("--launches", "1", "--seconds", "0.02", "--threads", "1")
    said = mofa(
        *("run", *model, *calibrated, *quick, "--tuned", other_choice), *("--out", out, "--json")
    )
    made = {one["kind"]: one["params"] for one in said.json()["artifacts"]}
    assert made["fp32"]["forms"]["ends"] == "keep"
    target = read_tuned(other_choice).choice.target
    assert made[f"int8-{target}"]["recipe"]["preset"] == "accurate"
    assert "nothing was measured for" in " ".join(said.err.split())
