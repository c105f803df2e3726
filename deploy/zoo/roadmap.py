"""The MOFA roadmap for any U-Net-like network: each step a function model -> model.

Source: MOFA paper (arXiv:2308.12494), section 3. The steps compose; each gives a copy in which the
exchanged layers have fresh weights and the others keep theirs, so that a step can be trained from
the one before it. Taken on PMRID and NAFNet-tiny they give the networks of the paper's tables.
"""

from collections.abc import Callable, Collection, Iterator
from fractions import Fraction
from itertools import pairwise

import torch
from torch import nn

from deploy.errors import UsageError
from deploy.zoo.conversion import Net, exchange
from deploy.zoo.partial_conv import HALF, QUARTER, PartialConv, PConv, is_depthwise
from deploy.zoo.trace import Call, trace_calls
from deploy.zoo.unet import (
    RGB_256,
    Resampling,
    cheap_stages,
    convolution_calls,
    find_stages,
    is_depthwise_conv,
    middle_stages,
    resizing_parts,
    separable_halves,
    within,
)

PMRID_THRESHOLD = 32  # the paper's, by its Table 6; the released NAFNet_mofa has 16

ImageShape = tuple[int, int, int, int]


def take_steps(
    model: nn.Module,
    *,
    threshold: int = PMRID_THRESHOLD,
    downsampling: bool = False,
    input_shape: ImageShape = RGB_256,
) -> dict[str, nn.Module]:
    """Give step -> network, each with the steps before it, on the proposed middle and cheap stages.

    Args:
        model: the network to start from; the value of "baseline" is this very object.
        threshold: convolved channels from which a partial convolution becomes depthwise.
        downsampling: decouple it too. It helped on a GPU and cost 80 % on the paper's phone.
        input_shape: (N, C, H, W) of an image the network takes.

    Raises:
        UsageError: the network is not U-Net-like, or a quarter does not divide its channels.
    """
    stages = find_stages(model, input_shape)
    partial = to_partial_convs(model, input_shape=input_shape)
    middle = raise_portion(partial, middle_stages(stages), input_shape=input_shape)
    cheap = raise_portion(middle, cheap_stages(stages), input_shape=input_shape)
    steps = {"baseline": model, "partial": partial, "middle": middle, "cheap": cheap}
    last = steps["upsampling"] = decouple_upsampling(cheap, input_shape=input_shape)
    if downsampling:
        last = steps["downsampling"] = decouple_downsampling(last, input_shape=input_shape)
    steps["depthwise"] = to_depthwise(last, threshold)
    return steps


def branching_steps(
    factory: Callable[[], nn.Module],
    *,
    threshold: int = PMRID_THRESHOLD,
    input_shape: ImageShape = RGB_256,
    seed: int = 0,
) -> dict[str, nn.Module]:
    """Give every step of `take_steps`, with and without decoupled downsampling; seeded weights.

    Downsampling helped on the paper's GPU and cost 80 % on its phone, so it is a branch that a
    device decides about, and not a step that all later ones stand on.

    Raises:
        UsageError: as `take_steps`.
    """
    torch.manual_seed(seed)
    model = factory()
    steps = take_steps(model, threshold=threshold, input_shape=input_shape)
    branch = take_steps(model, threshold=threshold, downsampling=True, input_shape=input_shape)
    steps["downsampling"] = branch["downsampling"]
    steps["depthwise-downsampling"] = branch["depthwise"]
    return steps


def to_partial_convs(
    model: Net, portion: Fraction = QUARTER, *, input_shape: ImageShape = RGB_256
) -> Net:
    """Replace convolutions larger than 1x1 that keep the size by partial ones.

    A separable or a vanilla convolution becomes a PConv; a depthwise one that stands alone becomes
    a partial one without the 1x1. The first and the last convolution stay.

    Raises:
        UsageError: the portion does not divide the channels of one.
    """
    kept = _end_layers(model, input_shape)
    kept += [name for name, module in model.named_modules() if isinstance(module, PartialConv)]
    return exchange(model, _partial_forms(model, kept, stride=1, portion=portion))


def raise_portion(
    model: Net,
    stages: Collection[str],
    portion: Fraction = HALF,
    *,
    input_shape: ImageShape = RGB_256,
) -> Net:
    """Give the partial convolutions of these stages another portion.

    Parts of a stage that change the size keep theirs, and so do decoupled resampling convolutions.

    Args:
        model: after `to_partial_convs`.
        stages: dotted names, as `find_stages` gives them.
        portion: of the channels, to convolve.
        input_shape: (N, C, H, W) of an image the network takes.

    Raises:
        UsageError: a stage has no such convolution, or the portion does not divide its channels.
    """
    return exchange(
        model,
        {
            name: PartialConv(m.channels, m.kernel, portion, depthwise=m.depthwise)
            for name, m in _partial_convs_in(stages, model, resizing_parts(model, input_shape))
        },
    )


def layers_taken(
    model: nn.Module, *, input_shape: ImageShape = RGB_256
) -> dict[str, frozenset[str]]:
    """Give step -> layers whose portion that step of `take_steps` raises: "middle" and "cheap".

    A layer is a convolution, or the separable or partial pair that takes its place, by its dotted
    name in `model`.

    Raises:
        UsageError: as `take_steps`.
    """
    stages = find_stages(model, input_shape)
    partial = to_partial_convs(model, input_shape=input_shape)
    resizing = resizing_parts(model, input_shape)  # partial convolutions keep the size
    pairs = {
        f"{name}.depthwise": name for name, m in partial.named_modules() if isinstance(m, PConv)
    }
    return {
        step: frozenset(
            pairs.get(name, name) for name, _ in _partial_convs_in(chosen, partial, resizing)
        )
        for step, chosen in (("middle", middle_stages(stages)), ("cheap", cheap_stages(stages)))
    }


def decouple_upsampling(model: Net, *, input_shape: ImageShape = RGB_256) -> Net:
    """Replace learned x2 upsampling by a quarter PConv 3x3 at low resolution and bilinear x2.

    That is: a transposed convolution of stride 2, and a convolution before a PixelShuffle(2). A
    network without these is only copied.

    Raises:
        UsageError: a quarter does not divide the channels of one.
    """
    kept = _end_layers(model, input_shape)
    calls = trace_calls(model, [input_shape])
    leaves = [call for call in calls if not any(call.module.children())]
    replaced: dict[str, nn.Module] = {}
    for before, call in pairwise(leaves):
        if call.layer in kept:
            continue
        match before.module, call.module:
            case _, nn.ConvTranspose2d(stride=(2, 2)) as conv if _doubles(call):
                partial = PConv(conv.in_channels, conv.out_channels, 3, QUARTER)
                replaced[call.layer] = Resampling(partial, _bilinear())
            case nn.Conv2d() as conv, nn.PixelShuffle(upscale_factor=2) if before.layer not in kept:
                partial = PConv(conv.in_channels, conv.out_channels // 4, 3, QUARTER)
                replaced[before.layer] = Resampling(partial)
                replaced[call.layer] = _bilinear()
    return exchange(model, replaced)


def decouple_downsampling(model: Net, *, input_shape: ImageShape = RGB_256) -> Net:
    """Replace convolutions of stride 2 by AvgPool 2x2 and a quarter partial convolution.

    An even kernel grows by one. A network without these is only copied.

    Raises:
        UsageError: a quarter does not divide the channels of one.
    """
    strided = _partial_forms(model, _end_layers(model, input_shape), stride=2, portion=QUARTER)
    return exchange(
        model, {name: Resampling(nn.AvgPool2d(2), form) for name, form in strided.items()}
    )


def to_depthwise(model: Net, threshold: int) -> Net:
    """Make partial convolutions of at least `threshold` convolved channels depthwise."""
    return exchange(
        model,
        {
            name: PartialConv(m.channels, m.kernel, m.portion, depthwise=True)
            for name, m in model.named_modules()
            if isinstance(m, PartialConv) and is_depthwise(m.channels, m.portion, threshold)
        },
    )


def _partial_convs_in(
    stages: Collection[str], model: nn.Module, resizing: Collection[str]
) -> Iterator[tuple[str, PartialConv]]:
    """Give the partial convolutions of these stages, those in resizing parts excepted.

    Raises:
        UsageError: a stage has none.
    """
    for stage in stages:
        kept = [name for name in resizing if within(name, [stage]) and name != stage]
        found = [
            (name, module)
            for name, module in model.named_modules()
            if isinstance(module, PartialConv) and within(name, [stage]) and not within(name, kept)
        ]
        if not found:
            raise UsageError(
                f"stage {stage!r} of {type(model).__name__} has no partial convolution to change",
                "name a stage that has some, after the step to partial convolutions",
            )
        yield from found


def _partial_forms(
    model: nn.Module, kept: list[str], *, stride: int, portion: Fraction
) -> dict[str, nn.Module]:
    """Give name -> partial form of the convolutions of this stride, `kept` ones excepted."""
    forms: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if within(name, kept) or within(name, forms):  # the halves of a pair come after it
            continue
        form = _partial_form(module, stride, portion)
        if form is not None:
            forms[name] = form
    return forms


def _partial_form(module: nn.Module, stride: int, portion: Fraction) -> nn.Module | None:
    """Give the partial form of a convolution that divides the size by `stride`, or None."""
    halves = separable_halves(module)
    conv = module if halves is None else halves[0]
    if not isinstance(conv, nn.Conv2d) or not _divides_size(conv, stride):
        return None
    kernel = conv.kernel_size[0] | 1
    if halves is not None:
        return PConv(conv.in_channels, halves[1].out_channels, kernel, portion)
    if is_depthwise_conv(conv):
        return PartialConv(conv.in_channels, kernel, portion)
    if conv.groups == 1:
        return PConv(conv.in_channels, conv.out_channels, kernel, portion)
    return None


def _divides_size(conv: nn.Conv2d, stride: int) -> bool:
    """Tell whether a convolution larger than 1x1 gives H / stride, W / stride, zero-padded."""
    kernel = conv.kernel_size[0]
    fitting = ((kernel - 1) // 2,) * 2
    return (
        conv.stride == (stride, stride)
        and conv.kernel_size == (kernel, kernel)
        and kernel > 1
        and (kernel % 2 == 1 or stride == 2)
        and conv.padding in (fitting, "same")
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
    )


def _doubles(call: Call) -> bool:
    (height, width), doubled = call.input_shape[-2:], call.output_shape[-2:]
    return doubled == (2 * height, 2 * width)


def _bilinear() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)


def _end_layers(model: nn.Module, input_shape: ImageShape) -> list[str]:
    """Name the first and the last convolution; of a separable pair, the pair."""
    convs = convolution_calls(trace_calls(model, [input_shape]))
    ends = [call.layer for call in (convs[:1] + convs[-1:])]
    holders = [end.rpartition(".")[0] for end in ends]
    pairs = [name for name in holders if separable_halves(model.get_submodule(name)) is not None]
    return ends + pairs
