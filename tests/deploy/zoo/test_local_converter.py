from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from deploy.errors import UsageError
from deploy.zoo.attention_gate import nafnet_16_18_sa
from deploy.zoo.local_converter import (
    FastLocalAvgPool2d,
    LocalAvgPool2d,
    PoolWindow,
    local_converter,
)
from deploy.zoo.nafnet import NAFNet, nafnet_tiny
from deploy.zoo.nafnet_mofa import nafnet_mofa
from deploy.zoo.nafnet_sizes import thesis_nafnet
from deploy.zoo.pmrid import pmrid_mofa


def local_pool(*kernel: int) -> LocalAvgPool2d:
    return LocalAvgPool2d(PoolWindow(kernel=kernel, greatest_reduction=(1, 1)))


def reference(x: Tensor, height: int, width: int) -> Tensor:
    """Pool plainly and repeat the borders: slow, and exact in float64."""
    kernel = (min(height, x.shape[-2]), min(width, x.shape[-1]))
    means = functional.avg_pool2d(x, kernel, stride=1)
    missing_y, missing_x = kernel[0] - 1, kernel[1] - 1
    left, top = missing_x // 2, missing_y // 2
    padding = (left, missing_x - left, top, missing_y - top)
    return functional.pad(means, padding, mode="replicate")


def photograph(height: int, width: int) -> Tensor:
    """Give (1, 1, H, W): noise on a slope, with a bright corner, where integral images grow."""
    x = torch.rand(1, 1, height, width) + 4 * torch.linspace(0, 1, width)
    x[..., : height // 3, : width // 3] += 8
    return x


def randomized(network: NAFNet) -> NAFNet:
    """Open the blocks: beta and gamma start at zero, which would hide what happens inside."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("size", ["90x160", "64x96", "48x40"])
def test_pool_gives_the_public_codes_output(
    size: str, fast: bool, test_data: Callable[[str], Path]
) -> None:
    fixture = np.load(test_data("fixtures/tlc_fixture.npz"))
    x, y = (torch.from_numpy(fixture[f"{name}_{size}_fast{int(fast)}"]) for name in "xy")
    pool = local_converter(
        nn.Sequential(nn.AdaptiveAvgPool2d(1)), (1, 2, 32, 32), (48, 48), fast=fast
    )

    torch.testing.assert_close(pool(x), y, rtol=0, atol=1e-13)


@settings(deadline=None)
@given(st.tuples(*4 * [st.integers(1, 24)]))
def test_local_pool_is_average_pooling_with_repeated_borders(
    sizes: tuple[int, int, int, int],
) -> None:
    height, width, *kernel = sizes
    x = torch.rand(1, 2, height, width, dtype=torch.float64)

    pooled = local_pool(*kernel)(x).expand_as(x)

    torch.testing.assert_close(pooled, reference(x, *kernel).expand_as(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize(("height", "width"), [(720, 1280), (1080, 1920)])
def test_float32_is_enough_for_a_whole_photograph(height: int, width: int) -> None:
    x = photograph(height, width)

    pooled = local_pool(384, 384)(x)

    exact = local_pool(384, 384)(x.double())
    assert (pooled - exact).abs().max() <= 2e-6 * exact.abs().max()


def test_float64_form_that_the_photographs_are_held_to_is_right() -> None:
    x = torch.rand(1, 1, 400, 410, dtype=torch.float64)

    torch.testing.assert_close(local_pool(384, 384)(x), reference(x, 384, 384))


def test_window_that_covers_the_input_gives_one_mean() -> None:
    x = torch.rand(1, 2, 6, 5)

    assert torch.equal(local_pool(8, 5)(x), functional.adaptive_avg_pool2d(x, 1))


def test_windows_are_three_halves_of_the_training_features() -> None:
    local = local_converter(thesis_nafnet(16, 9))
    kernels = [m.window.kernel for m in local.modules() if isinstance(m, LocalAvgPool2d)]

    sides = [384, 192, 96, 48, 48, 96, 192, 384, 24]  # encoders, decoders, middle
    assert kernels == [(side, side) for side in sides]


@pytest.mark.parametrize(
    "build", [nafnet_tiny, nafnet_mofa, nafnet_16_18_sa, pmrid_mofa], ids=lambda f: f.__name__
)
def test_checkpoint_names_stay(build: Callable[[], nn.Module]) -> None:
    network = build()

    assert list(local_converter(network).state_dict()) == list(network.state_dict())


def test_nothing_changes_at_the_training_size() -> None:
    network = randomized(nafnet_tiny())
    image = torch.rand(1, 3, 256, 256)

    with torch.no_grad():
        assert torch.equal(local_converter(network)(image), network(image))


def test_larger_photographs_are_restored_by_local_means() -> None:
    network = randomized(nafnet_tiny())
    image = torch.rand(1, 3, 64, 80)

    with torch.no_grad():
        local = local_converter(network, (1, 3, 32, 32))(image)

    assert local.shape == image.shape
    assert not torch.allclose(local, network(image), atol=1e-4)


def test_argument_keeps_its_global_pools() -> None:
    network = nafnet_tiny()

    local_converter(network)

    assert not any(isinstance(module, LocalAvgPool2d) for module in network.modules())


def test_network_without_pools_is_copied() -> None:
    network = pmrid_mofa()
    image = torch.rand(1, 3, 32, 32)

    with torch.no_grad():
        assert torch.equal(local_converter(network)(image), network(image))


def test_fast_form_is_another_function() -> None:
    x = torch.rand(1, 1, 50, 60)
    window = PoolWindow(kernel=(24, 24), greatest_reduction=(5, 5))

    assert not torch.allclose(FastLocalAvgPool2d(window)(x), LocalAvgPool2d(window)(x), atol=1e-4)


def test_window_below_the_training_size_is_refused() -> None:
    with pytest.raises(UsageError, match="TLC base size 384x128 below the training size 256x256"):
        local_converter(nafnet_tiny(), base_size_px=(384, 128))


@pytest.mark.parametrize("side", [0, -256])
def test_training_size_without_pixels_is_refused(side: int) -> None:
    with pytest.raises(UsageError, match=f"TLC training size 256x{side} has no pixels: give the"):
        local_converter(nafnet_tiny(), (1, 3, 256, side))


def test_training_size_that_leaves_a_pool_one_pixel_is_refused() -> None:
    with pytest.raises(UsageError, match=r"size 8x8 gives the pool middle_blks.*kernel of 1x1"):
        local_converter(nafnet_tiny(), (1, 3, 8, 8))


def test_training_size_that_leaves_every_pool_two_pixels_is_taken() -> None:
    kernels = [
        module.window.kernel
        for module in local_converter(nafnet_tiny(), (1, 3, 16, 16)).modules()
        if isinstance(module, LocalAvgPool2d)
    ]

    assert min(kernels) == (3, 3)


def test_pool_that_sees_one_pixel_at_any_size_is_no_reason_to_refuse() -> None:
    twice = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d(1))

    local = local_converter(twice, (1, 3, 256, 256))

    assert local(torch.rand(1, 3, 64, 64)).shape == (1, 3, 1, 1)


def run_exported(network: nn.Module, x: Tensor, path: Path) -> np.ndarray:
    torch.onnx.export(network.eval(), (x,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


@pytest.mark.slow
def test_exported_network_gives_what_the_network_gives(tmp_path: Path) -> None:
    network = local_converter(randomized(nafnet_tiny()), (1, 3, 32, 32))
    image = torch.rand(1, 3, 56, 96)

    restored = run_exported(network, image, tmp_path / "local.onnx")

    with torch.no_grad():
        expected = network(image).numpy()
    assert np.abs(restored - expected).max() <= 1e-4 * np.ptp(expected)


@pytest.mark.slow
def test_exported_pool_needs_no_more_than_float32(tmp_path: Path) -> None:
    """ONNX Runtime sums in float32, where PyTorch's running sums are float64 inside."""
    x = photograph(720, 1280)

    pooled = run_exported(local_pool(384, 384), x, tmp_path / "pool.onnx")

    exact = local_pool(384, 384)(x.double()).numpy()
    assert np.abs(pooled - exact).max() <= 2e-6 * np.abs(exact).max()
