import pytest
import torch
from torch import nn

from deploy.errors import UsageError
from deploy.zoo.nafnet import LayerNorm2d, nafnet_tiny
from deploy.zoo.pmrid import Pmrid
from deploy.zoo.without_layernorm import without_layernorm


def test_no_normalization_is_left() -> None:
    bare = without_layernorm(nafnet_tiny())

    assert not any(isinstance(module, LayerNorm2d) for module in bare.modules())


def test_other_weights_are_kept() -> None:
    network = nafnet_tiny()

    bare = without_layernorm(network).state_dict()

    kept = {name: value for name, value in network.state_dict().items() if ".norm" not in name}
    assert list(bare) == list(kept)
    assert all(torch.equal(bare[name], kept[name]) for name in kept)


@pytest.mark.parametrize("kind", [nn.LayerNorm, type("LayerNorm2d", (nn.Module,), {})])
def test_normalization_of_a_users_network_goes_too(kind: type[nn.Module]) -> None:
    norm = kind(4) if kind is nn.LayerNorm else kind()

    bare = without_layernorm(nn.Sequential(norm, nn.ReLU()))

    assert [type(layer) for layer in bare] == [nn.Identity, nn.ReLU]


def test_argument_keeps_its_normalization() -> None:
    network = nafnet_tiny()

    without_layernorm(network)

    assert any(isinstance(module, LayerNorm2d) for module in network.modules())


def test_network_without_normalization_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="Pmrid has no LayerNorm2d"):
        without_layernorm(Pmrid())
