"""The line, stage by stage, on a user's own .onnx file: what is made, said, and not made again."""

import json
import shutil

import numpy as np
import onnx
import pandas as pd
import pytest
from cli_examples import (
    QUICK,
    Said,
    command_without,
    left_over,
    mofa,
    process,
    refusal,
    write_net,
)

from deploy.artifact import read_artifact, sidecar_path, write_artifact
from deploy.files import file_sha256
from deploy.targets import host_target
from deploy.zoo.registry import find_model

KINDS = ("fp32", "int8-x86", "int8-arm-cpu", "int8-opt-x86", "int8-opt-arm-cpu")


@pytest.fixture(scope="session")
def stages(net, judged, calibrated):
    """Give the arguments of each stage, in order; only the first names a file."""
    return {
        "prepare": ("prepare", net, *judged),
        "quantize": ("quantize", "--target", "x86,arm-cpu", *calibrated),
        "optimize x86": ("optimize", "--target", "x86", *judged),
        "optimize arm": ("optimize", "--target", "arm-cpu", *judged),
        "bench": ("bench", *QUICK, *judged),
        "report": ("report",),
    }


@pytest.fixture(scope="session")
def whole(stages, tmp_path_factory):
    """Give the folder of a whole line, and what each stage said for machines."""
    folder = tmp_path_factory.mktemp("whole")
    said = {name: mofa(*stage, "--json", "--out", folder) for name, stage in stages.items()}
    return folder, said


@pytest.fixture
def line(whole, out):
    """Give a copy of that folder."""
    shutil.copytree(whole[0], out)
    return out


def made_in(said: Said) -> dict[str, bool]:
    return {record["kind"]: record["made"] for record in said.json()}


@pytest.mark.parametrize(
    ("stage", "kinds"),
    [
        ("prepare", ["fp32"]),
        ("quantize", ["int8-x86", "int8-arm-cpu"]),
        ("optimize x86", ["int8-opt-x86"]),
        ("optimize arm", ["int8-opt-arm-cpu"]),
    ],
)
def test_a_stage_gives_its_artifacts_as_json_and_nothing_else_on_stdout(whole, stage, kinds):
    folder, said = whole
    records = said[stage].json()
    assert [record["kind"] for record in records] == kinds
    for record in records:
        file = folder / f"net.{record['kind']}.onnx"
        assert record["path"] == str(file)
        assert record["sha256"] == file_sha256(file)
        assert record["bytes"] == file.stat().st_size
        assert record["made"] is True


def test_every_artifact_names_its_parent(whole, net):
    folder, _ = whole
    of = {kind: read_artifact(folder / f"net.{kind}.onnx") for kind in KINDS}
    assert of["fp32"].parent_sha256 == file_sha256(net)
    for target in ("x86", "arm-cpu"):
        assert of[f"int8-{target}"].parent_sha256 == of["fp32"].sha256
        assert of[f"int8-opt-{target}"].parent_sha256 == of[f"int8-{target}"].sha256


def test_quantize_lists_its_crops_in_the_sidecar(whole):
    record = json.loads(sidecar_path(whole[0] / "net.int8-x86.onnx").read_text())
    assert record["params"]["crops"]["crops"] == 12
    assert set(record["params"]["crops"]["top_left"]) == {"0.png", "1.png"}


def test_bench_gives_a_case_for_each_graph_as_json(whole):
    folder, said = whole
    given = said["bench"].json()
    assert {case["kind"] for case in given["cases"]} == set(KINDS)
    assert all(case["latency_median_ms"] > 0 for case in given["cases"])
    assert (folder / "bench").samefile(f"{given['session']}/..")


def test_bench_says_what_it_measures_on_other_hardware(whole):
    foreign = {"x86": "arm-cpu", "arm-cpu": "x86"}[host_target().name]
    lines = whole[1]["bench"].err.splitlines()
    told = [line for line in lines if "says nothing about that" in line]
    assert len(told) == 2
    assert all(f"is made for {foreign}; its latency on host" in line for line in told)


def test_report_gives_its_files_as_json(whole):
    given = whole[1]["report"].json()
    assert {"html", "markdown", "summary_csv"} <= set(given)
    assert "<html" in open(given["html"]).read()  # noqa: PTH123, SIM115
    assert set(pd.read_csv(given["summary_csv"])["kind"]) == set(KINDS)


def test_a_line_leaves_nothing_unfinished(whole):
    assert left_over(whole[0]) == []


def test_devices_gives_this_machine_as_json():
    host = mofa("devices", "--json").json()[0]
    assert host["name"] == "host"
    assert host["measurable"] is True


def test_models_gives_the_demo_network_as_json():
    by_name = {one["model"]: one for one in mofa("models", "--json").json()}
    assert by_name["nafnet-tiny"]["input"] == "1x3x256x256"


@pytest.mark.parametrize("command", ["models", "devices"])
def test_a_list_is_a_table_for_people(command):
    said = mofa(command)
    heads = mofa(command, "--json").json()[0]
    assert said.code == 0
    assert said.out.split("\n")[0].split()[:2] == list(heads)[:2]


# Again


STAGES = ["prepare", "quantize", "optimize x86", "optimize arm"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_finished_stage_says_so_and_does_nothing(line, stages, stage):
    before = {path: path.stat().st_mtime_ns for path in line.iterdir()}
    said = mofa(*stages[stage], "--out", line)
    assert said.code == 0, said.err
    assert "there already, nothing to do (--force makes it again)" in said.out
    assert {path: path.stat().st_mtime_ns for path in line.iterdir()} == before


@pytest.mark.parametrize("stage", STAGES)
def test_force_makes_a_finished_stage_again(line, stages, stage):
    before = {path: path.stat().st_mtime_ns for path in line.glob("*.onnx")}
    made = made_in(mofa(*stages[stage], "--json", "--force", "--out", line))
    assert all(made.values())
    for kind in made:
        file = line / f"net.{kind}.onnx"
        assert file.stat().st_mtime_ns > before[file]


def test_force_makes_the_same_bytes(line, stages):
    before = file_sha256(line / "net.int8-x86.onnx")
    mofa(*stages["quantize"], "--force", "--out", line)
    assert file_sha256(line / "net.int8-x86.onnx") == before


@pytest.mark.parametrize("changed", [("--crops", "10"), ("--seed", "1")])
def test_other_crops_are_other_inputs(line, stages, changed):
    assert made_in(mofa(*stages["quantize"], *changed, "--json", "--out", line)) == {
        "int8-x86": True,
        "int8-arm-cpu": True,
    }


def test_only_the_target_that_is_missing_is_made(line, stages):
    (line / "net.int8-arm-cpu.onnx").unlink()
    assert made_in(mofa(*stages["quantize"], "--json", "--out", line)) == {
        "int8-x86": False,
        "int8-arm-cpu": True,
    }


def test_a_finished_measurement_says_so_and_keeps_its_rows(line, stages):
    (journal,) = line.rglob("journal.jsonl")
    before = journal.read_bytes()
    said = mofa(*stages["bench"], "--out", line)
    assert said.code == 0, said.err
    assert "measured already, nothing to do (--force measures again)" in said.err
    assert journal.read_bytes() == before


def test_force_measures_again(line, net, judged):
    one = ("bench", net, *QUICK, *judged, "--out", line / "again")
    assert mofa(*one).code == 0
    (journal,) = (line / "again").rglob("journal.jsonl")
    before = journal.read_bytes()
    assert mofa(*one, "--force").code == 0
    assert journal.read_bytes() != before


def test_bench_leaves_out_what_is_older_than_its_parent(line, stages):
    written = write_net(line / "written", seed=9)  # a new head; all there came from another
    write_artifact(
        written, line, model="net", kind="plain", parent=None, params={}, versions={}, fidelity={}
    )
    said = mofa(*stages["bench"], "--json", "--out", line)
    assert [case["kind"] for case in said.json()["cases"]] == ["plain"]
    assert said.err.count("is older than what it was made from; left out") == len(KINDS)


# Any .onnx file


@pytest.mark.parametrize(
    "stage",
    [
        ("prepare",),
        ("quantize", "--crops", "4"),
        ("optimize", "--target", "x86"),
        ("bench", *QUICK),
    ],
    ids=lambda stage: stage[0],
)
def test_every_stage_takes_any_onnx_file_and_leaves_its_folder_alone(
    stage, judged, pictures, tmp_path, out
):
    mine = write_net(tmp_path / "mine" / "some.net.v2.onnx", seed=1)
    before = mine.read_bytes()
    data = ("--data", pictures / "train") if stage[0] == "quantize" else ()
    said = mofa(stage[0], mine, *stage[1:], *data, *judged, "--json", "--out", out)
    assert said.code == 0, said.err
    assert list(mine.parent.iterdir()) == [mine]
    assert mine.read_bytes() == before


def test_open_files_are_prepared_too(tmp_path, judged, out):
    graph = write_net(tmp_path / "open.onnx", (1, 3, "h", "w"))
    assert made_in(mofa("prepare", graph, *judged, "--json", "--out", out)) == {"fp32": True}


@pytest.mark.slow
def test_a_user_is_told_what_the_calibration_images_are_where_none_were_named(net, judged, out):
    said = mofa("quantize", net, "--crops", "4", *judged, "--out", out)
    assert said.code == 0, said.err
    assert "calibrating net on the demo photographs; pass --data FOLDER" in said.err


# A bench machine


@pytest.mark.slow
def test_the_demo_networks_graphs_are_measured_without_torch(line, judged, tmp_path):
    weights = find_model("nafnet-tiny").checkpoint
    written = line / "copy"
    shutil.copy(line / "net.fp32.onnx", written)
    plain = write_artifact(
        written,
        line / "demo",
        model="nafnet-tiny",
        kind="plain",
        parent=None,
        params={"trained": True, "weights_sha256": file_sha256(weights)},
        versions={},
        fidelity={},
    )
    command = command_without(tmp_path, "torch")
    measure = ("bench", plain.path, *QUICK, "--json", "--out", line / "demo")
    assert process(*measure, command=command).json()["cases"][0]["model"] == "nafnet-tiny"
    assert process("report", "--json", "--out", line / "demo", command=command).json()["html"]


def test_a_users_line_is_compared_with_its_own_float_graph(line):
    (session,) = (line / "bench").glob("*/runs.parquet")
    said = mofa("report", session.parent, "--out", line, "--json").json()
    summary = pd.read_parquet(said["summary_parquet"]).set_index("kind")
    assert summary.loc["int8-x86", "speed_up"] > 0


def with_weights_beside(net, folder):
    model = onnx.load(net)
    path = folder / "theirs.onnx"
    onnx.save(model, path, save_as_external_data=True, location="theirs.bin", size_threshold=0)
    return path


def test_other_weights_beside_the_same_graph_are_another_model(net, judged, tmp_path, out):
    path = with_weights_beside(net, tmp_path)
    first = mofa("prepare", path, *judged, "--json", "--out", out).json()[0]
    again = mofa("prepare", path, *judged, "--json", "--out", out).json()[0]
    assert (first["made"], again["made"]) == (True, False)
    weights = np.fromfile(tmp_path / "theirs.bin", np.float32)
    (weights * 1.5).tofile(tmp_path / "theirs.bin")
    other = mofa("prepare", path, *judged, "--json", "--out", out).json()[0]
    assert other["made"]
    assert other["sha256"] != first["sha256"]


def test_a_device_gets_no_graph_whose_weights_are_elsewhere(net, judged, tmp_path, out):
    path = with_weights_beside(net, tmp_path)
    said = mofa("bench", path, *QUICK, *judged, "--out", out)
    assert "keeps weights in theirs.bin" in refusal(said)
