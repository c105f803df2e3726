"""Which file a provider is measured with, and which files it may not be measured with."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from android_bench.device import DeviceInfo
from deploy.artifact import read_artifact
from deploy.commands.bench_cases import cases_for, chosen_for, read_providers
from deploy.errors import ArtifactError, UsageError

HOST = DeviceInfo("d", "host", "x86_64", "Linux", "cpu", 2, 1, is_phone=False)
PHONE = replace(HOST, name="Phone", abi="arm64-v8a", is_phone=True)

KINDS = ("plain", "fp32", "int8-x86", "int8-arm-cpu", "int8-nnapi", "int8-xnnpack")
LINE = [(kind, kind.partition("-")[2] or None) for kind in KINDS]
LINE += [("int8-opt-nnapi", "nnapi"), ("int8-dynamic", None)]


def write_qdq(path, kind):
    """Write a graph that rounds its input to codes of a type: int8, uint8 or uint16."""
    zero = numpy_helper.from_array(np.zeros((), kind), "zero")
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["output"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 4, 4))
        for name in ("input", "output")
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [zero, scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, path)
    return read_artifact(path)


@pytest.fixture
def line(tmp_path):
    artifact = write_qdq(tmp_path / "net.onnx", np.uint8)
    return [
        replace(artifact, kind=kind, path=tmp_path / f"net.{kind}.onnx", params={"target": target})
        for kind, target in LINE
    ]


def kinds(chosen):
    return [one.kind for one in chosen]


@pytest.mark.parametrize(
    ("provider", "device", "expected"),
    [
        ("cpu", HOST, [kind for kind, _ in LINE]),
        ("cpu", PHONE, ["plain", "fp32", "int8-arm-cpu", "int8-dynamic"]),
        ("cpu", replace(PHONE, abi="x86_64"), ["plain", "fp32", "int8-x86", "int8-dynamic"]),
        ("nnapi", PHONE, ["fp32", "int8-nnapi", "int8-opt-nnapi"]),
        ("xnnpack", PHONE, ["fp32", "int8-xnnpack"]),
    ],
)
def test_each_provider_gets_what_is_made_for_it_and_a_float_file(line, provider, device, expected):
    assert kinds(chosen_for(line, provider, device)) == expected


@pytest.mark.parametrize(
    ("provider", "names"),
    [("nnapi", "net.fp32.onnx, net.int8-nnapi.onnx"), ("cpu", "net.plain.onnx, net.fp32.onnx")],
)
def test_what_was_chosen_is_named(line, capsys, provider, names):
    chosen_for(line, provider, PHONE)
    assert f"with {provider}: {names}" in capsys.readouterr().err


def test_where_nothing_is_made_for_a_provider_the_float_file_is_measured_and_that_is_said(
    line, capsys
):
    without = [one for one in line if one.target != "xnnpack"]
    assert kinds(chosen_for(without, "xnnpack", PHONE)) == ["fp32"]
    assert "mofa-deploy quantize --target xnnpack" in capsys.readouterr().err


def test_where_there_is_nothing_at_all_for_a_provider_that_is_an_error(line):
    foreign = [one for one in line if one.target == "x86"]
    with pytest.raises(ArtifactError, match="none of the files is for nnapi on Phone"):
        chosen_for(foreign, "nnapi", PHONE)


def cases(artifact, provider, device=PHONE):
    crop = artifact.path.with_name("input.f32")
    return cases_for([artifact], [provider], device, crop, named=True)


@pytest.mark.parametrize(
    ("provider", "kind"),
    [("nnapi", np.uint8), ("xnnpack", np.int8), ("cpu", np.int8), ("cpu", np.uint8)],
)
def test_a_named_file_is_measured_with_a_provider_that_takes_its_activations(
    tmp_path, provider, kind
):
    (case,) = cases(write_qdq(tmp_path / "net.onnx", kind), provider)
    assert (case.provider, case.known["model_opset"]) == (provider, 21)


@pytest.mark.parametrize(
    ("provider", "kind", "has", "takes"),
    [
        ("nnapi", np.int8, "int8", "uint8"),
        ("xnnpack", np.uint8, "uint8", "int8"),
        ("nnapi", np.uint16, "uint16", "uint8"),
    ],
)
def test_activations_that_a_provider_cannot_take_are_refused_with_the_target_to_make(
    tmp_path, provider, kind, has, takes
):
    artifact = write_qdq(tmp_path / "net.onnx", kind)
    with pytest.raises(UsageError) as refused:
        cases(artifact, provider)
    assert str(refused.value) == (
        f"{artifact.path} has {has} activations, and {provider} takes {takes}: "
        f"measure `mofa-deploy quantize --target {provider}`"
    )


def test_a_file_that_is_there_already_is_named_instead(tmp_path):
    made = tmp_path / "net.int8-nnapi.onnx"
    write_qdq(made, np.uint8)
    with pytest.raises(UsageError, match=f"measure {made}"):
        cases(write_qdq(tmp_path / "net.onnx", np.int8), "nnapi")


def test_the_settings_of_a_case_are_those_that_its_file_was_made_for(tmp_path):
    artifact = write_qdq(tmp_path / "net.onnx", np.uint8)
    made = replace(artifact, params={"target": "nnapi"})
    (case,) = cases(made, "nnapi")
    assert (case.opt_level, case.config["session.qdqisint8allowed"]) == ("basic", "0")


def test_providers_are_named_by_commas_each_once():
    assert read_providers("cpu, nnapi,cpu") == ("cpu", "nnapi")


@pytest.mark.parametrize("text", ["", ",", "cpu,tpu"])
def test_an_unknown_provider_is_refused_with_the_known_ones(text):
    with pytest.raises(UsageError, match="use cpu, nnapi, xnnpack"):
        read_providers(text)


def test_macs_and_parameters_of_a_line_are_those_of_its_float_file(tmp_path):
    float_file = write_qdq(tmp_path / "net.onnx", np.uint8)
    graph = onnx.load(float_file.path)
    del graph.graph.node[:]
    graph.graph.node.append(helper.make_node("MatMul", ["input", "input"], ["output"]))
    onnx.save(graph, tmp_path / "plain.onnx")
    plain = replace(read_artifact(tmp_path / "plain.onnx"), kind="plain", model="net")
    made = replace(float_file, kind="int8-x86", model="net", params={"target": "x86"})
    crop = tmp_path / "input.f32"
    cases = cases_for([plain, made], ["cpu"], HOST, crop, named=True)
    assert [case.known["model_macs"] for case in cases] == [3 * 4 * 4 * 4] * 2
    assert [case.known["model_params"] for case in cases] == [0] * 2
    told = replace(plain, fidelity={"parameters": 288_691})
    cases = cases_for([told, made], ["cpu"], HOST, crop, named=True)
    assert [case.known["model_params"] for case in cases] == [288_691] * 2
