from itertools import pairwise

import pytest
import torch
from torch import nn

from deploy.errors import UsageError
from deploy.zoo.attention_gate import (
    ATTENTION_STEPS,
    AttentionGate,
    GateChoices,
    nafnet_16_18_sa,
    with_attention,
)
from deploy.zoo.nafnet import LayerNorm2d, nafnet_tiny
from deploy.zoo.nafnet_sizes import thesis_nafnet


@pytest.mark.parametrize("step", ATTENTION_STEPS)
def test_gate_scales_each_pixel_of_the_skip_by_one_number_between_0_and_1(step: str) -> None:
    skip, coarser = torch.rand(1, 8, 6, 4) + 0.1, torch.randn(1, 16, 3, 2)
    gate = AttentionGate(8, ATTENTION_STEPS[step]).eval()

    with torch.no_grad():
        scale = gate(skip, coarser) / skip

    assert ((scale > 0) & (scale < 1)).all()
    torch.testing.assert_close(scale, scale[:, :1].expand_as(scale))


def test_gate_listens_to_the_coarser_features() -> None:
    skip = torch.rand(1, 8, 4, 4)
    gate = AttentionGate(8, ATTENTION_STEPS["normalization"])

    with torch.no_grad():
        ones, others = gate(skip, torch.randn(1, 16, 2, 2)), gate(skip, torch.randn(1, 16, 2, 2))

    assert not torch.equal(ones, others)


def test_four_gates_follow_the_skips_from_the_coarsest() -> None:
    gates = [module for module in nafnet_16_18_sa().modules() if isinstance(module, AttentionGate)]

    assert [gate.wx.in_channels for gate in gates] == [128, 64, 32, 16]
    assert [gate.wg.in_channels for gate in gates] == [256, 128, 64, 32]


def test_each_step_changes_one_thing() -> None:
    steps = list(ATTENTION_STEPS.values())
    changes = [
        sum(getattr(before, name) != getattr(after, name) for name in vars(before))
        for before, after in pairwise(steps)
    ]

    assert steps[0] == GateChoices("relu", "batch", "bilinear")
    assert changes == [1, 1, 1]


def test_single_channel_of_psi_is_not_normalized() -> None:
    norms = [m for m in nafnet_16_18_sa().skips.modules() if isinstance(m, LayerNorm2d)]

    assert min(norm.weight.numel() for norm in norms) == 16


def test_weights_of_the_network_without_gates_fit_beneath_them() -> None:
    base = thesis_nafnet(16, 9)
    gated = with_attention(thesis_nafnet(16, 9), "naive")

    missing = gated.load_state_dict(base.state_dict(), strict=False)

    assert not missing.unexpected_keys
    assert all(name.startswith("skips.") for name in missing.missing_keys)


def test_gates_that_are_wide_open_leave_the_network_as_it_was() -> None:
    network = nafnet_tiny().eval()
    gated = with_attention(network, "upsample")
    for gate in gated.skips:
        nn.init.zeros_(gate.psi.weight)
        nn.init.constant_(gate.psi.bias, 50.0)
    image = torch.rand(1, 3, 16, 24)

    with torch.no_grad():
        torch.testing.assert_close(gated(image), network(image))


def test_unknown_step_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'norm'.*naive, activation, normalization, upsample"):
        with_attention(nafnet_tiny(), "norm")
