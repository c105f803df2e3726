from collections import Counter
from dataclasses import replace

import onnx
import pytest

from deploy.artifact import COMPARISONS, current_line, list_artifacts
from deploy.audit import audit
from deploy.comparison import FORMS, make_comparison
from deploy.errors import FidelityError, GraphError, UsageError
from deploy.inference import open_run
from deploy.onnx_file import image_input, load_graph
from deploy.optimize import optimize
from deploy.placement import TARGETS


@pytest.fixture(scope="module")
def made(line, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    return {form: make_comparison(line.fp32, form, folder, line.probe)[0] for form in FORMS}


def ops(artifact):
    return Counter(node.op_type for node in onnx.load(artifact.path).graph.node)


def test_the_kinds_are_those_that_other_stages_know(made):
    assert {one.kind for one in made.values()} == set(COMPARISONS)


def test_dynamic_quantization_makes_every_convolution_an_integer_one(line, made):
    assert ops(made["dynamic"])["ConvInteger"] == ops(line.fp32)["Conv"]
    assert ops(made["dynamic"])["Conv"] == 0


def test_half_precision_keeps_float32_at_the_ends(line, made):
    graph = onnx.load(made["fp16"].path).graph
    ends = [*graph.input, *graph.output]
    assert {one.type.tensor_type.elem_type for one in ends} == {onnx.TensorProto.FLOAT}
    weights = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) == 4}
    assert weights == {onnx.TensorProto.FLOAT16}
    assert made["fp16"].path.stat().st_size < line.fp32.path.stat().st_size


@pytest.mark.parametrize(("form", "least_db"), [("dynamic", 30), ("fp16", 55)])
def test_a_form_is_near_its_parent(made, form, least_db):
    assert made[form].fidelity["psnr_vs_fp32_db"] > least_db
    assert "psnr_db" in made[form].fidelity


def test_the_forms_are_in_the_line_of_their_parent(line, made):
    folder = made["fp16"].path.parent
    there = current_line([line.fp32, *list_artifacts(folder)])
    assert [one.kind for one in there] == ["fp32", "fp16", "int8-dynamic"]


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_a_valid_file_of_the_same_input(line, made, form):
    path = made[form].path
    assert image_input(load_graph(path), path) == image_input(
        load_graph(line.fp32.path), line.fp32.path
    )


def test_making_a_form_again_does_nothing(line, made):
    folder = made["fp16"].path.parent
    assert make_comparison(line.fp32, "fp16", folder, line.probe) == (made["fp16"], False)


def test_an_audit_says_of_a_dynamic_sum_that_its_range_is_found_at_run_time(made):
    found = audit(made["dynamic"].path)
    reasons = Counter(one.reason for one in found.unfused)
    assert found.counts()["Conv"][1] == 0
    assert set(reasons) == {"dynamic", "float-input"}


def test_a_form_is_not_optimized(line, made, folder):
    with pytest.raises(GraphError, match="int8-dynamic, made to be compared with"):
        optimize(made["dynamic"], TARGETS["x86"], folder, line.probe)


def test_an_unknown_form_is_refused(line, folder):
    with pytest.raises(UsageError, match="unknown form 'bf16': use one of dynamic, fp16"):
        make_comparison(line.fp32, "bf16", folder, line.probe)


def test_a_quantized_model_has_no_other_form(line, folder):
    with pytest.raises(GraphError, match="is quantized already"):
        make_comparison(line.int8_x86, "fp16", folder, line.probe)
    assert list(folder.glob("*")) == []


def test_values_that_half_precision_does_not_hold_leave_no_file(line, folder, tmp_path):
    graph = load_graph(line.fp32.path)
    (first, *_) = [node for node in graph.graph.node if node.op_type == "Conv"]
    (weight,) = [one for one in graph.graph.initializer if one.name == first.input[1]]
    large = onnx.numpy_helper.to_array(weight) * 1e6
    weight.CopyFrom(onnx.numpy_helper.from_array(large, weight.name))
    path = tmp_path / "large.onnx"
    onnx.save(graph, path)
    assert open_run(path)(line.probe.crops[0]).max() < float("inf")
    with pytest.raises(FidelityError, match="as fp16 gives no number"):
        make_comparison(replace(line.fp32, path=path), "fp16", folder, line.probe)
    assert list(folder.iterdir()) == []
