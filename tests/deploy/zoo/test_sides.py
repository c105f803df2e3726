import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from deploy.zoo.nafnet import nafnet_tiny
from deploy.zoo.pmrid import Pmrid
from deploy.zoo.sides import PaddedToMultiple, side_multiple, takes

ODD_SHAPE = (1, 3, 90, 75)


class Halving(nn.Module):
    """Halves and doubles the sides `times` times; an odd one comes back larger."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.down = nn.Sequential(*(nn.Conv2d(3, 3, 3, stride=2, padding=1) for _ in range(times)))
        self.up = nn.Sequential(*(nn.ConvTranspose2d(3, 3, 2, stride=2) for _ in range(times)))

    def forward(self, x):
        return self.up(self.down(x))


@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_multiple_is_found_from_what_comes_out(times):
    assert side_multiple(Halving(times), ODD_SHAPE) == 2**times


def test_pmrid_needs_multiples_of_16():
    assert side_multiple(Pmrid(), ODD_SHAPE) == 16
    assert not takes(Pmrid(), (1, 3, 72, 64))
    assert takes(Pmrid(), (1, 3, 80, 64))


def test_nafnet_takes_any_side_because_it_pads_inside():
    assert side_multiple(nafnet_tiny(), ODD_SHAPE) == 1


def test_an_enlarging_network_takes_sides_whose_multiples_come_out():
    network = nn.Upsample(scale_factor=2)
    assert takes(network, ODD_SHAPE)


@pytest.mark.parametrize(
    "network",
    [nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1)],
    ids=["other channels", "smaller output", "one number"],
)
def test_no_multiple_helps_a_network_that_fails_for_another_reason(network):
    assert side_multiple(network, ODD_SHAPE) is None


def test_a_padded_network_gives_the_images_sides_back():
    network = Halving(2)
    image = torch.rand(ODD_SHAPE)
    padded = functional.pad(image, (0, 1, 0, 2))
    with torch.inference_mode():
        expected = network(padded)[..., :90, :75]
        assert torch.equal(PaddedToMultiple(network, 4)(image), expected)


def test_an_enlarging_padded_network_gives_multiples_of_the_images_sides():
    image = torch.rand(1, 3, 5, 6)
    enlarged = PaddedToMultiple(nn.Upsample(scale_factor=2), 4)(image)
    assert torch.equal(enlarged, nn.Upsample(scale_factor=2)(image))


def test_asking_leaves_the_network_alone():
    network = Halving(1).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    side_multiple(network, ODD_SHAPE)
    assert network.training
    for name, value in network.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
