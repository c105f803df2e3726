import pytest
import torch

from deploy.zoo.nafnet import nafnet_tiny
from deploy.zoo.nafnet_mofa import nafnet_mofa


def test_nafnet_mofa_has_the_released_names() -> None:
    names = list(nafnet_mofa().state_dict())

    assert len(names) == 135
    assert "encoders.0.0.conv2.partial_conv3.weight" in names
    assert "downs.0.1.partial_conv3.weight" in names
    assert "downs.0.2.weight" in names
    assert "ups.2.0.0.partial_conv3.weight" in names
    assert "ups.2.0.1.weight" in names


@pytest.mark.parametrize(
    ("layer", "convolved", "depthwise"),
    [
        ("encoders.0.0.conv2", 8, False),
        ("encoders.1.0.conv2", 16, True),
        ("encoders.2.0.conv2", 64, True),
        ("middle_blks.0.conv2", 64, True),
        ("decoders.0.0.conv2", 64, True),
        ("decoders.1.0.conv2", 16, True),
        ("decoders.2.0.conv2", 8, False),
        ("downs.0.1", 4, False),
        ("downs.1.1", 8, False),
        ("downs.2.1", 16, True),
        ("ups.0.0.0", 32, True),
        ("ups.1.0.0", 16, True),
        ("ups.2.0.0", 8, False),
    ],
)
def test_kernel_shape_tells_the_released_kind(layer: str, convolved: int, depthwise: bool) -> None:
    weight = nafnet_mofa().state_dict()[f"{layer}.partial_conv3.weight"]

    assert weight.shape == (convolved, 1 if depthwise else convolved, 3, 3)


def test_names_that_the_roadmap_does_not_touch_are_nafnets() -> None:
    tiny = set(nafnet_tiny().state_dict())

    kept = tiny.intersection(nafnet_mofa().state_dict())

    assert {name.split(".")[0] for name in tiny - kept} <= {
        "encoders", "middle_blks", "decoders", "downs", "ups",
    }  # fmt: skip
    assert all("conv2" in name for name in tiny - kept if name[0] in "em")


def test_side_that_is_no_multiple_of_8_comes_back_as_it_was() -> None:
    with torch.no_grad():
        assert nafnet_mofa()(torch.rand(1, 3, 33, 46)).shape == (1, 3, 33, 46)
