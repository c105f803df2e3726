from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from deploy.errors import UsageError
from deploy.spec import ModelSpec, TensorSpec
from deploy.zoo.convert import convert, require_fixed_size, sees_whole_image
from deploy.zoo.local_converter import LocalAvgPool2d
from deploy.zoo.nafnet import LayerNorm2d, NAFNet
from deploy.zoo.registry import converted, find_model, made_local
from deploy.zoo.trace import trace_calls


class Pooled(nn.Module):
    """A user's network of four channels with a global pool."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.pool(x)


class OneSize(Pooled):
    """A user's network that takes one size only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.view(1, 3, 64, 64))


def users_spec(factory: Callable[[], nn.Module], shape: tuple[int, ...]) -> ModelSpec:
    tensor = TensorSpec("image", shape)
    return replace(
        find_model("nafnet-tiny"), name="own", factory=factory, inputs=(tensor,), outputs=(tensor,)
    )


def of_side(spec: ModelSpec, height: int, width: int) -> ModelSpec:
    return replace(spec, inputs=(replace(spec.inputs[0], shape=(1, 3, height, width)),))


@pytest.fixture
def tiny() -> ModelSpec:
    return find_model("nafnet-tiny")


def test_network_without_conversions_is_itself(tiny: ModelSpec) -> None:
    network = tiny.factory()

    assert convert(network, tiny) is network


def test_both_conversions_are_done_on_the_weights_that_are_there(tiny: ModelSpec) -> None:
    network = tiny.factory()

    both = convert(network, converted(converted(tiny, "local"), "no-layernorm"))

    kinds = {type(module) for module in both.modules()}
    assert LocalAvgPool2d in kinds
    assert LayerNorm2d not in kinds
    assert torch.equal(both.get_parameter("intro.weight"), network.get_parameter("intro.weight"))


def test_users_network_of_other_channels_becomes_local() -> None:
    spec = converted(users_spec(Pooled, (1, 4, 64, 64)), "local")

    (pool,) = convert(spec.factory(), spec).children()

    assert isinstance(pool, LocalAvgPool2d)


def test_network_without_global_pools_is_not_made_local() -> None:
    spec = converted(find_model("pmrid"), "local")

    with pytest.raises(UsageError, match=r"pmrid-local has no global average pool.*leave --local"):
        convert(spec.factory(), spec)


def test_network_without_normalization_does_not_lose_it() -> None:
    spec = converted(find_model("pmrid"), "no-layernorm")

    with pytest.raises(UsageError, match="leave --no-layernorm out"):
        convert(spec.factory(), spec)


def test_users_network_that_cannot_run_at_the_training_size_is_named() -> None:
    spec = converted(users_spec(OneSize, (1, 3, 64, 64)), "local")

    with pytest.raises(UsageError, match=r"cannot be run at 1x3x256x256.*pass --local-train-px"):
        convert(spec.factory(), spec)


def test_users_network_that_takes_one_size_becomes_local_at_that_training_size() -> None:
    spec = made_local(users_spec(OneSize, (1, 3, 64, 64)), 64)

    (pool,) = convert(spec.factory(), spec).children()

    assert isinstance(pool, LocalAvgPool2d)
    assert pool.window.kernel == (96, 96)


@pytest.mark.parametrize(
    ("height", "width", "whole"), [(256, 256, True), (384, 384, True), (384, 392, False)]
)
def test_windows_see_the_whole_image_up_to_their_own_size(
    tiny: ModelSpec, height: int, width: int, whole: bool
) -> None:
    spec = of_side(converted(tiny, "local"), height, width)

    assert sees_whole_image(spec) == whole


@pytest.mark.parametrize(("height", "width"), [(384, 384), (384, 392), (392, 384)])
def test_local_network_is_the_global_one_exactly_where_windows_see_the_whole_image(
    height: int, width: int
) -> None:
    small = users_spec(partial(NAFNet, 4, (1,), 1, (1,)), (1, 3, height, width))
    spec = converted(small, "local")
    torch.manual_seed(0)
    network = small.factory().eval()
    for name, parameter in network.named_parameters():
        if name.endswith(("beta", "gamma", "intro.weight")):
            nn.init.normal_(parameter)
    image = torch.rand(1, 3, height, width) * torch.linspace(0, 1, width)

    with torch.inference_mode():
        alike = torch.equal(network(image), convert(network, spec)(image))

    assert alike == sees_whole_image(spec)


@pytest.mark.parametrize(
    ("train_px", "side", "whole"),
    [(128, 192, True), (128, 200, False), (48, 48, True), (48, 72, False)],
)
def test_windows_follow_the_training_size(
    tiny: ModelSpec, train_px: int, side: int, whole: bool
) -> None:
    assert sees_whole_image(of_side(made_local(tiny, train_px), side, side)) == whole


@pytest.mark.parametrize("train_px", [48, 50, 64])
@pytest.mark.parametrize("side", [48, 64, 72, 96, 104])
def test_image_that_is_said_to_be_seen_whole_is(train_px: int, side: int) -> None:
    deep = users_spec(partial(NAFNet, 2, (1, 1, 1, 1), 1, (1, 1, 1, 1)), (1, 3, side, side))
    spec = made_local(deep, train_px)
    seen = {
        call.layer: call.output_shape[-2:]
        for call in trace_calls(convert(spec.factory(), spec), [spec.inputs[0].shape])
        if isinstance(call.module, LocalAvgPool2d)
    }

    if sees_whole_image(spec):
        assert set(seen.values()) == {(1, 1)}


def test_network_without_tlc_is_not_said_to_see_the_whole_image(tiny: ModelSpec) -> None:
    assert not sees_whole_image(tiny)


def test_local_network_of_open_size_is_refused(tiny: ModelSpec) -> None:
    with pytest.raises(UsageError, match=r"nafnet-tiny-local with open height and width.*--shape"):
        require_fixed_size(converted(tiny, "local"))


def test_other_networks_may_have_an_open_size(tiny: ModelSpec) -> None:
    require_fixed_size(converted(tiny, "no-layernorm"))


def test_trained_network_stays_trained_with_tlc_and_not_without_normalization() -> None:
    trained = replace(find_model("nafnet-tiny"), checkpoint=Path("net.pth"))

    assert converted(trained, "local").trained
    assert not converted(trained, "no-layernorm").trained
    assert not converted(converted(trained, "no-layernorm"), "local").trained


def test_network_without_weights_is_untrained() -> None:
    assert not replace(find_model("nafnet-tiny"), checkpoint=None).trained
