import torch
from torch.nn import functional

from deploy.zoo.separable import SeparableConv


def test_separable_convolution_is_depthwise_then_pointwise() -> None:
    x = torch.randn(1, 6, 9, 8)
    conv = SeparableConv(6, 4, 5, stride=2)

    each = functional.conv2d(x, conv.depthwise.weight, stride=2, padding=2, groups=6)
    expected = functional.conv2d(each, conv.pointwise.weight, conv.pointwise.bias)

    torch.testing.assert_close(conv(x), expected)


def test_only_the_pointwise_half_has_a_bias() -> None:
    assert list(SeparableConv(6, 4, 3).state_dict()) == [
        "depthwise.weight",
        "pointwise.weight",
        "pointwise.bias",
    ]
