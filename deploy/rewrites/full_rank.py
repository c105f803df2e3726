"""Constants beside a tensor -> the same constants with as many axes.

    x + c = x + reshape(c, (1, ..., 1, *c.shape))        what broadcasting does anyway

ONNX Runtime's integer Add of (1, 1, H, W) and a constant () took 18 times as long as that of
(1, 1, H, W) and (1, 1, 1, 1): it does not see that the inner loop is one over many values.
"""

import numpy as np
import onnx_ir as ir

from deploy.rewrites.building import add_constant
from deploy.rewrites.matching import constant_beside, is_op
from deploy.rewrites.outcome import Outcome

BINARY = ("Add", "Sub", "Mul", "Div")


def use_full_rank(model: ir.Model) -> Outcome:
    """Rewrite in place every constant of lower rank in elementwise arithmetic."""
    outcome = Outcome()
    for node in list(model.graph):
        parts = constant_beside(node) if any(is_op(node, one) for one in BINARY) else None
        if parts is None or parts[0].shape is None:
            continue
        image, constant = parts
        rank = len(image.shape or ())
        if constant.ndim >= rank:
            continue
        index = 1 if node.inputs[0] is image else 0
        full = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
        name = f"{node.name}_full_rank"
        node.replace_input_with(index, add_constant(model.graph, name, np.asarray(full)))
        outcome.applied.append(node.name or "")
    return outcome
