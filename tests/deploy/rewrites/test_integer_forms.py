"""The forms that rewrites write are ones whose integer version ONNX Runtime fuses."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import add_infer_metadata
from small_graphs import assert_same_output, drawn, rewritten, small_graph

from deploy.inference import open_session
from deploy.rewrites.attention import use_row_attention
from deploy.rewrites.ends import use_padded_ends
from deploy.rewrites.gate import use_gate_convolutions
from deploy.rewrites.pads import use_conv_pads
from deploy.rewrites.pixel_shuffle import use_pixel_shuffle
from deploy.rewrites.row_convolution import use_row_convolution
from deploy.rewrites.transposed_convolution import use_shuffled_convolution

REWRITES = (
    use_conv_pads,
    use_shuffled_convolution,
    use_pixel_shuffle,
    use_gate_convolutions,
    use_row_attention,
    use_row_convolution,
    use_padded_ends,
)


@pytest.fixture(scope="module")
def plain() -> ir.Model:
    """A U-Net of one level with everything that the rewrites here look for."""
    convs = {"intro": (16, 3, 3), "down": (32, 16, 2), "wide": (64, 32, 1), "sca": (32, 32, 1)}
    convs |= {"narrow": (32, 32, 1), "up": (64, 32, 1), "ending": (3, 16, 3)}
    return small_graph(
        """g (float[1,3,16,16] x) => (float[1,3,16,16] y) {
            border = Constant <value_ints = [0, 0, 1, 1, 0, 0, 1, 1]> ()
            p = Pad (x, border)
            i = Conv (p, intro)
            d = Conv <strides = [2, 2]> (i, down)
            c = Conv (d, wide)
            first, second = Split <axis = 1, num_outputs = 2> (c)
            g = Mul (first, second)
            m = GlobalAveragePool (g)
            f = Conv (m, sca)
            a = Mul (g, f)
            n = Conv (a, narrow)
            r = Add (n, d)
            u = Conv (r, up)
            s = DepthToSpace <blocksize = 2, mode = "CRD"> (u)
            t = ConvTranspose <strides = [2, 2]> (r, transposed)
            v = Add (s, t)
            e = Conv <pads = [1, 1, 1, 1]> (v, ending)
            y = Add (e, x)
        }""",
        transposed=drawn(32, 16, 2, 2) / 8,
        **{k: drawn(o, i, s, s) / (s * i**0.5) for k, (o, i, s) in convs.items()},
    )


@pytest.fixture(scope="module")
def prepared(plain: ir.Model) -> ir.Model:
    model = plain
    for rewrite in REWRITES:
        model, outcome = rewritten(model, rewrite)
        assert outcome.applied, rewrite.__name__
        assert not outcome.skipped
    return model


def fused(model: ir.Model, kind: QuantType, folder: Path) -> Counter[str]:
    """Count the operators that ONNX Runtime makes of a graph, all of it in 8 bits of one scale."""
    proto = ir.to_proto(model)
    add_infer_metadata(proto)
    limits = np.float32(-4), np.float32(4)
    names = [value.name for node in model.graph for value in node.outputs]
    data = {name: TensorData(lowest=limits[0], highest=limits[1]) for name in (*names, "x")}
    quantizer = QDQQuantizer(
        proto,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8.tensor_type,
        activation_qType=kind.tensor_type,
        tensors_range=TensorsData(None, data),
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=sorted({node.op_type for node in model.graph} - {"Pad"}),
        extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    saved = folder / "optimized.onnx"
    allowed = {"session.qdqisint8allowed": str(int(kind == QuantType.QInt8))}
    open_session(quantizer.model.model.SerializeToString(), config=allowed, save_to=saved)
    return Counter(node.op_type for node in onnx.load(saved).graph.node)


def test_all_of_them_together_keep_the_output(plain, prepared):
    assert_same_output(plain, prepared, drawn(1, 3, 16, 16))


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
def test_nothing_of_the_body_is_left_in_float(prepared, kind, tmp_path):
    found = fused(prepared, kind, tmp_path)
    assert not {"Conv", "Add", "Mul", "DepthToSpace", "ConvTranspose", "Split"} & set(found)
    assert found["QLinearConv"] == 9
    assert found["QLinearAdd"] == 3
    assert found["QLinearMul"] == 2
    # Pad works in float, so the input is quantized before it for the sum, and after it again
    assert (found["QuantizeLinear"], found["DequantizeLinear"]) == (2, 2)


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
def test_layouts_change_at_the_ends_and_inside_shuffles_only(prepared, kind, tmp_path):
    ends, shuffles = 2, 2
    assert fused(prepared, kind, tmp_path)["Transpose"] == ends + shuffles


def test_without_them_much_is_left_in_float(plain, tmp_path):
    found = fused(plain, QuantType.QUInt8, tmp_path)
    assert found["ConvTranspose"] == 1
    assert found["Transpose"] > 4
    assert found["DequantizeLinear"] > 1
