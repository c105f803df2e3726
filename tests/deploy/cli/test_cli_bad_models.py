"""ONNX files and artifacts that a command cannot take."""

import json
import shutil

import numpy as np
import onnx
import pytest
from cli_examples import QUICK, models_in, mofa, refusal, write_net
from onnx import TensorProto, helper
from onnx.external_data_helper import set_external_data

from deploy.placement import TARGETS


@pytest.fixture
def commands(judged, calibrated):
    """Give the arguments of each command that takes any .onnx file."""
    return {
        "prepare": ("prepare", *judged),
        "quantize": ("quantize", *calibrated),
        "optimize": ("optimize", "--target", "x86", *judged),
        "bench": ("bench", *QUICK, *judged),
    }


@pytest.fixture(params=["prepare", "quantize", "optimize", "bench"])
def take(request, refuse, commands):
    """Run each of those commands on a file, which it has to refuse; give the line."""
    return lambda model: refuse(*commands[request.param], model)


def test_a_missing_file_is_named(take, tmp_path):
    line = take(tmp_path / "nosuch.onnx")
    assert f"no model file at {tmp_path / 'nosuch.onnx'}" in line
    assert "check the path" in line


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"not a model",
        lambda content: content[: len(content) // 2],
        lambda content: b"\xff" * 16 + content,
    ],
    ids=["empty", "text", "cut", "overwritten"],
)
def test_a_corrupt_file_is_named(take, net, tmp_path, damage):
    corrupt = tmp_path / "corrupt.onnx"
    corrupt.write_bytes(damage(net.read_bytes()))
    line = take(corrupt)
    assert str(corrupt) in line
    assert "export it again" in line


def test_bench_finds_the_one_corrupt_file_among_several_before_it_measures(
    refuse, commands, net, tmp_path
):
    corrupt = tmp_path / "corrupt.onnx"
    corrupt.write_bytes(b"not a model")
    assert str(corrupt) in refuse(*commands["bench"], net, corrupt)
    assert not (refuse.out / "bench").exists()


def keep_outside(path, location):
    """Move the weights of a model out of its file, to where `location` says."""
    model = onnx.load(write_net(path))
    for tensor in model.graph.initializer:
        data = tensor.raw_data
        (path.parent / location).write_bytes(data)
        set_external_data(tensor, location, offset=0, length=len(data))
        tensor.ClearField("raw_data")
        break
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_outside_the_models_folder_are_not_read(take, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    model = keep_outside(inside / "net.onnx", "../secret.bin")
    line = take(model)
    assert str(model) in line
    assert "'../secret.bin'" in line
    assert "inside the file" in line


def test_weights_that_are_missing_are_named(take, tmp_path):
    model = keep_outside(tmp_path / "net.onnx", "weights.bin")
    (tmp_path / "weights.bin").unlink()
    line = take(model)
    assert "'weights.bin'" in line
    assert "put it beside the model" in line


@pytest.mark.parametrize("take", ["quantize", "optimize", "bench"], indirect=True)
def test_a_graph_of_open_size_is_refused_where_a_fixed_one_is_needed(take, tmp_path):
    model = write_net(tmp_path / "open.onnx", (1, 3, "height", "width"))
    line = take(model)
    assert f"{model} has dynamic shapes (image: 1x3xheightxwidth)" in line
    assert "without --dynamic" in line


def test_a_graph_without_anything_to_quantize_is_refused(refuse, commands, tmp_path):
    nodes = [helper.make_node("Sigmoid", ["image"], ["restored"])]
    model = write_net(tmp_path / "plainest.onnx", nodes=nodes)
    line = refuse(*commands["quantize"], model)
    assert f"{model} has no operator to quantize, only Sigmoid" in line
    assert "Conv" in line


def test_an_opset_that_is_too_old_is_refused(refuse, commands, tmp_path):
    old = onnx.load(write_net(tmp_path / "net.onnx"))
    old.opset_import[0].version = 11
    onnx.save(old, tmp_path / "old.onnx")
    line = refuse(*commands["quantize"], tmp_path / "old.onnx")
    assert "has opset 11" in line
    assert "export it again" in line


def test_a_graph_with_two_inputs_is_refused(take, tmp_path):
    model = onnx.load(write_net(tmp_path / "net.onnx"))
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, (1,)))
    onnx.save(model, tmp_path / "two.onnx")
    line = take(tmp_path / "two.onnx")
    assert "2 inputs and 1 outputs" in line


def test_a_graph_of_gray_images_is_refused(take, tmp_path):
    weights = {"wide": np.ones((16, 1, 3, 3)), "narrow": np.ones((1, 16, 3, 3))}
    model = write_net(tmp_path / "gray.onnx", (1, 1, 64, 64), weights=weights)
    line = take(model)
    assert "takes 1x1x64x64" in line
    assert "1x3xHxW" in line


def test_graphs_of_several_sizes_are_not_measured_together(refuse, commands, net, tmp_path):
    large = write_net(tmp_path / "large.onnx", (1, 3, 96, 96))
    line = refuse(*commands["bench"], net, large)
    assert f"{large} takes 1x3x96x96, {net} takes 1x3x64x64" in line
    assert "one input size" in line


def test_the_same_graph_is_not_measured_twice(refuse, commands, net):
    line = refuse(*commands["bench"], net, net)
    assert f"{net} is given twice" in line


def test_weights_that_are_not_numbers_are_found_with_their_tensor(refuse, commands, tmp_path):
    weights = {"narrow": np.full((3, 16, 3, 3), np.nan)}
    model = write_net(tmp_path / "net.onnx", weights=weights)
    line = refuse(*commands["prepare"], model)
    assert "is NaN or infinite" in line
    assert "check the weights" in line


def test_a_bound_that_int8_cannot_meet_leaves_no_file(refuse, commands, net):
    assert mofa(*commands["prepare"], net, "--out", refuse.out).code == 0
    line = refuse(*commands["quantize"], net, "--min-psnr-vs-fp32", "150")
    assert "net int8-arm-cpu, PSNR against fp32" in line
    assert "no mix of integers and float reaches 150.00 dB" in line


def test_a_graph_whose_every_launch_fails_is_an_error_and_keeps_its_rows(refuse, commands, net):
    line = refuse(*commands["bench"], net, "--seconds", "0.001", "--timeout", "0.002")
    assert "every launch of net.external with cpu failed (timeout" in line
    assert "--force" in line
    (session,) = (refuse.out / "bench").glob("*/session.json")
    assert (session.parent / "runs.csv").exists()


# Artifacts that do not fit


@pytest.fixture(scope="session")
def made(net, judged, calibrated, tmp_path_factory):
    """Give a folder with an fp32, an int8 and an optimized artifact of each target."""
    folder = tmp_path_factory.mktemp("made")
    for arguments in (
        ("quantize", net, "--target", "x86,arm-cpu", *calibrated),
        ("optimize", "--target", "x86", *judged),
        ("optimize", "--target", "arm-cpu", *judged),
    ):
        said = mofa(*arguments, "--out", folder)
        assert said.code == 0, said.err
    return folder


@pytest.fixture
def line(made, out):
    """Give a copy of that folder to spoil; it is the output folder of `refuse`."""
    shutil.copytree(made, out)
    return out


@pytest.mark.parametrize("kind", ["int8-x86", "int8-opt-arm-cpu"])
def test_what_is_quantized_is_not_quantized_again(refuse, commands, line, kind):
    file = line / f"net.{kind}.onnx"
    said = refuse(*commands["quantize"], file)
    assert f"{file} is quantized already" in said
    assert "pass the fp32 model" in said


def test_what_is_optimized_is_not_optimized_again(refuse, judged, line):
    file = line / "net.int8-opt-x86.onnx"
    assert f"{file} is optimized already" in refuse("optimize", file, *judged)


def test_int8_of_one_target_is_not_optimized_for_another(refuse, judged, line):
    said = refuse("optimize", line / "net.int8-x86.onnx", "--target", "arm-cpu", *judged)
    assert "is quantized for x86, not for arm-cpu" in said
    assert "mofa-deploy quantize --target arm-cpu" in said


def test_only_the_head_of_a_line_is_prepared(refuse, judged, line):
    said = refuse("prepare", line / "net.fp32.onnx", *judged)
    assert "net.fp32.onnx is fp32" in said
    assert "prepare takes a plain model" in said


def test_optimize_names_the_candidates_where_there_are_several(refuse, judged, line):
    said = refuse("optimize", *judged)
    assert f"2 candidates in {line}" in said
    assert f"{line / 'net.int8-arm-cpu.onnx'}, {line / 'net.int8-x86.onnx'}" in said
    assert "name one" in said


def test_quantize_names_the_candidates_where_there_are_several(refuse, commands, tmp_path):
    for name in ("one", "two"):
        model = write_net(tmp_path / f"{name}.onnx")
        assert mofa(*commands["prepare"], model, "--out", refuse.out).code == 0
    said = refuse(*commands["quantize"])
    assert f"{refuse.out / 'one.fp32.onnx'}, {refuse.out / 'two.fp32.onnx'}" in said
    assert "name one" in said


def test_bench_names_the_models_where_there_are_several(refuse, commands, tmp_path):
    for name in ("one", "two"):
        model = write_net(tmp_path / f"{name}.onnx")
        assert mofa(*commands["prepare"], model, "--out", refuse.out).code == 0
    said = refuse(*commands["bench"])
    assert f"{refuse.out} holds one, two" in said
    assert "--model NAME" in said


@pytest.mark.parametrize(
    ("command", "wanted", "made_by"),
    [
        ("prepare", "plain", "mofa-deploy export"),
        ("quantize", "fp32", "mofa-deploy export"),
        ("optimize", " or ".join(f"int8-{name}" for name in TARGETS), "mofa-deploy quantize"),
    ],
)
def test_a_missing_earlier_stage_is_named_with_its_command(
    refuse, judged, command, wanted, made_by
):
    said = refuse(command, *judged)
    assert f"no {wanted} artifact in {refuse.out}" in said
    assert f"run `{made_by}` first" in said


@pytest.mark.parametrize("options", [[], ["--model", "other"]])
def test_bench_says_where_nothing_is_to_measure(refuse, commands, options):
    said = refuse(*commands["bench"], *options)
    assert f"nothing to measure in {refuse.out}" in said
    assert "mofa-deploy export" in said


def test_report_says_where_nothing_was_measured(refuse):
    said = refuse("report")
    assert f"no measured session in {refuse.out}" in said
    assert "mofa-deploy bench" in said


@pytest.mark.parametrize("session", ["nosuch", "."])
def test_report_names_a_folder_that_is_no_session(refuse, tmp_path, session):
    said = refuse("report", tmp_path / session)
    assert str(tmp_path / session) in said
    assert "mofa-deploy bench" in said


def test_a_model_file_that_is_not_its_sidecars_is_refused(refuse, commands, net, line):
    file = line / "net.fp32.onnx"
    shutil.copy(net, file)
    said = refuse(*commands["quantize"])
    assert f"{file} is not the file that net.fp32.onnx.json describes" in said
    assert "--force" in said


def newer(record):
    return {**record, "schema": 99}


def without_kind(record):
    return {key: value for key, value in record.items() if key != "kind"}


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda record: "{", "is not a sidecar"),
        (lambda record: "[]", "is not a sidecar"),
        (lambda record: json.dumps(without_kind(record)), "is not a sidecar"),
        (lambda record: json.dumps(newer(record)), "has schema 99"),
    ],
    ids=["cut", "list", "incomplete", "newer"],
)
def test_a_sidecar_that_cannot_be_read_is_named(refuse, commands, line, spoil, problem):
    sidecar = line / "net.fp32.onnx.json"
    sidecar.write_text(spoil(json.loads(sidecar.read_text())))
    assert f"{sidecar} {problem}" in refuse(*commands["quantize"])


def test_a_refused_command_leaves_the_folder_as_it_was(line, judged):
    before = models_in(line)
    refusal(mofa("optimize", *judged, "--force", "--out", line))
    assert models_in(line) == before
