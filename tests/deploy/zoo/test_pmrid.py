from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deploy.errors import UsageError
from deploy.zoo.partial_conv import PConv, PDWConv
from deploy.zoo.pmrid import Pmrid, PmridChoices, pmrid_mofa


@pytest.fixture
def trained_raw(test_data: Callable[[str], Path]) -> dict[str, torch.Tensor]:
    path = test_data("pmrid_torch_pretrained.ckp")
    return torch.load(path, map_location="cpu", weights_only=True)


def test_names_and_order_are_those_of_the_public_checkpoint(
    trained_raw: dict[str, torch.Tensor],
) -> None:
    assert list(Pmrid(4).state_dict()) == list(trained_raw)


def test_trained_network_gives_the_public_classs_output(
    trained_raw: dict[str, torch.Tensor], test_data: Callable[[str], Path]
) -> None:
    parity = np.load(test_data("fixtures/pmrid_raw_parity.npz"))
    network = Pmrid(4)
    network.load_state_dict(trained_raw, strict=True)

    with torch.no_grad():
        restored = network(torch.from_numpy(parity["x"])).numpy()

    assert np.abs(restored - parity["y"]).max() <= 1e-5


def test_original_names_need_no_checkpoint_to_be_held() -> None:
    names = list(Pmrid().state_dict())

    assert len(names) == 141
    assert "enc1.0.proj.depthwise.weight" in names
    assert "dec1.decode_conv.conv0.pointwise.bias" in names
    assert "dec4.upsample.bias" in names


def test_pmrid_mofa_has_the_released_names() -> None:
    names = list(pmrid_mofa().state_dict())

    assert len(names) == 106
    assert "enc2.0.conv1.sep.depthwise.weight" in names
    assert "enc2.0.proj.sep.pointwise.bias" in names
    assert "enc2.0.conv2.pconvdw.depthwise.partial_conv3.weight" in names
    assert "encdec.pconvdw.pointwise.weight" in names
    assert "dec3.upsample.0.pconvdw.depthwise.partial_conv3.weight" in names
    assert "dec3.proj_conv.pconvdw.pointwise.weight" in names


LAYERS_OF_PMRID_MOFA = [  # layer, input channels, convolved channels, kernel, kind
    ("enc1.0.conv2", 16, 4, 5, PConv),
    ("enc1.1.conv1", 64, 16, 5, PConv),
    ("enc1.1.conv2", 16, 4, 5, PConv),
    ("enc2.0.conv2", 32, 8, 5, PConv),
    ("enc2.1.conv1", 128, 32, 5, PDWConv),
    ("enc2.1.conv2", 32, 8, 5, PConv),
    ("enc3.0.conv2", 64, 16, 5, PConv),
    *((f"enc3.{block}.conv1", 256, 128, 5, PDWConv) for block in (1, 2, 3)),
    *((f"enc3.{block}.conv2", 64, 32, 5, PDWConv) for block in (1, 2, 3)),
    ("enc4.0.conv2", 128, 32, 5, PDWConv),
    *((f"enc4.{block}.conv1", 512, 128, 5, PDWConv) for block in (1, 2, 3)),
    *((f"enc4.{block}.conv2", 128, 32, 5, PDWConv) for block in (1, 2, 3)),
    ("encdec", 512, 256, 3, PDWConv),
    ("dec1.decode_conv.conv0", 64, 32, 3, PDWConv),
    ("dec1.decode_conv.conv1", 64, 32, 3, PDWConv),
    ("dec1.upsample.0", 64, 16, 3, PConv),
    ("dec1.proj_conv", 256, 128, 3, PDWConv),
    ("dec2.decode_conv.conv0", 64, 32, 3, PDWConv),
    ("dec2.decode_conv.conv1", 64, 32, 3, PDWConv),
    ("dec2.upsample.0", 64, 16, 3, PConv),
    ("dec2.proj_conv", 128, 64, 3, PDWConv),
    ("dec3.decode_conv.conv0", 32, 16, 3, PConv),
    ("dec3.decode_conv.conv1", 32, 16, 3, PConv),
    ("dec3.upsample.0", 32, 8, 3, PConv),
    ("dec3.proj_conv", 64, 32, 3, PDWConv),
    ("dec4.decode_conv.conv0", 32, 16, 3, PConv),
    ("dec4.decode_conv.conv1", 32, 16, 3, PConv),
    ("dec4.upsample.0", 32, 8, 3, PConv),
    ("dec4.proj_conv", 16, 8, 3, PConv),
    ("out0.conv0", 16, 4, 3, PConv),
    ("out0.conv1", 16, 4, 3, PConv),
]


def test_pmrid_mofa_has_no_partial_convolution_that_the_paper_does_not_list() -> None:
    partial = [
        name.removesuffix(".pconvdw")
        for name, module in pmrid_mofa().named_modules()
        if isinstance(module, PConv)
    ]

    assert sorted(partial) == sorted(layer for layer, *_ in LAYERS_OF_PMRID_MOFA)


@pytest.mark.parametrize(("layer", "channels", "convolved", "kernel", "kind"), LAYERS_OF_PMRID_MOFA)
def test_layer_of_pmrid_mofa_is_the_papers(
    layer: str, channels: int, convolved: int, kernel: int, kind: type[PConv]
) -> None:
    conv = pmrid_mofa().get_submodule(f"{layer}.pconvdw")

    assert type(conv) is kind
    assert conv.pointwise.in_channels == channels
    assert conv.depthwise.partial_conv3.in_channels == convolved
    assert conv.depthwise.partial_conv3.kernel_size == (kernel, kernel)


def test_decoupled_upsampling_alone_keeps_the_names_of_the_rest() -> None:
    names = set(Pmrid(choices=PmridChoices(upsampling="decoupled")).state_dict())

    changed = names.symmetric_difference(Pmrid().state_dict())

    assert {name.split(".")[1] for name in changed} == {"upsample"}


def test_decoupled_downsampling_replaces_all_eight_strided_convolutions() -> None:
    network = Pmrid(choices=PmridChoices(convolution="pconv", downsampling="decoupled"))

    assert sum(isinstance(module, nn.AvgPool2d) for module in network.modules()) == 8
    assert all(m.stride == (1, 1) for m in network.modules() if isinstance(m, nn.Conv2d))


def test_side_that_is_no_multiple_of_16_is_refused_with_the_multiple() -> None:
    with pytest.raises(UsageError, match=r"64x72 .*multiple of 16"):
        Pmrid()(torch.zeros(1, 3, 64, 72))


def test_last_convolution_at_zero_leaves_the_image() -> None:
    network = pmrid_mofa()
    nn.init.zeros_(network.out1.conv.weight)
    nn.init.zeros_(network.out1.conv.bias)
    image = torch.rand(1, 3, 32, 48)

    assert torch.equal(network(image), image)


@pytest.mark.parametrize("choices", [{"middle": 3}, {"cheap": True}])
def test_portions_of_separable_convolutions_are_refused(choices: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="no portion"):
        PmridChoices(**choices)


def test_encoder_stage_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="middle=5"):
        PmridChoices(convolution="pconv", middle=5)
