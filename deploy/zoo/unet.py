"""The stages of a U-Net-like network, where its work is, and which stages the roadmap means.

Source: MOFA paper (arXiv:2308.12494), sections 3.3 and 3.4 and Figure 4. The paper chooses its
middle and cheap layers by hand; the two rules here give its choices for PMRID and for NAFNet-tiny.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from torch import nn

from deploy.errors import UsageError
from deploy.zoo.complexity import true_macs
from deploy.zoo.partial_conv import PConv
from deploy.zoo.separable import SeparableConv
from deploy.zoo.trace import Call, trace_calls

RGB_256 = (1, 3, 256, 256)


class Resampling(nn.Sequential):
    """A convolution decoupled from the resampling beside it; the roadmap leaves it a quarter."""


@dataclass(frozen=True)
class Stage:
    """One part of the network: a top-level module, or an entry of a top-level list.

    Attributes:
        name: dotted name in the network.
        level: how often the image is halved at its coarsest convolution.
        from_bottom: it runs when, or after, the coarsest level is first reached.
        has_place: it holds a convolution that is, or could be, partial: larger than 1x1, size kept,
            neither the first nor the last.
        vanilla_macs: of its convolutions if they were all vanilla ones, as in the paper's Figure 4.
        macs: true multiply-adds.
        share: of `vanilla_macs` in those of the network, 0 to 1.
    """

    name: str
    level: int
    from_bottom: bool
    has_place: bool
    vanilla_macs: int
    macs: int
    share: float


def find_stages(
    model: nn.Module, input_shape: tuple[int, int, int, int] = RGB_256
) -> tuple[Stage, ...]:
    """List the stages in the order in which they run; skip connections are not left out.

    Raises:
        UsageError: the network is not U-Net-like.
    """
    calls = trace_calls(model, [input_shape])
    convs = convolution_calls(calls)
    levels = [round(math.log2(input_shape[-2] / call.output_shape[-2])) for call in convs]
    _check_unet_like(model, convs, levels)
    bottom = levels.index(max(levels))
    vanilla = vanilla_macs(calls)
    total = sum(vanilla.values())
    resampling = [name for name, part in model.named_modules() if isinstance(part, Resampling)]
    convs_of = {
        name: [i for i, call in enumerate(convs) if within(call.layer, [name])]
        for name in _stage_names(model)
    }
    # a stage without any holds only global convolutions, or is not called
    running = [name for name, indices in convs_of.items() if indices]
    ends = (0, len(convs) - 1)  # the first and the last convolution stay as they are
    stages = []
    for name in sorted(running, key=lambda name: convs_of[name][0]):
        indices = convs_of[name]
        stage_macs = sum(macs for layer, macs in vanilla.items() if within(layer, [name]))
        stages.append(
            Stage(
                name=name,
                level=max(levels[i] for i in indices),
                from_bottom=indices[-1] >= bottom,
                has_place=any(_is_place(convs[i], resampling) for i in indices if i not in ends),
                vanilla_macs=stage_macs,
                macs=sum(true_macs(convs[i]) for i in indices),
                share=stage_macs / total,
            )
        )
    return tuple(stages)


def middle_stages(stages: Collection[Stage]) -> tuple[str, ...]:
    """Propose the middle pair: the stages one level above the coarsest."""
    middle = max(stage.level for stage in stages) - 1
    return tuple(stage.name for stage in stages if stage.level == middle and stage.has_place)


def cheap_stages(stages: Collection[Stage]) -> tuple[str, ...]:
    """Propose the cheap layers: from the bottom on, below full size, less than the mean share."""
    return tuple(
        stage.name
        for stage in stages
        if stage.from_bottom
        and stage.level > 0
        and stage.has_place
        and stage.share < 1 / len(stages)
    )


def convolution_calls(calls: Collection[Call]) -> list[Call]:
    """Pick the convolutions that see more than one pixel, in the order in which they run."""
    return [
        call
        for call in calls
        if isinstance(call.module, nn.Conv2d | nn.ConvTranspose2d)
        and math.prod(call.input_shape[-2:]) > 1
    ]


def vanilla_macs(calls: Collection[Call]) -> dict[str, int]:
    """Give layer -> multiply-adds if it were a vanilla convolution, as in the paper's Figure 4.

    A separable or partial pair is one convolution, counted at its first half. What sees a single
    pixel has no part in it.
    """
    pairs = {
        call.layer: kernel_px
        for call in calls
        if (kernel_px := _kernel_of_pair(call.module)) is not None
    }
    macs: dict[str, int] = {}
    for call in calls:
        layer = call.layer
        if layer in pairs:
            channels = call.input_shape[1]
            work = math.prod(call.output_shape) * channels * pairs[layer]
            layer = next(one.layer for one in calls if within(one.layer, [layer]))
        elif within(layer, pairs) or math.prod(call.input_shape[-2:]) == 1:
            continue
        elif isinstance(call.module, nn.Conv2d | nn.ConvTranspose2d):
            work = true_macs(call) * call.module.groups
        else:
            continue
        macs[layer] = macs.get(layer, 0) + work
    return macs


def resizing_parts(model: nn.Module, input_shape: tuple[int, int, int, int]) -> list[str]:
    """Name what changes the size of an image, and what was decoupled to do so."""
    resizing = [
        call.layer
        for call in trace_calls(model, [input_shape])
        if call.input_shape[-2:] != call.output_shape[-2:]
    ]
    return resizing + [name for name, m in model.named_modules() if isinstance(m, Resampling)]


def separable_halves(module: nn.Module) -> tuple[nn.Conv2d, nn.Conv2d] | None:
    """Give the depthwise and the 1x1 half of a separable convolution; None for other modules.

    Only modules that surely run nothing in between count: `SeparableConv`, and `nn.Sequential`.
    """
    if not isinstance(module, SeparableConv | nn.Sequential):
        return None
    match list(module.children()):
        case [nn.Conv2d() as depthwise, nn.Conv2d() as pointwise] if (
            is_depthwise_conv(depthwise)
            and pointwise.kernel_size == (1, 1)
            and pointwise.groups == 1
        ):
            return depthwise, pointwise
    return None


def is_depthwise_conv(conv: nn.Conv2d) -> bool:
    """Tell whether each channel has one larger kernel of its own, and nothing is multiplied."""
    alone = conv.groups == conv.in_channels == conv.out_channels > 1
    return alone and conv.kernel_size != (1, 1)


def within(layer: str, names: Collection[str]) -> bool:
    """Tell whether a dotted name is one of `names`, or lies inside one."""
    return any(layer == name or layer.startswith(f"{name}.") for name in names)


def _check_unet_like(model: nn.Module, convs: list[Call], levels: list[int]) -> None:
    if levels and levels[0] < max(levels) > levels[-1]:
        return
    sizes = [f"{call.output_shape[-2]}x{call.output_shape[-1]}" for call in convs]
    seen = ", ".join(dict.fromkeys(sizes)) or "none"
    raise UsageError(
        f"{type(model).__name__} is not U-Net-like: looked for convolutions that go down to a "
        f"coarser size and come back up, found the sizes {seen}",
        "the roadmap needs an encoder and a decoder",
    )


def _stage_names(model: nn.Module, prefix: str = "") -> Iterator[str]:
    """Give the names of the stages; a sole part, as of a wrapper, is entered."""
    parts = [
        (f"{prefix}{name}", part)
        for name, part in model.named_children()
        if any(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in part.modules())
    ]
    if len(parts) == 1 and any(parts[0][1].children()):
        yield from _stage_names(parts[0][1], f"{parts[0][0]}.")
        return
    for name, part in parts:
        if isinstance(part, nn.ModuleList | nn.ModuleDict):
            yield from (f"{name}.{entry}" for entry, _ in part.named_children())
        else:
            yield name


def _kernel_of_pair(module: nn.Module) -> int | None:
    """Give the kernel's number of pixels if the module is a separable or partial pair."""
    if isinstance(module, PConv):
        return module.depthwise.kernel**2
    halves = separable_halves(module)
    return None if halves is None else math.prod(halves[0].kernel_size)


def _is_place(call: Call, resampling: Collection[str]) -> bool:
    return (
        isinstance(call.module, nn.Conv2d)
        and call.module.kernel_size != (1, 1)
        and call.input_shape[-2:] == call.output_shape[-2:]
        and not within(call.layer, resampling)
    )
