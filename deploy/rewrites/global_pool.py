"""ReduceMean over height and width -> GlobalAveragePool.

    mean(x, axes=(2, 3), keepdims=1) = GlobalAveragePool(x)        for x of shape (N, C, H, W)

The same sum over the same values. Torch's exporter writes channel attention's pool as ReduceMean,
which has no integer kernel in ONNX Runtime; GlobalAveragePool has one.
"""

import onnx_ir as ir

from deploy.rewrites.matching import constant_ints, is_op, replace_value
from deploy.rewrites.outcome import Outcome


def use_global_pool(model: ir.Model) -> Outcome:
    """Rewrite every mean over height and width in place."""
    outcome = Outcome()
    for node in list(model.graph):
        if not is_op(node, "ReduceMean") or node.attributes.get_int("keepdims", 1) != 1:
            continue
        image = node.inputs[0]
        if image is None or image.shape is None or len(image.shape) != 4:
            continue
        axes = _axes(node)
        if axes is None or sorted(axis % 4 for axis in axes) != [2, 3]:
            continue
        pool = ir.node("GlobalAveragePool", [image], name=f"{node.name}_pool")
        replace_value(model.graph, node, [pool])
        outcome.applied.append(str(node.name))
    return outcome


def _axes(node: ir.Node) -> list[int] | None:
    """Axes are an input from opset 18 on, an attribute before."""
    if len(node.inputs) > 1:
        return constant_ints(node.inputs[1])
    found = node.attributes.get_ints("axes", None)
    return list(found) if found is not None else None
