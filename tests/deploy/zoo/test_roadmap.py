"""The steps, held to the networks that are written out from the papers' tables."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from deploy.errors import UsageError
from deploy.zoo.complexity import measure_complexity
from deploy.zoo.nafnet import nafnet_tiny
from deploy.zoo.nafnet_mofa import nafnet_mofa
from deploy.zoo.partial_conv import HALF, QUARTER, PartialConv
from deploy.zoo.pmrid import (
    MOFA_TABLE_1,
    MOFA_TABLE_2,
    MOFA_TABLE_3,
    MOFA_TABLE_6,
    Pmrid,
    PmridChoices,
)
from deploy.zoo.roadmap import (
    decouple_downsampling,
    decouple_upsampling,
    layers_taken,
    raise_portion,
    take_steps,
    to_depthwise,
    to_partial_convs,
)

CHEAP = ("encdec", "dec1", "dec2", "dec3", "dec4")


def counts(network: nn.Module) -> tuple[int, int, int]:
    complexity = measure_complexity(network)
    return complexity.macs, complexity.thop_macs, complexity.params


def test_steps_on_pmrid_are_the_rows_of_table_1() -> None:
    steps = take_steps(Pmrid())
    rows = {
        "baseline": MOFA_TABLE_1[1],
        "partial": MOFA_TABLE_1[2],
        "middle": MOFA_TABLE_1[3],
        "cheap": MOFA_TABLE_1[5],
        "upsampling": MOFA_TABLE_3["upsampling"],
        "depthwise": MOFA_TABLE_1[8],
    }

    assert list(steps) == list(rows)
    for step, choices in rows.items():
        assert counts(steps[step]) == counts(Pmrid(choices=choices)), step


@pytest.mark.parametrize("threshold", MOFA_TABLE_6)
def test_threshold_gives_the_row_of_table_6(threshold: int) -> None:
    last = to_depthwise(take_steps(Pmrid())["upsampling"], threshold)

    assert counts(last) == counts(Pmrid(choices=MOFA_TABLE_6[threshold]))


@pytest.mark.parametrize(
    ("path", "choices"),
    [
        (lambda net: raise_portion(to_partial_convs(net), CHEAP), MOFA_TABLE_1[4]),
        (decouple_upsampling, MOFA_TABLE_1[6]),
        (lambda net: to_depthwise(to_partial_convs(net), 0), MOFA_TABLE_1[7]),
        (
            lambda net: raise_portion(to_partial_convs(net), ("enc2", "dec3")),
            MOFA_TABLE_2["enc2-dec3"],
        ),
        (
            lambda net: raise_portion(to_partial_convs(net), ("enc1", "dec4")),
            MOFA_TABLE_2["enc1-dec4"],
        ),
        (
            lambda net: decouple_downsampling(take_steps(net)["cheap"]),
            MOFA_TABLE_3["downsampling"],
        ),
    ],
    ids=["1-4", "1-6", "1-7", "2-enc2", "2-enc1", "3-down"],
)
def test_other_paths_over_the_steps_are_rows_too(
    path: Callable[[nn.Module], nn.Module], choices: PmridChoices
) -> None:
    assert counts(path(Pmrid())) == counts(Pmrid(choices=choices))


def test_all_steps_on_nafnet_tiny_give_nafnet_mofa() -> None:
    last = take_steps(nafnet_tiny(), threshold=16, downsampling=True)["depthwise"]

    shapes = sorted(tuple(value.shape) for value in last.state_dict().values())
    assert shapes == sorted(tuple(value.shape) for value in nafnet_mofa().state_dict().values())
    assert counts(last) == counts(nafnet_mofa())


class PlainUNet(nn.Module):
    """A network that is none of the papers': batch normalization, max pooling, concatenation."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.enter = double(3, width)
        self.enc = nn.ModuleList([double(width, 2 * width), double(2 * width, 4 * width)])
        self.ups = nn.ModuleList(
            [
                nn.ConvTranspose2d(4 * width, 2 * width, 2, 2),
                nn.ConvTranspose2d(2 * width, width, 2, 2),
            ]
        )
        self.dec = nn.ModuleList([double(4 * width, 2 * width), double(2 * width, width)])
        self.leave = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        fine = self.enter(image)
        half = self.enc[0](nn.functional.max_pool2d(fine, 2))
        x = self.enc[1](nn.functional.max_pool2d(half, 2))
        x = self.dec[0](torch.cat((self.ups[0](x), half), 1))
        x = self.dec[1](torch.cat((self.ups[1](x), fine), 1))
        return self.leave(x) + image


def double(channels: int, out: int) -> nn.Sequential:
    convs = nn.Conv2d(channels, out, 3, padding=1), nn.Conv2d(out, out, 3, padding=1)
    return nn.Sequential(
        convs[0], nn.BatchNorm2d(out), nn.ReLU(), convs[1], nn.BatchNorm2d(out), nn.ReLU()
    )


@pytest.mark.parametrize(
    "step", ["partial", "middle", "cheap", "upsampling", "downsampling", "depthwise"]
)
def test_any_u_net_restores_an_image_after_each_step(step: str) -> None:
    network = take_steps(PlainUNet(), threshold=4, downsampling=True)[step].eval()

    with torch.no_grad():
        assert network(torch.rand(1, 3, 32, 48)).shape == (1, 3, 32, 48)


def test_pixel_shuffle_that_gives_the_output_stays() -> None:
    network = PlainUNet()
    network.leave = nn.Sequential(
        nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2), nn.AvgPool2d(2)
    )

    upsampled = decouple_upsampling(network)

    assert isinstance(upsampled.leave[1], nn.PixelShuffle)
    assert not isinstance(upsampled.ups[0], nn.ConvTranspose2d)


def test_input_and_output_convolutions_stay() -> None:
    network = take_steps(PlainUNet())["depthwise"]

    assert isinstance(network.enter[0], nn.Conv2d)
    assert isinstance(network.leave, nn.Conv2d)
    assert not isinstance(network.enter[3], nn.Conv2d)


def test_layers_that_stay_keep_their_weights() -> None:
    network = nafnet_tiny()

    partial = to_partial_convs(network).state_dict()

    kept = {name: value for name, value in network.state_dict().items() if ".conv2." not in name}
    assert set(kept) < set(partial)
    assert all(torch.equal(value, partial[name]) for name, value in kept.items())


def test_step_to_partial_convolutions_taken_twice_changes_nothing_more() -> None:
    once = to_partial_convs(Pmrid())

    assert list(to_partial_convs(once).state_dict()) == list(once.state_dict())


def test_argument_is_left_as_it_was() -> None:
    network = nafnet_tiny()
    names = list(network.state_dict())

    take_steps(network, downsampling=True)

    assert list(network.state_dict()) == names


def test_decoupled_resampling_keeps_its_quarter() -> None:
    network = decouple_upsampling(to_partial_convs(nafnet_tiny()))

    raised = raise_portion(network, ("decoders.0",))

    portions = {
        name.split(".")[0]: module.portion
        for name, module in raised.named_modules()
        if isinstance(module, PartialConv) and name.startswith(("ups.0", "decoders.0"))
    }
    assert portions == {"ups": QUARTER, "decoders": HALF}
    with pytest.raises(UsageError, match=r"stage 'ups\.0'"):
        raise_portion(network, ("ups.0",))


def test_stage_without_partial_convolutions_is_named() -> None:
    with pytest.raises(UsageError, match="stage 'enc3' of Pmrid has no partial convolution"):
        raise_portion(Pmrid(), ("enc3",))


def test_portion_that_does_not_divide_the_channels_is_named() -> None:
    with pytest.raises(UsageError, match="portion 1/4 of 6 channels"):
        to_partial_convs(PlainUNet(width=6))


def test_layers_taken_are_whole_pairs_and_none_that_changes_the_size() -> None:
    taken = layers_taken(Pmrid())

    assert {name for name in taken["middle"] if name.startswith("enc3.")} == {
        f"enc3.{block}.{conv}" for block in (1, 2, 3) for conv in ("conv1", "conv2")
    }
    assert {name for name in taken["cheap"] if name.startswith("encdec")} == {"encdec"}


def test_layers_taken_of_a_plain_u_net_are_its_convolutions() -> None:
    assert layers_taken(PlainUNet())["middle"] == {"enc.0.0", "enc.0.3", "dec.0.0", "dec.0.3"}


def test_layers_taken_need_channels_that_the_portion_divides() -> None:
    with pytest.raises(UsageError, match="portion 1/4 of 6 channels"):
        layers_taken(PlainUNet(width=6))


def test_network_that_is_no_u_net_is_refused() -> None:
    with pytest.raises(UsageError, match="not U-Net-like"):
        take_steps(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1)))
