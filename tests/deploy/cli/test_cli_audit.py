"""The fusion audit and the file formats, as a user meets them."""

import json

import pytest
from cli_examples import QUICK, mofa, refusal, write_net

from deploy.artifact import read_artifact

FUSED = "2 of 3 operators in integers (in float on purpose: 1 Add); left: 1 QuantizeLinear"


@pytest.fixture(scope="module")
def folder(net, judged, calibrated, tmp_path_factory):
    """Give a folder with the line of a net for two targets, in both formats for the phone."""
    out = tmp_path_factory.mktemp("audited")
    mofa("quantize", net, "--target", "x86,arm-cpu", *calibrated, "--out", out)
    said = mofa(*("optimize", "--target", "arm-cpu", "--format", "onnx,ort", *judged, "--out", out))
    assert said.code == 0, said.err
    return out


def test_optimize_says_what_fused(folder, judged):
    said = mofa("optimize", "--target", "x86", *judged, "--out", folder)
    assert FUSED in said.out


def test_both_formats_are_told_as_json(folder, judged):
    said = mofa(
        *("optimize", "--target", "arm-cpu", "--format", "onnx,ort", *judged),
        *("--json", "--out", folder),
    )
    assert [(one["kind"], one["made"]) for one in said.json()] == [
        ("int8-opt-arm-cpu", False),
        ("int8-opt-arm-cpu-ort", False),
    ]


def test_an_unknown_format_is_refused(folder, judged, refuse):
    line = refuse("optimize", folder / "net.int8-x86.onnx", "--format", "tflite", *judged)
    assert "unknown format 'tflite': use onnx or ort" in line


def test_a_float_file_is_optimized_for_a_target(folder, judged, tmp_path):
    said = mofa(
        *("optimize", folder / "net.fp32.onnx", "--target", "arm-cpu", *judged, "--json"),
        *("--format", "onnx,ort", "--out", tmp_path),
    )
    assert [one["kind"] for one in said.json()] == ["fp32-opt-arm-cpu", "fp32-opt-arm-cpu-ort"]
    fusion = read_artifact(tmp_path / "net.fp32-opt-arm-cpu.onnx").fidelity["fusion"]
    assert fusion["line"] == "a float graph: no operator is quantized"


def test_a_float_file_without_a_target_is_refused(folder, refuse):
    line = refuse("optimize", folder / "net.fp32.onnx")
    assert "net.fp32.onnx is made for no target: pass --target" in line


@pytest.mark.parametrize("file", ["int8-x86.onnx", "int8-opt-arm-cpu.onnx", "int8-opt-arm-cpu.ort"])
def test_a_file_that_is_as_it_should_be_passes_strictly(folder, file):
    said = mofa("audit", folder / f"net.{file}", "--strict")
    assert said.code == 0, said.err
    assert "Q and DQ: 3, at most 6 expected" in said.out


def test_a_file_looked_at_for_other_hardware_fails_strictly_after_saying_why(folder):
    file = folder / "net.int8-arm-cpu.onnx"
    said = mofa("audit", file, "--target", "x86", "--strict")
    assert said.code == 1
    assert "int8 activations fuse only with session.qdqisint8allowed=1" in said.out
    (line,) = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert f"{file}: 1 of the convolutions in float: " in line
    assert mofa("audit", file, "--target", "x86").code == 0


def test_json_is_the_same_with_and_without_strict(folder):
    arguments = ("audit", folder / "net.int8-arm-cpu.onnx", "--target", "x86", "--json")
    assert json.loads(mofa(*arguments, "--strict").out) == mofa(*arguments).json()


def test_a_float_file_has_nothing_to_audit_and_is_no_failure(net):
    said = mofa("audit", net, "--strict")
    assert said.code == 0
    assert "a float graph, no operator is quantized" in said.out


def test_a_float_graph_of_open_size_has_nothing_to_audit_either(tmp_path):
    said = mofa("audit", write_net(tmp_path / "open.onnx", (1, 3, "h", "w")))
    assert said.code == 0


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_text("no model")
    assert "text.onnx is no ONNX file" in refusal(mofa("audit", path))


def test_no_file_is_refused(tmp_path):
    assert "no model file at" in refusal(mofa("audit", tmp_path / "gone.onnx"))


def test_an_unknown_target_is_refused(net):
    assert "unknown target 'vax'" in refusal(mofa("audit", net, "--target", "vax"))


def test_forms_to_compare_with_are_made_and_measured_like_any_other(
    net, judged, calibrated, tmp_path
):
    made = mofa(
        *("quantize", net, "--target", "x86", "--also", "dynamic,fp16", *calibrated),
        *("--out", tmp_path, "--json"),
    ).json()
    assert [one["kind"] for one in made] == ["fp32", "int8-x86", "int8-dynamic", "fp16"]
    said = mofa("bench", *QUICK, *judged, "--out", tmp_path, "--json")
    measured = [one["kind"] for one in said.json()["cases"] if one["n_launches"] == 1]
    assert measured == ["fp32", "fp16", "int8-dynamic", "int8-x86"]


def test_an_unknown_form_is_refused_before_any_work(net, refuse, judged):
    line = refuse("quantize", net, "--also", "bf16", *judged)
    assert "unknown form 'bf16': use one of dynamic, fp16" in line


def test_both_formats_are_measured_and_their_fusion_is_in_the_report(folder, judged):
    files = [folder / f"net.{name}" for name in ("fp32.onnx", "int8-opt-arm-cpu.onnx")]
    said = mofa(
        *("bench", *files, folder / "net.int8-opt-arm-cpu.ort", *QUICK, *judged),
        *("--out", folder, "--json"),
    )
    cases = {one["kind"]: one for one in said.json()["cases"]}
    assert cases["int8-opt-arm-cpu-ort"]["n_launches"] == 1
    assert mofa("report", "--out", folder).code == 0
    table = (folder / "report" / "comparison.md").read_text()
    page = (folder / "report" / "report.html").read_text()
    assert f"int8-opt-arm-cpu-ort: {FUSED}" in table
    assert FUSED in page
