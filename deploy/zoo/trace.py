"""What is called in one forward pass, and on which shapes, without computing anything."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Call:
    """One call of one module with a tensor in and a tensor out.

    Attributes:
        layer: dotted name in the network; "" is the network itself.
        module: a copy without storage; its settings can be read, its parameters cannot.
    """

    layer: str
    module: nn.Module
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


def trace_calls(model: nn.Module, input_shapes: Iterable[tuple[int, ...]]) -> list[Call]:
    """List the calls of a forward pass in the order in which they end: a container after its parts.

    Args:
        model: left untouched; traced in evaluation mode.
        input_shapes: of each input, in call order.
    """
    shadow = copy.deepcopy(model).to("meta").eval()
    calls: list[Call] = []
    for layer, module in shadow.named_modules():

        def record(
            module: nn.Module, inputs: tuple[object, ...], output: object, layer: str = layer
        ) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                shapes = tuple(inputs[0].shape), tuple(output.shape)
                calls.append(Call(layer, module, *shapes))

        module.register_forward_hook(record)
    with torch.no_grad():
        shadow(*(torch.empty(shape, device="meta") for shape in input_shapes))
    return calls
