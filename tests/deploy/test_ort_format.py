from dataclasses import replace

import numpy as np
import onnx
import pytest

from deploy.artifact import list_artifacts, read_artifact
from deploy.audit import audit
from deploy.errors import FidelityError, GraphError
from deploy.inference import open_run
from deploy.onnx_file import image_input, load_graph
from deploy.optimize import optimize
from deploy.ort_format import to_ort_format
from deploy.placement import TARGETS

ARM = TARGETS["arm-cpu"]
CONFIGS = (
    "small.int8-opt-arm-cpu.required_operators.config",
    "small.int8-opt-arm-cpu.required_operators_and_types.config",
)


@pytest.fixture(scope="module")
def optimized(line, tmp_path_factory):
    return optimize(line.int8_arm, ARM, tmp_path_factory.mktemp("ort"), line.probe)[0]


@pytest.fixture(scope="module")
def saved(line, optimized):
    return to_ort_format(optimized, optimized.path.parent, line.probe)[0]


def test_both_formats_give_the_same_output(line, optimized, saved):
    runs = [open_run(one.path, config=ARM.config) for one in (optimized, saved)]
    outputs = [run(line.probe.crops[0]) for run in runs]
    assert np.array_equal(*outputs)


def test_the_file_goes_by_the_name_of_the_onnx_one(optimized, saved):
    assert saved.path == optimized.path.with_suffix(".ort")
    assert (saved.kind, saved.parent_sha256) == ("int8-opt-arm-cpu-ort", optimized.sha256)
    assert list_artifacts(saved.path.parent) == [optimized, read_artifact(saved.path)]


def test_it_holds_the_operators_of_the_onnx_file(optimized, saved):
    graphs = [load_graph(one.path) for one in (optimized, saved)]
    kinds = [sorted(node.op_type for node in graph.graph.node) for graph in graphs]
    assert kinds[0] == kinds[1]
    assert image_input(graphs[1], saved.path) == image_input(graphs[0], optimized.path)


def test_an_audit_reads_it(optimized, saved):
    found = audit(saved.path, target=ARM)
    assert found.form == "integer"
    assert found.summary() == audit(optimized.path, target=ARM).summary()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_reduced_build_gets_every_operator(saved, name):
    lines = (saved.path.parent / name).read_text().splitlines()
    assert lines[0] == "# Generated from small.int8-opt-arm-cpu.ort"
    named = {line.split(";")[0]: line.split(";", 2)[2] for line in lines[1:]}
    for operator in ("QLinearConv", "QLinearAdd", "QLinearMul"):
        assert operator in named["com.microsoft"]
    assert ("int8_t" in named["com.microsoft"]) == ("types" in name)


def test_saving_again_does_nothing(line, optimized, saved):
    assert to_ort_format(optimized, saved.path.parent, line.probe) == (saved, False)


def test_a_config_that_is_gone_is_written_again(line, optimized, tmp_path):
    to_ort_format(optimized, tmp_path, line.probe)
    configs = {name: (tmp_path / name).read_bytes() for name in CONFIGS}
    (tmp_path / CONFIGS[0]).unlink()
    _, made = to_ort_format(optimized, tmp_path, line.probe)
    assert made
    assert {name: (tmp_path / name).read_bytes() for name in CONFIGS} == configs


def test_a_file_that_is_not_optimized_is_refused(line, folder):
    with pytest.raises(GraphError, match=r"is int8-arm-cpu: pass an optimized \.onnx file"):
        to_ort_format(line.int8_arm, folder, line.probe)


def test_an_output_that_is_no_number_leaves_no_file(line, optimized, folder):
    silent = replace(line.probe, crops=[crop * float("nan") for crop in line.probe.crops])
    float_graph = replace(optimized, path=line.fp32.path)
    with pytest.raises(FidelityError, match="gives another output"):
        to_ort_format(float_graph, folder, silent)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no model", b"\x18\x00\x00\x00ORTM" + bytes(100)])
def test_a_damaged_file_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "net.ort"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=r"does not load \S+net\.ort"):
        audit(path)


def test_an_onnx_file_by_that_name_is_refused(optimized, tmp_path):
    path = tmp_path / "net.ort"
    onnx.save(onnx.load(optimized.path), path)
    with pytest.raises(GraphError, match=r"does not load \S+net\.ort"):
        audit(path)
