from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calib.statistics import Statistics, TensorStatistics
from deploy.artifact import Artifact, read_artifact
from deploy.errors import FidelityError, GraphError
from deploy.export import export
from deploy.onnx_file import load_graph
from deploy.placement import TARGETS
from deploy.quantize import FloatGraph, quantize, require_quantizable
from deploy.recipe import Recipe

RECIPE = Recipe(method="minmax")


def initializer(model: onnx.ModelProto, name: str) -> np.ndarray:
    return numpy_helper.to_array(next(one for one in model.graph.initializer if one.name == name))


def activation_types(artifact: Artifact) -> set[np.dtype]:
    model = onnx.load(artifact.path)
    quantizers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    return {initializer(model, node.input[2]).dtype for node in quantizers}


def weight_names(model: onnx.ModelProto) -> list[str]:
    makers = {node.output[0]: node for node in model.graph.node}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    return [makers[node.input[1]].input[0] for node in convs]


def test_activations_take_the_type_of_the_target(line):
    assert activation_types(line.int8_arm) == {np.dtype(np.int8)}
    assert activation_types(line.int8_x86) == {np.dtype(np.uint8)}


def test_weights_are_int8_per_channel_with_zero_point_zero(line):
    model = onnx.load(line.int8_arm.path)
    readers = {node.input[0]: node for node in model.graph.node if "Dequantize" in node.op_type}
    for name in weight_names(model):
        weight, reader = initializer(model, name), readers[name]
        assert weight.dtype == np.int8
        assert initializer(model, reader.input[1]).shape == (weight.shape[0],)
        assert not initializer(model, reader.input[2]).any()


def test_every_convolution_is_quantized_and_no_layer_norm(line):
    model = onnx.load(line.int8_arm.path)
    makers = {node.output[0]: node.op_type for node in model.graph.node}
    for node in model.graph.node:
        if node.op_type == "Conv":
            assert {makers[name] for name in node.input} == {"DequantizeLinear"}
    norms = [node for node in model.graph.node if node.op_type == "LpNormalization"]
    assert len(norms) == 6
    assert not any(
        name in makers and "Linear" in makers[name] for n in norms for name in n.input[1:]
    )


def test_the_sidecar_tells_what_it_was_calibrated_on_and_what_was_lost(line):
    artifact = read_artifact(line.int8_arm.path)
    assert artifact.parent_sha256 == line.fp32.sha256
    assert artifact.params["crops_sha256"] == line.statistics.origin.crops_sha256
    assert artifact.params["crops"] == {"crops": 12}
    assert 25 < artifact.fidelity["psnr_vs_fp32_db"] < 80


def test_quantizing_again_does_nothing(line):
    folder = line.fp32.path.parent
    again, made = quantize(
        line.fp32,
        line.base,
        TARGETS["x86"],
        folder,
        line.probe,
        recipe=RECIPE,
        crops={"crops": 12},
    )
    assert (again, made) == (line.int8_x86, False)


def test_force_quantizes_again_to_the_same_bytes(line):
    again, made = quantize(
        line.fp32,
        line.base,
        TARGETS["x86"],
        line.fp32.path.parent,
        line.probe,
        recipe=RECIPE,
        crops={"crops": 12},
        force=True,
    )
    assert made
    assert again.sha256 == line.int8_x86.sha256


def in_a_thousandth(one: TensorStatistics) -> TensorStatistics:
    least, greatest = one.histogram.least / 1000, one.histogram.greatest / 1000
    return replace(one, histogram=replace(one.histogram, least=least, greatest=greatest))


def test_ranges_that_clip_everything_leave_no_file(line, folder):
    narrow = {name: in_a_thousandth(one) for name, one in line.statistics.tensors.items()}
    with pytest.raises(FidelityError, match=r"dB against fp32 is below the bound of 20\.0 dB"):
        quantize(
            line.fp32,
            FloatGraph(line.fp32.path, replace(line.statistics, tensors=narrow)),
            TARGETS["x86"],
            folder,
            line.probe,
            recipe=RECIPE,
            crops={},
        )
    assert list(folder.iterdir()) == []


def test_a_bound_that_cannot_be_met_says_what_was_reached(line, folder):
    with pytest.raises(FidelityError, match=r"\d+\.\d dB against fp32 is below the bound of 90\.0"):
        quantize(
            line.fp32,
            line.base,
            TARGETS["arm-cpu"],
            folder,
            line.probe,
            recipe=RECIPE,
            crops={},
            min_psnr_vs_fp32_db=90.0,
        )
    assert list(folder.iterdir()) == []


def test_a_model_that_is_quantized_already_is_refused(line):
    with pytest.raises(GraphError, match="is quantized already"):
        require_quantizable(load_graph(line.int8_x86.path), line.int8_x86.path)


def test_a_dynamic_model_is_refused(line, folder):
    artifact, _ = export(line.spec, folder, line.probe, dynamic=True)
    with pytest.raises(GraphError, match="has dynamic shapes"):
        require_quantizable(load_graph(artifact.path), artifact.path)


def relu_model(opset: int, op_type: str = "Relu") -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 3, 8, 8)) for name in "xy")
    graph = helper.make_graph([helper.make_node(op_type, ["x"], ["y"])], "net", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def test_a_model_with_nothing_to_quantize_names_what_could_be(tmp_path):
    with pytest.raises(GraphError, match="no operator to quantize, only Relu: at least one Conv"):
        require_quantizable(relu_model(18), tmp_path)


def test_an_opset_without_per_channel_weights_is_refused(tmp_path):
    with pytest.raises(GraphError, match="has opset 12"):
        require_quantizable(relu_model(12, "GlobalAveragePool"), tmp_path)


def test_statistics_belong_to_one_file(line):
    assert isinstance(line.statistics, Statistics)
    assert line.statistics.origin.model_sha256 == line.fp32.sha256
