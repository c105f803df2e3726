"""The gate on instructions, and the audit with them, over graphs that are counted for real."""

import json

import numpy as np
import onnx
import pytest
from cli_examples import mofa, refusal, write_net
from onnx import helper

from android_bench.arm64_pieces import find_pieces
from deploy.errors import DeviceError

REGRESSION, UNDECIDED = 4, 5

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def pieces():
    try:
        return find_pieces()
    except DeviceError as missing:
        pytest.skip(str(missing))


def heavier(path):
    """Save the net with another layer that computes the same: a Relu of what is positive."""
    nodes = [
        helper.make_node("Conv", ["image", "wide"], ["features"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["features"], ["active"], "second"),
        helper.make_node("Sqrt", ["active"], ["root"], "root"),
        helper.make_node("Mul", ["root", "root"], ["again"], "square"),
        helper.make_node("Conv", ["again", "narrow"], ["residual"], "third", pads=[1] * 4),
        helper.make_node("Add", ["image", "residual"], ["restored"], "fourth"),
    ]
    return write_net(path, nodes=nodes)


@pytest.fixture(scope="module")
def gate(judged, tmp_path_factory):
    """Run the gate on a file, in one folder of results."""
    out = tmp_path_factory.mktemp("counted")

    def run(*words):
        return mofa("gate", "--metric", "instructions", *words, *judged, "--out", out)

    return run


@pytest.fixture(scope="module")
def baseline(gate, tmp_path_factory):
    folder = tmp_path_factory.mktemp("committed")
    path = folder / "arm64-baseline.json"
    made = gate(write_net(folder / "net.onnx"), "--baseline", path, "--rebaseline")
    assert made.code == 0, made.err
    return path


def test_the_same_graph_counted_anew_passes(gate, baseline, tmp_path):
    same = write_net(tmp_path / "net.onnx")
    said = gate(same, "--baseline", baseline, "--force", "--json")
    record = said.json()
    assert record["verdict"] == "pass"
    assert all(abs(one["change"]) < 0.01 for one in record["findings"])


def test_a_heavier_graph_is_a_regression(gate, baseline, tmp_path):
    said = gate(heavier(tmp_path / "net.onnx"), "--baseline", baseline, "--json")
    assert said.code == REGRESSION
    (found,) = [one for one in json.loads(said.out)["findings"] if one["metric"] == "instructions"]
    assert found["change"] > 1
    assert "more instructions, budget 1 % (" in found["reason"]


def test_another_core_is_invalid_with_the_command_that_takes_it(gate, baseline, tmp_path):
    said = gate(write_net(tmp_path / "net.onnx"), "--baseline", baseline, "--cpu", "a53", "--json")
    assert said.code == UNDECIDED
    (found,) = json.loads(said.out)["findings"]
    assert "cpu differs: a76 in the baseline and a53 now" in found["reason"]
    assert "--cpu a53" in found["reason"]
    assert found["reason"].endswith("--rebaseline")


def test_a_graph_that_the_library_cannot_run_is_invalid_and_says_why(gate, baseline, tmp_path):
    nodes = [
        helper.make_node("Conv", ["image", "wide"], ["features"], "first", pads=[1] * 4),
        helper.make_node("Cast", ["features"], ["double"], "up", to=onnx.TensorProto.DOUBLE),
        helper.make_node("Erf", ["double"], ["erf"], "no_kernel"),
        helper.make_node("Cast", ["erf"], ["active"], "down", to=onnx.TensorProto.FLOAT),
        helper.make_node("Conv", ["active", "narrow"], ["restored"], "third", pads=[1] * 4),
    ]
    path = write_net(tmp_path / "net.onnx", nodes=nodes)
    said = gate(path, "--baseline", baseline, "--json")
    assert said.code == UNDECIDED
    (found,) = json.loads(said.out)["findings"]
    assert found["reason"].startswith("not counted (load_error: ")
    assert "Erf" in found["reason"]


def test_a_broken_graph_is_refused_before_anything_is_counted(gate, baseline, tmp_path):
    path = write_net(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.node[1].op_type = "NoSuchOperator"
    onnx.save(model, path)
    assert "NoSuchOperator" in refusal(gate(path, "--baseline", baseline))


def test_a_core_that_there_is_not_is_named(gate, baseline, tmp_path):
    line = refusal(gate(write_net(tmp_path / "n.onnx"), "--baseline", baseline, "--cpu", "a99"))
    assert "unknown CPU 'a99'" in line


def test_the_audit_counts_every_node(tmp_path, net):
    said = mofa("audit", net, "--instructions", "--out", tmp_path, "--json")
    counted = said.json()["instructions"]
    operators = {one["operator"]: one["instructions"] for one in counted["operators"]}
    assert sum(operators.values()) == counted["total"]
    assert max(operators, key=lambda name: operators[name]).endswith("Conv")
    assert counted["cpu"] == "a76"


def test_the_audit_counts_no_file_for_other_hardware(tmp_path):
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["restored"], "dq"),
    ]
    path = write_net(tmp_path / "net.onnx", nodes=nodes, weights={"scale": np.float32(0.01)})
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.uint8(128), "zero"))
    onnx.save(model, path)
    line = refusal(mofa("audit", path, "--instructions", "--target", "x86", "--out", tmp_path))
    assert "is made for x86" in line
