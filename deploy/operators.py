"""How each operator is quantized, and why: one table."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import onnx_ir as ir


class Rule(StrEnum):
    """How an operator is quantized.

    Attributes:
        SEEDS: is integer wherever its weights are constant.
        FOLLOWS: is integer where an integer operator makes one of its inputs. Between float
            operators it would only add rounding, as in `variance + eps`.
        MOVES: copies or selects values, so one set of parameters holds before and behind it. It
            is integer where all that it reads is made by integer operators, or all its readers
            are integer.
        MERGES: is done by the rounding behind it, whose least code is its bound.
    """

    SEEDS = "seeds"
    FOLLOWS = "follows"
    MOVES = "moves"
    MERGES = "merges"


@dataclass(frozen=True)
class Operator:
    """How an operator is quantized, and why."""

    rule: Rule
    why: str


def _table(rule: Rule, **whys: str) -> dict[str, Operator]:
    return {name: Operator(rule, why) for name, why in whys.items()}


OPERATORS: Final = {
    **_table(Rule.SEEDS, Conv="nearly all multiply-adds, and the operator with real int8 kernels"),
    **_table(
        Rule.FOLLOWS,
        Add="residual and skip sums; in float they would break the int8 chain",
        Mul="gates and channel attention between int8 convolutions",
        GlobalAveragePool="the pool of channel attention; has a kernel for both layouts",
        AveragePool="decoupled downsampling",
        LeakyRelu="a table of 256 entries",
        Sigmoid="a table of 256 entries",
    ),
    **_table(
        Rule.MOVES,
        Concat="with one set of parameters it copies; with several it computes every value anew",
        DepthToSpace="pixel shuffle; integer since ONNX Runtime 1.31",
        Expand="repeats values",
        Flatten="names other axes",
        Identity="gives what it gets",
        MaxPool="picks one of the values",
        Pad="adds zeros, which every set of parameters has exactly; never fused in QDQ form, "
        "so it pads the integers themselves",
        Reshape="names other axes",
        Resize="nearest only: repeats values. Integer bilinear would change results",
        Slice="picks values",
        Split="halves of a gate",
        Squeeze="names other axes",
        Tile="repeats values",
        Transpose="free where it meets the channels-last layout of int8 convolutions",
        Unsqueeze="names other axes",
    ),
    **_table(
        Rule.MERGES,
        Relu="codes below zero do not exist behind it: least code = zero point",
        Clip="as Relu, where zero lies between its bounds",
    ),
}

# Everything else stays in float, with rounding before and behind it:
FLOAT_OPERATORS = {
    "InstanceNormalization": "as LayerNormalization",
    "LayerNormalization": "its variance spans too many decades for 8 bits; no integer kernel",
    "LpNormalization": "no integer kernel; the centering convolution before it is integer",
    "Sub": "no integer kernel",
    "Div": "no integer kernel",
    "Pow": "no integer kernel; squares span too many decades",
    "Sqrt": "no integer kernel",
    "ReduceMean": "no integer kernel; over height and width, prepare makes it GlobalAveragePool",
    "Softmax": "exponentials span too many decades",
    "ConvTranspose": "no integer kernel; 2x2 with stride 2, prepare makes it a 1x1 convolution",
    "PRelu": "no integer kernel",
}


def rule_of(node: ir.Node) -> Rule | None:
    """Give a node's rule; None for operators that always stay in float."""
    operator = OPERATORS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    return operator.rule if operator else None
