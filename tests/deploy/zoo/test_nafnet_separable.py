import pytest
import torch
from torch import nn

from deploy.errors import UsageError
from deploy.zoo.nafnet import NAFNet, nafnet_tiny
from deploy.zoo.nafnet_separable import PARTS, Part, with_separable_convs
from deploy.zoo.nafnet_sizes import thesis_nafnet
from deploy.zoo.separable import SeparableConv


def separable_rooms(network: NAFNet) -> set[str]:
    return {
        ".".join(name.split(".")[:2]) if name[:3] not in ("int", "end", "mid") else name[:3]
        for name, module in network.named_modules()
        if isinstance(module, SeparableConv)
    }


HIGH = {"encoders.0", "encoders.1", "downs.0", "downs.1"} | {
    "decoders.2", "decoders.3", "ups.2", "ups.3",
}  # fmt: skip
LOW = {"encoders.2", "encoders.3", "downs.2", "downs.3", "mid"} | {
    "decoders.0", "decoders.1", "ups.0", "ups.1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("part", "rooms"), [("high", HIGH), ("low", LOW), ("all", HIGH | LOW | {"int", "end"})]
)
def test_part_names_the_stages_with_their_resampling(part: Part, rooms: set[str]) -> None:
    assert separable_rooms(with_separable_convs(thesis_nafnet(16, 9), part)) == rooms


def test_all_leaves_no_dense_convolution_outside_a_pair() -> None:
    network = with_separable_convs(nafnet_tiny(), "all")
    dense = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and module.groups == 1
    ]

    assert all(name.endswith(".pointwise") for name in dense)


def test_bias_is_on_both_halves_where_the_original_has_one() -> None:
    network = with_separable_convs(nafnet_tiny(), "all")

    assert network.downs[0].depthwise.bias is not None
    assert network.downs[0].pointwise.bias is not None
    assert network.ups[0][0].depthwise.bias is None
    assert network.ups[0][0].pointwise.bias is None


@pytest.mark.parametrize("part", PARTS)
def test_image_size_is_kept(part: Part) -> None:
    with torch.no_grad():
        restored = with_separable_convs(nafnet_tiny(), part)(torch.rand(1, 3, 24, 40))

    assert restored.shape == (1, 3, 24, 40)


def test_unknown_part_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'middle'.*high, low, all"):
        with_separable_convs(nafnet_tiny(), "middle")
