"""What of a model file runs in integers, what does not and why, and which conversions are left.

A check, not a stage: it writes no artifact. A QDQ file is looked at as ONNX Runtime optimizes it
for a target, in a temporary folder; a file that holds integer operators is looked at as it is.
"""

import tempfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir

from deploy.artifact import Artifact
from deploy.findings import AUDITED, LEFT, ON_PURPOSE, Audit, OddChannels, Unfused
from deploy.fusion import Cause, cause_of, conversions_beside, is_float
from deploy.inference import open_session
from deploy.integer_ops import (
    INTEGER_CONVOLUTIONS,
    activation_types,
    eight_bit_values,
    float_name,
    form_of,
    is_integer_op,
    own_name,
    positions,
)
from deploy.onnx_file import load_graph
from deploy.placement import TARGETS, WANTED_FLOAT, Target
from deploy.targets import KEEPS_FLOAT

# what the integer kernels want multiples of: depthwise channels, outputs of other convolutions
X86_MULTIPLES, OTHER_MULTIPLES = (16, 16), (8, 4)


def audit(
    path: Path, *, target: Target | None = None, kept: Mapping[str, str] | None = None
) -> Audit:
    """Look at how a model file runs on a target.

    Args:
        path: .onnx or .ort; float, in QDQ form, or with integer operators.
        target: the hardware; the one whose activations are of the file's type if None.
        kept: name of each node that is in float on purpose -> why.

    Raises:
        GraphError: the file is no model, or ONNX Runtime does not load it.
    """
    proto = load_graph(path)
    chosen, kept = target or _fitting(proto), kept or {}
    form = form_of(proto)
    if form == "float":
        operators = Counter(node.op_type for node in proto.graph.node)
        return Audit(path, form, chosen.name, in_float=dict(operators))
    if form == "qdq":
        return _of_qdq(path, proto, chosen, kept)
    nodes = list(ir.from_proto(proto).graph)
    eight_bit = eight_bit_values(nodes)
    in_float = [one for one in nodes if _is_audited(one) and one.outputs[0] not in eight_bit]
    return Audit(
        path,
        form,
        chosen.name,
        unfused=_unfused(nodes, in_float, kept, int8_allowed=None),
        **_counted(nodes, eight_bit),
        odd_channels=_odd_channels(nodes, chosen, [own_name(node) for node in nodes]),
    )


def kept_in_float(artifact: Artifact) -> dict[str, str]:
    """Give each node that a file's sidecar says is in float because it is wanted so, and why."""
    recorded = artifact.fidelity.get("fusion", {}).get("on_purpose")
    nodes = recorded or artifact.fidelity.get("in_float", {})
    return {name: why for name, why in nodes.items() if why in WANTED_FLOAT}


def _fitting(proto: onnx.ModelProto) -> Target:
    wanted = "QInt8" if "int8" in activation_types(proto) else "QUInt8"
    preferred = ("x86", *TARGETS)  # unsigned ones are for x86 first
    return next(TARGETS[name] for name in preferred if TARGETS[name].activations == wanted)


def _of_qdq(path: Path, proto: onnx.ModelProto, target: Target, kept: Mapping[str, str]) -> Audit:
    source = list(ir.from_proto(proto).graph)
    numbered = onnx.ModelProto()
    numbered.CopyFrom(proto)
    for number, one in enumerate(numbered.graph.node):
        one.name = str(number)  # so that what became of it can be told
    optimized = _optimized(numbered, target)
    eight_bit = eight_bit_values(optimized)
    there = {own_name(node) for node in optimized}
    integer = {own_name(node) for node in optimized if _is_integer(node, eight_bit)}
    in_float = [
        node
        for number, node in enumerate(source)
        if _is_audited(node)
        and str(number) not in integer
        and (str(number) in there or not _may_be_folded(node))
    ]
    names = [
        own_name(source[int(number)]) if number.isdecimal() else number
        for number in map(own_name, optimized)
    ]
    allowed = target.config.get("session.qdqisint8allowed") == "1"
    return Audit(
        path,
        "qdq",
        target.name,
        session={"level": "all", **target.config},
        unfused=_unfused(source, in_float, kept, int8_allowed=allowed),
        **_counted(optimized, eight_bit),
        odd_channels=_odd_channels(optimized, target, names),
    )


def _optimized(proto: onnx.ModelProto, target: Target) -> list[ir.Node]:
    """Give the nodes that ONNX Runtime makes of a graph at its highest level."""
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "optimized.onnx")
        open_session(
            proto.SerializeToString(),
            level="all",
            config=target.config,
            save_to=saved,
            # NCHWc: a layout of float operators, which gives them other names
            disabled_optimizers=("NchwcTransformer", KEEPS_FLOAT),
        )
        return list(ir.from_proto(onnx.load(saved)).graph)


def _is_audited(node: ir.Node) -> bool:
    is_float_op = not is_integer_op(node.op_type) and is_float(node.outputs[0])
    return is_float_op and float_name(node.op_type) in AUDITED


def _is_integer(node: ir.Node, eight_bit: Collection[ir.Value]) -> bool:
    moved = node.op_type in AUDITED and node.outputs[0] in eight_bit  # MaxPool, Concat
    return moved or is_integer_op(node.op_type)


def _may_be_folded(node: ir.Node) -> bool:
    """Say whether a node that is gone may be part of a constant, of a bias or of a norm now."""
    values = [value for value in node.inputs if value is not None]
    return any(ir.convenience.get_const_tensor(value) is not None for value in values)


def _counted(nodes: Sequence[ir.Node], eight_bit: Collection[ir.Value]) -> dict[str, Any]:
    """Give the counts of the graph that runs, by their names in `Audit`."""
    integer, other = Counter[str](), Counter[str]()
    left = dict.fromkeys(LEFT, 0)
    for node in nodes:
        if node.op_type in LEFT:
            left[node.op_type] += 1
        elif _is_integer(node, eight_bit):
            integer[node.op_type] += 1
        elif not _is_audited(node) and node.outputs[0] not in eight_bit:
            other[node.op_type] += 1
    return {"integer": dict(integer), "left": left, "in_float": dict(other)}


def _unfused(
    nodes: Sequence[ir.Node],
    in_float: Sequence[ir.Node],
    kept: Mapping[str, str],
    *,
    int8_allowed: bool | None,
) -> tuple[Unfused, ...]:
    where = positions(nodes)
    found = []
    for node in in_float:
        cause, name = cause_of(node, int8_allowed=int8_allowed), own_name(node)
        if name in kept:
            cause = Cause(ON_PURPOSE, kept[name])
        found.append(
            Unfused(
                name,
                float_name(node.op_type),
                where.get(node, ""),
                cause.reason,
                cause.detail,
                conversions_beside(node),
            )
        )
    return tuple(found)


def _odd_channels(
    nodes: Sequence[ir.Node], target: Target, names: Sequence[str]
) -> tuple[OddChannels, ...]:
    depthwise, outputs = X86_MULTIPLES if target.name == "x86" else OTHER_MULTIPLES
    found = []
    for node, name in zip(nodes, names, strict=True):
        if node.op_type not in INTEGER_CONVOLUTIONS:
            continue
        weight = node.inputs[3 if node.op_type == "QLinearConv" else 1]
        tensor = ir.convenience.get_const_tensor(weight) if weight is not None else None
        if tensor is None:
            continue
        channels, each = tensor.shape.numpy()[:2]
        is_depthwise = each == 1 and node.attributes.get_int("group", 1) == channels > 1
        what, multiple = ("depthwise channels", depthwise) if is_depthwise else ("outputs", outputs)
        if channels % multiple:
            found.append(OddChannels(name, what, channels, multiple))
    return tuple(found)
