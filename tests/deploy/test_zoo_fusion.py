"""Real networks, from torch to what ONNX Runtime makes of their integer form."""

from collections import Counter

import numpy as np
import onnx
import pytest
from float_graphs import ARM, X86, fused_ops

from deploy.commands.stages import model_spec
from deploy.export import export
from deploy.fidelity import Probe
from deploy.integer_forms import use_integer_forms
from deploy.placement import calibrated_tensors, place
from deploy.prepare import prepare
from deploy.qdq import write_qdq
from deploy.quantize import float_model
from deploy.targets import Target

pytestmark = pytest.mark.slow

SIDE_PX = 64
NORMALIZATIONS = ("LpNormalization", "LayerNormalization", "InstanceNormalization")
FUSED = ("Conv", "Mul", "GlobalAveragePool")
NETWORKS = ("nafnet-tiny", "nafnet-tiny without LayerNorm", "pmrid")
ENDS = 2  # where layouts change


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory) -> onnx.ModelProto:
    name, _, without = request.param.partition(" without ")
    spec = model_spec(name, None, (1, 3, SIDE_PX, SIDE_PX), no_layernorm=bool(without))
    folder = tmp_path_factory.mktemp("zoo")
    shape = spec.inputs[0].shape
    crops = [np.random.default_rng(seed).random(shape, np.float32) for seed in range(2)]
    probe = Probe("noise", crops, pipeline=spec.pipeline)
    fp32, _ = prepare(export(spec, folder, probe)[0], folder, probe)
    return onnx.load(fp32.path)


def fused(graph: onnx.ModelProto, target: Target, preset: str = "fast") -> Counter[str]:
    model = float_model(graph)
    use_integer_forms(model, place(model, target, preset=preset), target)
    ranges = dict.fromkeys(calibrated_tensors(model), (-1.0, 1.5))  # any do, for counting
    return fused_ops(write_qdq(model, place(model, target, preset=preset), ranges, target), target)


def operators(graph: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in graph.graph.node)


def test_nothing_but_normalizations_and_the_global_residual_is_left_in_float(network):
    given, found = operators(network), fused(network, X86)
    norms = sum(found[name] for name in NORMALIZATIONS)
    assert not {"Conv", "FusedConv", "Mul", "Relu", "DepthToSpace", *FUSED} & set(found)
    assert {name: found[f"QLinear{name}"] for name in FUSED} == {
        name: given[name] for name in FUSED
    }
    assert (found["QLinearAdd"], found["Add"]) == (given["Add"] - 1, 1)
    assert found["Transpose"] <= ENDS
    assert found["QuantizeLinear"] + found["DequantizeLinear"] <= 2 * norms + 4


def test_signed_activations_fuse_as_unsigned_ones(network):
    signed, unsigned = fused(network, ARM), fused(network, X86)
    norms = [sum(one.pop(name, 0) for name in NORMALIZATIONS) for one in (signed, unsigned)]
    for one in (signed, unsigned):
        one.pop("Reshape", 0)  # around norms, it has another number
    assert norms[0] == norms[1]
    assert signed == unsigned


def test_the_accurate_preset_has_the_stream_and_one_convolution_in_float(network):
    given, found = operators(network), fused(network, ARM, "accurate")
    assert found["QLinearConv"] == given["Conv"] - 1
    assert found["Conv"] + found["FusedConv"] == 1
    assert found["QLinearMul"] == given["Mul"]
