"""Write a placement into a graph: QuantizeLinear and DequantizeLinear around what is integer.

The arithmetic is in `deploy.codes`. ONNX Runtime fuses an operator between a DequantizeLinear and
a QuantizeLinear into one integer operator, and drops both around one that only moves values if
their parameters are equal.
"""

import json
from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from deploy.codes import (
    Parameters,
    Range,
    activation_parameters,
    bias_codes,
    to_codes,
    weight_codes,
    weight_scales,
)
from deploy.errors import GraphError
from deploy.placement import Placement
from deploy.residuals import activations, node_name
from deploy.rewrites.matching import constant_of, is_op
from deploy.targets import Target

WIDENED = "mofa.widened_weight_scales"  # metadata: JSON, convolution -> output channels
OPSET_OF_16_BITS = 21


def write_qdq(
    model: ir.Model, placement: Placement, ranges: Mapping[str, Range], target: Target
) -> onnx.ModelProto:
    """Give the quantized form of a float graph; the given one stays as it is.

    One QuantizeLinear and one DequantizeLinear a tensor. Float operators read a float operator's
    own output; everything else reads the rounded one. A bias that 32 bits could not hold widens
    its channel's weight scale: the model's metadata entry WIDENED says where.

    Args:
        placement: of exactly this graph.
        ranges: tensor -> least and greatest value to tell apart; at least all of
            `calibrated_tensors`.

    Raises:
        GraphError: a range is missing or not finite.
    """
    parameters = {
        group: activation_parameters(_range(placement, group, ranges), target.activations)
        for group in placement.sources
    }
    return _Writer(model.clone(), placement, parameters, target).write()


def _range(placement: Placement, group: str, ranges: Mapping[str, Range]) -> Range:
    """Give the union of the ranges of what decides a group's."""
    found = []
    for name in placement.sources[group]:
        limits = placement.fixed.get(name) or ranges.get(name)
        if limits is None or not np.isfinite(limits).all():
            raise GraphError(f"tensor {name!r} has no range", "calibrate this very file")
        least, greatest = placement.bounds.get(name, (-np.inf, np.inf))
        found.append((max(limits[0], least), min(limits[1], greatest)))
    return min(least for least, _ in found), max(greatest for _, greatest in found)


class _Writer:
    """Turns a copy of the float graph into its QDQ form, node by node."""

    def __init__(
        self,
        model: ir.Model,
        placement: Placement,
        parameters: Mapping[str, Parameters],
        target: Target,
    ) -> None:
        self._model, self._graph, self._target = model, model.graph, target
        self._groups, self._parameters = placement.groups, parameters
        nodes = {node_name(node): node for node in model.graph}
        self._merged = [nodes[name] for name in sorted(placement.merged)]
        self._integer = {nodes[name] for name in placement.integer}
        self._constants: dict[str, tuple[ir.Value, ir.Value]] = {}  # group -> scale, zero point
        self._codes: dict[ir.Value, ir.Value] = {}  # rounded value -> its codes
        self._widened: dict[str, list[int]] = {}
        # the standard operators know 16 bits only from opset 21 on
        old = model.opset_imports.get("", 0) < OPSET_OF_16_BITS
        self._domain = "com.microsoft" if old and target.activations == "QUInt16" else ""

    def write(self) -> onnx.ModelProto:
        for node in self._merged:
            _bypass(node)
        for value in self._graph.inputs:
            self._round(value)
        for node in list(self._graph):
            if node in self._integer:
                self._make_integer(node)
            for value in node.outputs:
                self._round(value)
        RemoveUnusedNodesPass()(self._model)
        if self._domain:
            self._model.opset_imports.setdefault(self._domain, 1)
        if self._widened:
            self._model.metadata_props[WIDENED] = json.dumps(self._widened)
        return ir.to_proto(self._model)

    def _round(self, value: ir.Value) -> None:
        """Put rounding behind a value that the placement quantizes, and let readers read it."""
        name = str(value.name)
        if name not in self._groups:
            return
        producer, readers = value.producer(), list(value.uses())
        made_here = producer in self._integer
        if producer is not None and not made_here:
            # a float operator's own output is closer, and there; an input, though, is rounded
            # for everyone: what the network adds to it was computed from the rounded one
            readers = [use for use in readers if use.node in self._integer]
        constants = self._constants_of(name)
        codes, place = value, producer
        if value.dtype == ir.DataType.FLOAT:
            place = self._insert("QuantizeLinear", value, name, constants, after=place)
            codes = place.outputs[0]
        real = self._insert("DequantizeLinear", codes, name, constants, after=place).outputs[0]
        self._codes[real] = codes
        for use in readers:
            use.node.replace_input_with(use.idx, real)
        if made_here and value.is_graph_output():
            self._graph.outputs[self._graph.outputs.index(value)] = real
            value.name, real.name = f"{name}_computed", name

    def _insert(
        self,
        op_type: str,
        value: ir.Value,
        name: str,
        constants: tuple[ir.Value, ir.Value],
        *,
        after: ir.Node | None,
    ) -> ir.Node:
        """Put one of the two rounding operators of a tensor into the graph."""
        node = ir.node(op_type, [value, *constants], name=f"{name}_{op_type}", domain=self._domain)
        output, shape = node.outputs[0], value.shape
        output.shape = shape
        if op_type == "QuantizeLinear":
            output.name, output.type = f"{name}_quantized", constants[1].type
        else:
            output.name, output.type = f"{name}_dequantized", ir.TensorType(ir.DataType.FLOAT)
        if after is None:
            self._graph.insert_before(self._graph[0], [node])
        else:
            self._graph.insert_after(after, [node])
        return node

    def _constants_of(self, tensor: str) -> tuple[ir.Value, ir.Value]:
        """Give scale and zero point of a tensor's group, made where it is the first to ask."""
        group = self._groups[tensor]
        if group not in self._constants:
            found = self._parameters[group]
            self._constants[group] = (
                _add_constant(self._graph, f"{group}_scale", found.scale),
                _add_constant(self._graph, f"{group}_zero_point", found.zero_point),
            )
        return self._constants[group]

    def _make_integer(self, node: ir.Node) -> None:
        """Give a node, whose activations are rounded already, what else its kernel asks for."""
        if is_op(node, "Conv"):
            self._quantize_weights(node)
        elif is_op(node, "Relu"):  # alone, it has no kernel
            node.op_type = "LeakyRelu"
            node.attributes["alpha"] = ir.AttrFloat32("alpha", 0.0)
        elif is_op(node, "Pad") and self._target.pads_integers:
            self._pad_codes(node)
        elif is_op(node, "Add") or is_op(node, "Mul"):
            self._quantize_constants(node)

    def _pad_codes(self, node: ir.Node) -> None:
        """Pad the codes themselves, with the code of zero: ONNX Runtime fuses no QDQ Pad."""
        (value,) = activations(node)
        node.resize_inputs(max(3, len(node.inputs)))
        node.replace_input_with(0, self._codes[value])
        node.replace_input_with(2, self._constants_of(str(node.outputs[0].name))[1])
        node.outputs[0].type = self._codes[value].type

    def _quantize_constants(self, node: ir.Node) -> None:
        """Round the constant operand of an Add or Mul: its kernel takes codes only."""
        for place, value in enumerate(node.inputs):
            constant = constant_of(value)
            if constant is not None:
                limits = (float(constant.min()), float(constant.max()))
                found = activation_parameters(limits, self._target.activations)
                codes = to_codes(constant, found)
                self._read_codes(node, place, "constant", codes, found)

    def _quantize_weights(self, node: ir.Node) -> None:
        weight, bias = (_constant(node, place) for place in (1, 2))
        assert weight is not None
        input_scale = _constant(activations(node)[0].producer(), 1)
        assert input_scale is not None
        scales, widened = weight_scales(weight, bias, input_scale)
        if widened.any():
            self._widened[node_name(node)] = np.flatnonzero(widened).tolist()
        found = Parameters(scales, np.zeros(len(scales), np.int8))
        self._read_codes(node, 1, "weight", weight_codes(weight, scales), found)
        if bias is not None:
            of_products = scales * input_scale
            found = Parameters(of_products, np.zeros(len(scales), np.int32))
            self._read_codes(node, 2, "bias", bias_codes(bias, of_products), found)

    def _read_codes(
        self, node: ir.Node, place: int, what: str, codes: np.ndarray, parameters: Parameters
    ) -> None:
        """Let a node read a constant's codes through a DequantizeLinear."""
        name = f"{node_name(node)}_{what}"
        arrays = {
            "quantized": codes,
            "scale": parameters.scale,
            "zero_point": parameters.zero_point,
        }
        inputs = [_add_constant(self._graph, f"{name}_{key}", one) for key, one in arrays.items()]
        attributes = {"axis": 0} if parameters.scale.ndim else {}
        reader = ir.node(
            "DequantizeLinear",
            inputs,
            attributes,
            name=f"{name}_DequantizeLinear",
            domain=self._domain,
        )
        output = reader.outputs[0]
        output.name, output.type = f"{name}_dequantized", ir.TensorType(ir.DataType.FLOAT)
        output.shape = inputs[0].shape
        self._graph.insert_before(node, [reader])
        node.replace_input_with(place, output)


def _constant(node: ir.Node | None, place: int) -> np.ndarray | None:
    if node is None or place >= len(node.inputs):
        return None
    return constant_of(node.inputs[place])


def _add_constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def _bypass(node: ir.Node) -> None:
    """Take a Relu or Clip out; the value before it takes its place and its name."""
    before, behind = activations(node)[0], node.outputs[0]
    behind.replace_all_uses_with(before, replace_graph_outputs=True)
    graph, name = node.graph, behind.name
    assert isinstance(graph, ir.Graph)
    graph.remove(node, safe=True)
    before.name = name
