from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from deploy.errors import UsageError
from deploy.zoo.partial_conv import (
    HALF,
    QUARTER,
    PartialConv,
    PConv,
    PDWConv,
    convolved_channels,
    is_depthwise,
    pconv_or_pdwconv,
)


@given(st.integers(1, 64), st.integers(2, 16))
def test_one_nth_of_a_multiple_of_n_is_a_whole_number_of_channels(part: int, n: int) -> None:
    assert convolved_channels(part * n, Fraction(1, n)) == part


@given(st.integers(1, 256), st.integers(2, 16))
def test_portion_that_does_not_divide_the_channels_is_named_with_them(
    channels: int, n: int
) -> None:
    if channels % n == 0:
        return
    with pytest.raises(UsageError, match=rf"portion 1/{n} of {channels} channels"):
        PConv(channels, 8, 3, Fraction(1, n))


@pytest.mark.parametrize("portion", [Fraction(0), Fraction(1), Fraction(2), Fraction(-1, 4)])
def test_portion_that_leaves_one_side_empty_is_refused(portion: Fraction) -> None:
    with pytest.raises(UsageError, match="portion"):
        PartialConv(8, 3, portion)


@pytest.mark.parametrize("depthwise", [False, True])
def test_channels_past_the_portion_pass_untouched(depthwise: bool) -> None:
    x = torch.randn(2, 8, 5, 7)

    y = PartialConv(8, 3, QUARTER, depthwise=depthwise)(x)

    assert torch.equal(y[:, 2:], x[:, 2:])


@pytest.mark.parametrize(("kind", "groups"), [(PConv, 1), (PDWConv, 4)])
def test_first_channels_are_convolved_then_all_are_mixed(kind: type[PConv], groups: int) -> None:
    x = torch.randn(1, 8, 6, 6)
    conv = kind(8, 3, 5, HALF)
    kernel, mix = conv.depthwise.partial_conv3.weight, conv.pointwise.weight

    convolved = functional.conv2d(x[:, :4], kernel, padding=2, groups=groups)
    expected = functional.conv2d(torch.cat((convolved, x[:, 4:]), 1), mix)

    torch.testing.assert_close(conv(x), expected)


def test_partial_convolutions_have_no_bias() -> None:
    assert list(PConv(8, 4, 3, QUARTER).state_dict()) == [
        "depthwise.partial_conv3.weight",
        "pointwise.weight",
    ]


def test_threshold_is_reached_by_as_many_channels() -> None:
    assert is_depthwise(64, QUARTER, threshold=16)
    assert not is_depthwise(60, QUARTER, threshold=16)


def test_no_threshold_means_never_depthwise() -> None:
    assert type(pconv_or_pdwconv(512, 64, 3, HALF, threshold=None)) is PConv


def test_threshold_zero_means_always_depthwise() -> None:
    assert type(pconv_or_pdwconv(16, 16, 3, QUARTER, threshold=0)) is PDWConv
