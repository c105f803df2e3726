"""Small float graphs written as ONNX text, and what quantization makes of them."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from deploy.inference import open_run, open_session
from deploy.placement import Placement, calibrated_tensors, place
from deploy.qdq import write_qdq
from deploy.quantize import float_model
from deploy.targets import TARGETS, Target

HEADER = '<ir_version: 8, opset_import: ["" : %d]>\n'
X86, ARM = TARGETS["x86"], TARGETS["arm-cpu"]
SIDE = 8


def float_graph(body: str, opset: int = 18, channels: int = 4, **arrays: np.ndarray) -> ir.Model:
    """Give the graph with these nodes between the image x and y.

    Args:
        body: nodes as ONNX text; every value that is not made is an initializer.
        arrays: initializers; `drawn` makes weights.
    """
    text = f"g (float[1,{channels},{SIDE},{SIDE}] x) => (float y) {{ {body} }}"
    proto = onnx.parser.parse_model(HEADER % opset + text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    for node in proto.graph.node:
        node.name = node.output[0]
    for name, array in arrays.items():
        as_stored = array.astype(np.float32) if array.dtype == np.float64 else array
        proto.graph.initializer.append(numpy_helper.from_array(as_stored, name))
    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    proto.graph.output[0].CopyFrom(inferred.graph.output[0])
    onnx.checker.check_model(proto)
    return float_model(proto)


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    """Give normal values, float32."""
    return np.random.default_rng((seed, *shape)).normal(size=shape).astype(np.float32)


def conv_weights(
    *names: str, channels: int = 4, outputs: int | None = None
) -> dict[str, np.ndarray]:
    """Give the weights of 1x1 convolutions, by name."""
    shape = (outputs or channels, channels, 1, 1)
    return {name: drawn(*shape, seed=place) for place, name in enumerate(names)}


def image(channels: int = 4, seed: int = 0) -> np.ndarray:
    """Give an 8-bit image in [0, 1]."""
    codes = np.random.default_rng(seed).integers(0, 256, (1, channels, SIDE, SIDE))
    return (codes / 255).astype(np.float32)


def measured(model: ir.Model, *images: np.ndarray) -> dict[str, tuple[float, float]]:
    """Give the range of every tensor that quantization asks for, over some images."""
    proto, names = ir.to_proto(model), calibrated_tensors(model)
    own = {one.name for one in (*proto.graph.input, *proto.graph.output)}
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in own)
    session = open_session(proto.SerializeToString(), level="disable")
    outputs = [one.name for one in session.get_outputs()]
    found = dict.fromkeys(names, (0.0, 0.0))
    for one in images or (image(), image(seed=1)):
        made = {"x": one, **dict(zip(outputs, session.run(None, {"x": one}), strict=True))}
        for name, (low, high) in found.items():
            values = made[name]
            found[name] = (min(low, float(values.min())), max(high, float(values.max())))
    return found


def quantized(
    model: ir.Model, target: Target = X86, **options: object
) -> tuple[onnx.ModelProto, Placement]:
    """Give the QDQ form of a graph with the ranges of two images, and its placement."""
    placement = place(model, target, **options)
    proto = write_qdq(model, placement, measured(model), target)
    onnx.checker.check_model(proto, full_check=True)
    return proto, placement


def fused_ops(proto: onnx.ModelProto, target: Target = X86) -> Counter[str]:
    """Count the operators of the graph that ONNX Runtime makes of it."""
    with TemporaryDirectory() as folder:
        saved = Path(folder, "optimized.onnx")
        open_session(
            proto.SerializeToString(),
            config=target.config,
            save_to=saved,
            disabled_optimizers=target.disabled_optimizers,
        )
        return Counter(node.op_type for node in onnx.load(saved).graph.node)


def run(model: ir.Model | onnx.ModelProto, one: np.ndarray, **options: object) -> np.ndarray:
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    return open_run(proto.SerializeToString(), **options)(one)
