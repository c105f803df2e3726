"""`fp32` + statistics + recipe + target -> `int8`: QDQ form, checked against fp32."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pandas as pd

from calib.report import saturation
from calib.statistics import Statistics
from calib.thresholds import ranges as calib_ranges
from deploy.artifact import (
    Artifact,
    artifact_path,
    finished,
    inherited,
    tool_versions,
    write_artifact,
)
from deploy.bias_correction import ChannelMeans, correct_bias
from deploy.codes import Range
from deploy.errors import FidelityError, GraphError
from deploy.fidelity import Probe, psnr_between_db
from deploy.files import temporary_beside
from deploy.inference import Run, open_run
from deploy.integer_forms import integer_forms_of, use_integer_forms
from deploy.onnx_file import image_input, load_graph
from deploy.pipeline import Pipeline, Rgb
from deploy.placement import IMAGE_RANGE, TARGETS, Placement, Target, place
from deploy.qdq import WIDENED, write_qdq
from deploy.recipe import Recipe

MIN_PSNR_VS_FP32_DB = 20.0  # below this something is broken, whatever the network
MIN_OPSET = 13  # of weights with one scale a channel
MOST_FINDINGS = 3  # of each kind, in the sidecar
QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger")


@dataclass(frozen=True)
class FloatGraph:
    """A float graph to quantize, with what its activations were.

    Attributes:
        path: of the fp32 model, or of its equalized form, which computes the same.
        statistics: of the activations of exactly this file.
        means: of what its convolutions read; needed where biases are corrected.
    """

    path: Path
    statistics: Statistics
    means: ChannelMeans = field(default_factory=dict)


def quantize(
    fp32: Artifact,
    base: FloatGraph,
    target: Target,
    folder: Path,
    probe: Probe,
    *,
    recipe: Recipe,
    crops: Mapping[str, Any],
    outliers: pd.DataFrame | None = None,
    trials: Sequence[Mapping[str, Any]] = (),
    min_psnr_vs_fp32_db: float = MIN_PSNR_VS_FP32_DB,
    max_psnr_drop_db: float | None = None,
    force: bool = False,
) -> tuple[Artifact, bool]:
    """Quantize weights and activations in QDQ form.

    Args:
        fp32: a float model with a static input (1, C, H, W) and opset >= 13.
        base: the graph that becomes integer: fp32's own, or its equalized form.
        probe: images that the result is measured on; none of them were calibrated on.
        crops: the list of crops that the statistics come from, for the sidecar.
        outliers: `calib.report.outlier_crops` of the statistics, for the sidecar.
        trials: what was tried before this recipe was chosen, for the sidecar.

    Returns:
        The artifact, and whether it was made now.

    Raises:
        GraphError: nothing to quantize, already quantized, dynamic shapes.
        FidelityError: PSNR against fp32, or against the truth, is below a bound. Nothing is
            written.
    """
    kind = f"int8-{target.name}"
    params = {
        "target": target.name,
        "activations": target.activations,
        "weights": target.weights,
        "per_channel": True,
        "recipe": recipe.record(),
        "integer_forms": list(integer_forms_of(target)),
        "crops": dict(crops),
        "crops_sha256": base.statistics.origin.crops_sha256,
        **inherited(fp32),
        "min_psnr_vs_fp32_db": min_psnr_vs_fp32_db,
        "max_psnr_drop_db": max_psnr_drop_db,
        "probe": probe.name,
    }
    there = None if force else finished(folder, fp32.model, kind, fp32, params)
    if there:
        return there, False
    input_range = input_range_of(probe.pipeline)
    require_quantizable(load_graph(fp32.path), fp32.path, input_range=input_range)
    quantized = integer_graph(base, target, recipe, input_range=input_range)
    reference = open_run(fp32.path)
    with temporary_beside(artifact_path(folder, fp32.model, kind)) as temporary:
        onnx.save(quantized, temporary)
        run = open_run(temporary, level=target.level, config=target.config)
        outputs = probe.outputs(reference), probe.outputs(run)
        psnr_db = psnr_between_db(*outputs, peak=probe.peak)
        if not psnr_db >= min_psnr_vs_fp32_db:
            raise FidelityError(
                f"{fp32.model} {kind}: {psnr_db:.1f} dB against fp32 is below the bound of "
                f"{min_psnr_vs_fp32_db:.1f} dB",
                "calibrate on images like those it will see, or lower --min-psnr-vs-fp32",
            )
        quality = probe.quality(run)
        if max_psnr_drop_db is not None:
            _require_small_drop(f"{fp32.model} {kind}", probe, reference, quality, max_psnr_drop_db)
        artifact = write_artifact(
            temporary,
            folder,
            model=fp32.model,
            kind=kind,
            parent=fp32,
            params=params,
            versions=tool_versions("onnx", "onnx-ir", "onnxruntime"),
            fidelity={
                "psnr_vs_fp32_db": psnr_db,
                "in_float": _in_float(base, target, recipe, input_range),
                **counts(quantized),
                **calibration_findings(base.statistics, target, recipe, outliers),
                "trials": list(trials),
                **quality,
            },
        )
    return artifact, True


def _require_small_drop(
    what: str, probe: Probe, reference: Run, quality: Mapping[str, float], most_db: float
) -> None:
    if not quality:
        return  # no truth among the held-out images; those that were searched on had it
    drop_db = probe.quality(reference)["psnr_db"] - quality["psnr_db"]
    if not drop_db <= most_db:
        raise FidelityError(
            f"{what}: {drop_db:.3f} dB of PSNR are lost on the held-out images, more than "
            f"{most_db:g} dB, though not on those that were searched on",
            "ask for a smaller --max-psnr-drop, or give more images with --search-on",
        )


def chosen_ranges(statistics: Statistics, target: Target, recipe: Recipe) -> dict[str, Range]:
    """Give the range of each tensor; 16 bits have steps enough for all values, and clip none."""
    sixteen_bits = target.activations == "QUInt16"
    return calib_ranges(statistics, "minmax" if sixteen_bits else recipe.method)


def integer_graph(
    base: FloatGraph, target: Target, recipe: Recipe, *, input_range: Range | None = IMAGE_RANGE
) -> onnx.ModelProto:
    """Give the integer form of a float graph; nothing is written.

    Args:
        base: the equalized graph where `recipe.equalize` says so; which it is, is the caller's.
        input_range: as `deploy.placement.place`.

    Raises:
        UsageError: a node to keep in float is not in the graph.
        GraphError: a tensor has no range.
    """
    model = float_model(load_graph(base.path))
    placement = placement_of(model, target, recipe, input_range=input_range)
    ranges = chosen_ranges(base.statistics, target, recipe)
    same = use_integer_forms(model, placement, target)
    ranges |= {new: ranges[old] for new, old in same.items() if old in ranges}
    placement = placement_of(model, target, recipe, input_range=input_range)
    quantized = write_qdq(model, placement, ranges, target)
    if recipe.correct_bias:
        corrected = correct_bias(model, quantized, base.means)
        quantized = write_qdq(corrected, placement, ranges, target)
    return quantized


def _in_float(
    base: FloatGraph, target: Target, recipe: Recipe, input_range: Range | None
) -> dict[str, str]:
    model = float_model(load_graph(base.path))
    return dict(placement_of(model, target, recipe, input_range=input_range).float_because)


def placement_of(
    fp32: ir.Model, target: Target, recipe: Recipe, *, input_range: Range | None = IMAGE_RANGE
) -> Placement:
    """Give what a recipe makes integer; as `deploy.placement.place`."""
    return place(
        fp32,
        target,
        preset=recipe.preset,
        float_nodes=recipe.float_nodes,
        input_range=input_range,
    )


def float_model(graph: onnx.ModelProto) -> ir.Model:
    """Give a graph with the shape and the type of every value, as placement needs them."""
    return ir.from_proto(onnx.shape_inference.infer_shapes(graph, data_prop=True))


def input_range_of(pipeline: Pipeline) -> Range | None:
    """Give what 8 bits of input span; None where it has more bits, as raw images do."""
    return IMAGE_RANGE if isinstance(pipeline, Rgb) else None


def counts(quantized: onnx.ModelProto) -> dict[str, int]:
    """Give how many weights and biases are integer, and how many channels a bias widened."""
    weights = [
        tensor
        for tensor in quantized.graph.initializer
        if tensor.name.endswith(("_weight_quantized", "_bias_quantized"))
    ]
    metadata = {entry.key: entry.value for entry in quantized.metadata_props}
    widened = json.loads(metadata.get(WIDENED, "{}"))
    return {
        "integer_parameters": sum(math.prod(tensor.dims) for tensor in weights),
        "widened_channels": sum(map(len, widened.values())),
    }


def calibration_findings(
    statistics: Statistics, target: Target, recipe: Recipe, outliers: pd.DataFrame | None
) -> dict[str, Any]:
    """Give the tensors that the ranges clip most, and those whose range one image alone sets."""
    ranges = chosen_ranges(statistics, target, recipe)
    clipped = saturation(statistics, ranges).query("clipped > 0")[["tensor", "clipped"]]
    found = {"most_clipped": clipped.head(MOST_FINDINGS).to_dict("records")}
    if outliers is not None:
        columns = ["tensor", "image", "widening"]
        found["outlier_crops"] = outliers[columns].head(MOST_FINDINGS).to_dict("records")
    return found


def require_quantizable(
    model: onnx.ModelProto, path: Path, *, input_range: Range | None = IMAGE_RANGE
) -> None:
    """Check what quantization needs, before any time is spent on calibration.

    Raises:
        GraphError: naming what is missing.
    """
    ops = {node.op_type for node in model.graph.node}
    if ops & set(QUANTIZED):
        raise GraphError(f"{path} is quantized already", "pass the fp32 model")
    opset = next((entry.version for entry in model.opset_import if entry.domain == ""), 0)
    if opset < MIN_OPSET:
        raise GraphError(
            f"{path} has opset {opset}",
            f"per-channel weights need opset {MIN_OPSET}; export it again",
        )
    image_input(model, path)
    if not place(float_model(model), TARGETS["x86"], input_range=input_range).integer:
        raise GraphError(
            f"{path} has no operator to quantize, only {', '.join(sorted(ops)[:5])}",
            "at least one Conv with constant weights is needed",
        )
