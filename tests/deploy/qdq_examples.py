"""Small graphs in QDQ form, put together node by node."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE = (1, 8, 8, 8)
ZERO = {"uint8": 128, "int8": 0, "uint16": 32768}


class Graph:
    """A graph under construction: each method adds something and gives the name of what it makes.

    Weights are seeded by how many nodes there are, parameters are the same everywhere.
    """

    def __init__(self, kind: str = "uint8") -> None:
        self.kind = kind
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        name = f"{op_type.lower()}{len(self.nodes)}"
        names = [f"{name}_out{index or ''}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, name, **attributes))
        return names[0]

    def before_last(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Add a node before the one that was added last, which may then read it."""
        made = self.add(op_type, *inputs, **attributes)
        self.nodes[-2:] = [self.nodes[-1], self.nodes[-2]]
        return made

    def constant(self, value: Any, kind: str = "float32") -> str:
        name = f"constant{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype=kind)
        return name

    def q(self, x: str, kind: str | None = None, zero: int | None = None, scale=0.05) -> str:
        return self.add("QuantizeLinear", x, *self._parameters(kind, zero, scale))

    def dq(self, x: str, kind: str | None = None, zero: int | None = None, scale=0.05) -> str:
        return self.add("DequantizeLinear", x, *self._parameters(kind, zero, scale))

    def _parameters(self, kind: str | None, zero: int | None, scale: Any) -> tuple[str, str]:
        kind = kind or self.kind
        zeros = np.full(np.shape(scale), ZERO[kind] if zero is None else zero)
        return self.constant(scale), self.constant(zeros, kind)

    def qdq(self, x: str, **options: Any) -> str:
        return self.dq(self.q(x, **options), **options)

    def conv(self, x: str, channels: tuple[int, int] = (8, 8), *, bias: str = "int32", group=1):
        """Add a 1x1 convolution (in, out), its weights behind a DQ; `bias` is its type or none."""
        shape = (channels[1], channels[0] // group, 1, 1)
        codes = np.random.default_rng(len(self.nodes)).integers(-127, 128, shape)
        scales, zeros = self.constant(np.full(channels[1], 0.01)), self.constant([0] * channels[1])
        self.constants[zeros] = self.constants[zeros].astype(np.int8)
        weight = self.add("DequantizeLinear", self.constant(codes, "int8"), scales, zeros, axis=0)
        inputs = [x, weight]
        if bias == "int32":
            step = self.constant(np.full(channels[1], 0.01 * 0.05))
            codes32 = self.constant(np.full(channels[1], 100), "int32")
            inputs.append(self.add("DequantizeLinear", codes32, step, axis=0))
        elif bias == "float":
            inputs.append(self.constant(np.full(channels[1], 0.1)))
        return self.add("Conv", *inputs, group=group)

    def save(self, path: Path, *outputs: str, shape=SHAPE, opset: int = 18) -> Path:
        """Write the graph, which reads `image`."""
        graph = helper.make_graph(
            self.nodes,
            "example",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10 if opset > 18 else 8)
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        return path
