from collections import Counter
from dataclasses import replace

import onnx
import onnxruntime
import pytest
from qdq_examples import Graph

from deploy.artifact import read_artifact
from deploy.errors import FidelityError, GraphError
from deploy.fidelity import psnr_between_db
from deploy.inference import open_run
from deploy.optimize import NCHWC_DOMAIN, needs_of, optimize, save_optimized
from deploy.placement import TARGETS

X86, ARM = TARGETS["x86"], TARGETS["arm-cpu"]
NNAPI = TARGETS["nnapi"]


@pytest.fixture(scope="module")
def x86(line):
    return optimize(line.int8_x86, X86, line.int8_x86.path.parent, line.probe)[0]


@pytest.fixture(scope="module")
def arm(line):
    return optimize(line.int8_arm, ARM, line.int8_arm.path.parent, line.probe)[0]


def ops(artifact):
    return Counter(node.op_type for node in onnx.load(artifact.path).graph.node)


@pytest.mark.parametrize("target", ["x86", "arm"])
def test_every_convolution_sum_product_and_pool_is_fused(target, request):
    found = ops(request.getfixturevalue(target))
    assert not {"Conv", "FusedConv", "Mul", "GlobalAveragePool"} & set(found)
    assert found["QLinearGlobalAveragePool"] == 3
    assert found["QLinearAdd"] == 7  # two residual sums a block, one skip
    assert found["Add"] == 1  # the global residual: on purpose


def test_signed_and_unsigned_graphs_fuse_alike(x86, arm):
    assert ops(x86) == ops(arm)


@pytest.mark.parametrize("target", ["x86", "arm"])
def test_at_most_two_conversions_a_layer_norm_and_four_are_left(target, request):
    found = ops(request.getfixturevalue(target))
    assert found["QuantizeLinear"] + found["DequantizeLinear"] <= 2 * 6 + 4


def test_an_arm_graph_holds_nothing_of_x86(line, folder):
    artifact, _ = optimize(line.fp32, ARM, folder, line.probe)
    assert artifact.kind == "fp32-opt-arm-cpu"
    assert NCHWC_DOMAIN not in {node.domain for node in onnx.load(artifact.path).graph.node}


def test_a_float_graph_optimizes_to_the_same_function(line, folder):
    artifact, _ = optimize(line.fp32, X86, folder, line.probe)
    reference, run = open_run(line.fp32.path), open_run(artifact.path)
    assert psnr_between_db(line.probe.outputs(reference), line.probe.outputs(run)) > 100


def test_the_sidecar_says_where_the_file_is_valid(x86, arm):
    valid_for = read_artifact(arm.path).params["valid_for"]
    assert valid_for == {"onnxruntime": f">={onnxruntime.__version__}", "hardware": "arm-cpu"}
    assert arm.params["config"]["session.qdqisint8allowed"] == "1"
    assert x86.params["level"] == "all"


def test_the_sidecar_says_what_a_runtime_needs(arm):
    needs = read_artifact(arm.path).fidelity["needs"]
    assert needs["ir_version"] == onnx.load(arm.path).ir_version
    assert needs["opsets"] == {"ai.onnx": 18, "com.microsoft": 1}


def test_a_shuffle_of_int8_is_told_for_it_needs_a_new_release(tmp_path):
    g = Graph("int8")
    shuffled = g.add("DepthToSpace", g.qdq(g.conv(g.qdq("image"), (8, 32))), blocksize=2)
    save_optimized(g.save(tmp_path / "net.onnx", g.qdq(shuffled)), ARM, tmp_path / "saved.onnx")
    (note,) = needs_of(tmp_path / "saved.onnx")["notes"]
    assert note == "8-bit DepthToSpace: ONNX Runtime 1.22 does not load an int8 one"


def test_weights_laid_out_for_one_machine_are_told(line, tmp_path):
    save_optimized(line.fp32.path, X86, tmp_path / "saved.onnx")
    needs = needs_of(tmp_path / "saved.onnx")
    assert needs["opsets"][NCHWC_DOMAIN] == 1
    assert "laid out for the vectors of the machine" in needs["notes"][0]


def test_the_sidecar_says_what_fused(arm):
    fusion = read_artifact(arm.path).fidelity["fusion"]
    assert (fusion["form"], fusion["in_float"], fusion["violations"]) == ("integer", {"Add": 1}, [])
    assert list(fusion["on_purpose"].values()) == ["global residual"]
    assert fusion["integer"] == {
        name: count for name, count in ops(arm).items() if name.startswith("QLinear")
    }


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_target_keeps_its_fusions(target):
    """The rules of quantization.md, section 9, 1 and 2, and of section 4."""
    allowed = "0" if target.name.startswith(("x86", "nnapi", "qnn")) else "1"
    assert target.config["session.qdqisint8allowed"] == allowed
    if target.name != "x86":
        assert "NchwcTransformer" in target.disabled_optimizers
    if target.name.startswith(("nnapi", "xnnpack", "qnn")):
        assert target.level == "basic"


def test_a_users_signed_graph_is_not_taken_for_unsigned_hardware(line, folder):
    theirs = replace(line.int8_arm, kind="external", params={})
    with pytest.raises(
        GraphError, match=r"has int8 activations, and x86 takes uint8: pass --target arm-cpu"
    ):
        optimize(theirs, X86, folder, line.probe)


def test_what_is_in_float_on_purpose_is_told_from_what_fell_out(line, folder):
    graph = onnx.load(line.int8_x86.path)
    inner = [node.name for node in graph.graph.node if node.op_type == "Add"][-2]
    drop_rounding_behind(graph, inner)
    path = folder / "edited.onnx"
    folder.mkdir()
    onnx.save(graph, path)
    in_float = {**line.int8_x86.fidelity["in_float"], inner: "asked for"}
    parent = replace(line.int8_x86, path=path, sha256="edited", fidelity={"in_float": in_float})
    artifact, _ = optimize(parent, X86, folder, line.probe)
    assert artifact.fidelity["fusion"]["reasons"]["on-purpose"] == 2
    assert artifact.fidelity["fusion"]["on_purpose"] == in_float


def drop_rounding_behind(model: onnx.ModelProto, name: str) -> None:
    """Let the readers of a node's Q and DQ read the node."""
    (node,) = [one for one in model.graph.node if one.name == name]
    (q,) = [one for one in model.graph.node if node.output[0] in one.input]
    (dq,) = [one for one in model.graph.node if q.output[0] in one.input]
    node.output[0] = dq.output[0]
    for one in (q, dq):
        model.graph.node.remove(one)


def test_the_sidecar_measures_the_deployed_graph(line, x86):
    fidelity = read_artifact(x86.path).fidelity
    assert fidelity["psnr_vs_parent_db"] > 40
    assert abs(fidelity["psnr_vs_fp32_db"] - line.int8_x86.fidelity["psnr_vs_fp32_db"]) < 1
    assert "psnr_db" in fidelity


def test_optimizing_again_does_nothing(line, x86):
    again, made = optimize(line.int8_x86, X86, x86.path.parent, line.probe)
    assert (again, made) == (x86, False)


def test_a_file_quantized_for_other_hardware_is_refused(line, folder):
    with pytest.raises(GraphError, match=r"quantized for arm-cpu, not for x86.*--target x86"):
        optimize(line.int8_arm, X86, folder, line.probe)


def test_an_optimized_file_is_not_optimized_again(line, x86, folder):
    with pytest.raises(GraphError, match="is optimized already"):
        optimize(x86, X86, folder, line.probe)


def test_a_users_file_in_onnx_runtimes_format_is_optimized_already(line, folder, tmp_path):
    theirs = replace(line.int8_x86, path=tmp_path / "theirs.ort", kind="external", params={})
    with pytest.raises(GraphError, match=r"theirs\.ort is optimized already"):
        optimize(theirs, X86, folder, line.probe)


def test_a_provider_that_fuses_by_itself_gets_the_quantized_form(line, folder):
    artifact, _ = optimize(replace(line.int8_x86, params={}), NNAPI, folder, line.probe)
    assert not {name for name in ops(artifact) if name.startswith("QLinear")}
    assert artifact.fidelity["fusion"]["line"].startswith("on the CPU provider ")


def test_an_output_that_is_no_number_leaves_no_file(line, folder):
    silent = replace(line.probe, crops=[crop * float("nan") for crop in line.probe.crops])
    with pytest.raises(FidelityError, match="the optimized graph is nan dB from it"):
        optimize(line.fp32, X86, folder, silent)
    assert list(folder.iterdir()) == []


def test_a_file_that_onnx_runtime_does_not_load_is_named(line, folder, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(GraphError, match=r"broken\.onnx"):
        optimize(replace(line.int8_x86, path=broken), X86, folder, line.probe)


def test_a_users_own_deploy_module_in_the_current_folder_is_not_ours(
    line, folder, tmp_path, monkeypatch
):
    (tmp_path / "deploy.py").write_text("raise SystemExit('the wrong one')\n")
    monkeypatch.chdir(tmp_path)
    assert optimize(line.int8_x86, X86, folder, line.probe)[1]
