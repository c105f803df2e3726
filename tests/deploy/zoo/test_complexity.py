import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from deploy.zoo.complexity import measure_complexity
from deploy.zoo.nafnet import nafnet_tiny
from deploy.zoo.pmrid import pmrid_mofa


@given(st.integers(1, 3), st.integers(1, 2), st.sampled_from([1, 3, 5]), st.integers(1, 2))
def test_convolution_costs_its_window_for_every_output(
    groups: int, per_group: int, kernel: int, stride: int
) -> None:
    conv = nn.Conv2d(groups * per_group, groups * 2, kernel, stride, kernel // 2, groups=groups)

    complexity = measure_complexity(conv, [(1, groups * per_group, 8, 8)])

    outputs = groups * 2 * (8 // stride) ** 2
    assert complexity.macs == complexity.thop_macs == outputs * per_group * kernel**2


def test_transposed_convolution_is_counted_on_its_input_and_by_thop_on_its_output() -> None:
    complexity = measure_complexity(nn.ConvTranspose2d(3, 5, 2, stride=2), [(1, 3, 4, 4)])

    assert complexity.macs == 3 * 5 * 4 * 4 * 2 * 2
    assert complexity.thop_macs == 4 * complexity.macs


@pytest.mark.parametrize(
    ("layer", "thop_macs"),
    [
        (nn.AvgPool2d(2), 2 * 4 * 3),
        (nn.AdaptiveAvgPool2d(1), 2 * (8 * 6 + 1)),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 11 * 2 * 16 * 12),
        (nn.Upsample(scale_factor=2, mode="nearest"), 0),
        (nn.BatchNorm2d(2), 4 * 2 * 8 * 6),
        (nn.ReLU(), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_thop_counts_layers_without_convolutions(layer: nn.Module, thop_macs: int) -> None:
    complexity = measure_complexity(layer, [(1, 2, 8, 6)])

    assert (complexity.macs, complexity.thop_macs) == (0, thop_macs)


def test_all_parameters_are_in_the_rows_once() -> None:
    network = nafnet_tiny()

    counted = measure_complexity(network).params

    assert counted == sum(parameter.numel() for parameter in network.parameters())


def test_shared_layer_costs_its_work_twice_and_its_parameters_once() -> None:
    conv = nn.Conv2d(4, 4, 1, bias=False)

    complexity = measure_complexity(nn.Sequential(conv, conv), [(1, 4, 2, 2)])

    assert (complexity.macs, complexity.params) == (2 * 16 * 4, 16)


def test_tied_weight_counts_once() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(4, 4, 1, bias=False))
    network[1].weight = network[0].weight

    assert measure_complexity(network, [(1, 4, 2, 2)]).params == 16


def test_rows_tell_layer_kind_and_output_size() -> None:
    rows = {layer.layer: layer for layer in measure_complexity(pmrid_mofa()).layers}

    pool = rows["enc1.0.conv1.sep.depthwise"]
    assert (pool.kind, pool.output_shape) == ("Conv2d", (1, 16, 128, 128))
    assert rows["dec4.upsample.1"].kind == "Upsample"


def test_rows_are_in_the_order_in_which_they_run() -> None:
    layers = [layer.layer for layer in measure_complexity(nafnet_tiny()).layers]

    assert layers[0] == "intro"
    assert layers[-1] == "ending"
    assert layers.index("encoders.2.0.conv1") < layers.index("middle_blks.0.conv1")
    assert layers.index("middle_blks.0.conv1") < layers.index("decoders.0.0.conv1")


def test_layer_that_is_not_called_comes_last_with_its_parameters() -> None:
    class Forgetful(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](x)

    layers = measure_complexity(
        Forgetful(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)), [(1, 1, 4, 4)]
    ).layers

    assert [(one.layer, one.params, one.macs) for one in layers] == [("1", 2, 16), ("0", 2, 0)]


def test_macs_grow_with_the_area() -> None:
    small = measure_complexity(pmrid_mofa(), [(1, 3, 256, 256)])
    large = measure_complexity(pmrid_mofa(), [(1, 3, 512, 768)])

    assert large.macs == 6 * small.macs


def test_counting_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}

    measure_complexity(network, [(1, 3, 4, 4)])

    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1)

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(first), second


def test_network_of_two_inputs_and_two_outputs_can_be_counted() -> None:
    assert measure_complexity(TwoInputs(), [(1, 1, 2, 2), (1, 1, 9, 9)]).macs == 4
