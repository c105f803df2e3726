"""LayerNorm2d -> a faster form of the same function, its affine inside the convolutions after it.

With P = I - 11^T / C, which subtracts the mean of a pixel's C channels, and v its variance,

    LN(x) = w P x / sqrt(v + eps) + b

lp       Let Q hold C - 1 orthonormal rows, each orthogonal to (1, ..., 1), so that Q^T Q = P and
         ||Q x||^2 = ||P x||^2 = C v. One more channel of the constant sqrt(C eps) makes it
         C (v + eps), and C channels again:

             u = [Q x, sqrt(C eps)]        LN(x) = sqrt(C) w Q^T (u / ||u||)[:C-1] + b

         u is a 1x1 convolution of constant weights, which integer kernels run, and u / ||u|| is
         LpNormalization over the last axis, between two Transposes.
fused    LayerNormalization between two Transposes; one kernel.
folded   conv1x1(LN(x); W, c) = conv1x1(x r; W diag(w) P, c + W b) with r = 1 / sqrt(v + eps), one
         number a pixel: the centering costs nothing at all. v = mean(x^2) - mean(x)^2, both means
         being 1x1 convolutions to one channel, unless float32 would cancel too much of it on the
         crops; then P x is computed once and v = mean((P x)^2).

w, b and what stands before (u / ||u||) go into the convolutions that read LN(x), in all forms, if
nothing else does and they do not pad.

`auto` takes the one that is fast in integer form, which is what is deployed: lp up to LP_CHANNELS,
fused from there on. LayerNormalization works on C values at a time, which is slow for few, and a
convolution of C x C grows. The int8 block of 0.5 M values took, in ms on x86 with VNNI (least of
40 runs, 1 thread), and executes, in instructions a value on ARM:

    C         16           32           48           64           128
    x86       1.29 1.71    1.13 1.19    1.21 1.07    1.29 0.99    1.76 1.10      lp, fused
    ARM       13.3 25.3                              15.1 16.5    20.7 15.1

LpNormalization runs on one thread only, which speaks for fused where there are many.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from deploy.rewrites.channel_moments import greatest_offsets
from deploy.rewrites.forms import LayerNormForm
from deploy.rewrites.layer_norm_forms import WRITERS, Site
from deploy.rewrites.layer_norm_match import LayerNorm, find_layer_norm
from deploy.rewrites.outcome import Outcome

LAYER_NORMALIZATION_OPSET = 17
LP_CHANNELS = 48

ORDER: dict[str, tuple[str, ...]] = {  # form asked for -> what is tried, the first that can be
    "lp": ("lp",),
    "fused": ("fused", "lp"),
    "folded": ("folded", "fused"),
}


def use_layer_norm(
    model: ir.Model, form: LayerNormForm = "auto", crops: Sequence[np.ndarray] = ()
) -> Outcome:
    """Rewrite every LayerNorm2d in place.

    Args:
        crops: real inputs (1, C, H, W), on which `folded` is measured.
    """
    outcome = Outcome()
    if form == "keep":
        return outcome
    found = []
    for node in model.graph:
        one = find_layer_norm(node)
        if isinstance(one, str):
            outcome.skipped[node.name or ""] = one
        elif one is not None:
            found.append(one)
    offsets = _offsets(model, found, crops) if form == "folded" else [np.inf] * len(found)
    for norm, offset in zip(found, offsets, strict=True):
        _rewrite(Site(model, norm, offset), form, outcome)
    return outcome


def _offsets(
    model: ir.Model, found: Sequence[LayerNorm], crops: Sequence[np.ndarray]
) -> list[float]:
    if not found or not crops:
        return [np.inf] * len(found)
    return greatest_offsets(model, [(norm.image, norm.eps) for norm in found], crops)


def _order(norm: LayerNorm, form: LayerNormForm) -> tuple[str, ...]:
    if form != "auto":
        return ORDER[form]
    return ("lp",) if norm.channels <= LP_CHANNELS else ("fused", "lp")


def _rewrite(site: Site, form: LayerNormForm, outcome: Outcome) -> None:
    reasons: list[str] = []
    name = site.norm.name
    for tried in _order(site.norm, form):
        obstacle = _obstacle(site, tried)
        if obstacle is not None:
            reasons.append(f"not {tried}: {obstacle}")
        elif tried == "fused" and _is_done(site):
            outcome.skipped[name] = "; ".join(["it is fused already", *reasons])
            return
        else:
            WRITERS[tried](site)
            outcome.applied.append(name)
            outcome.forms[name] = "; ".join([tried, *reasons])
            return
    outcome.skipped[name] = "; ".join(reasons)


def _obstacle(site: Site, form: str) -> str | None:
    opset = site.model.opset_imports.get("", 0)
    if form == "fused" and opset < LAYER_NORMALIZATION_OPSET:
        return f"the operator needs opset {LAYER_NORMALIZATION_OPSET}, not {opset}"
    readers = site.readers(mixed=True)
    return readers if form == "folded" and isinstance(readers, str) else None


def _is_done(site: Site) -> bool:
    """Say whether it is a LayerNormalization with nothing to take out of it."""
    is_neutral = (site.norm.weight == 1).all() and not site.norm.bias.any()
    takes_none = isinstance(site.readers(mixed=False), str)
    return site.norm.is_fused and (bool(is_neutral) or takes_none)
