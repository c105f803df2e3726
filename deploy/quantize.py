"""`fp32` + ranges + target -> `int8`: static QDQ, weights per channel, checked against fp32."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnxruntime import quantization
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import add_infer_metadata

from calib.ranges import Ranges
from deploy.artifact import (
    Artifact,
    artifact_path,
    finished,
    inherited,
    tool_versions,
    write_artifact,
)
from deploy.errors import FidelityError, GraphError
from deploy.fidelity import Probe, psnr_between_db
from deploy.files import temporary_beside
from deploy.inference import open_run
from deploy.onnx_file import image_input, load_graph
from deploy.placement import QUANTIZED_OPS, Target

MIN_PSNR_VS_FP32_DB = 20.0  # below this something is broken, whatever the network


def quantize(
    fp32: Artifact,
    ranges: Ranges,
    target: Target,
    folder: Path,
    probe: Probe,
    *,
    crops: Mapping[str, Any],
    min_psnr_vs_fp32_db: float = MIN_PSNR_VS_FP32_DB,
    force: bool = False,
) -> tuple[Artifact, bool]:
    """Quantize weights and activations to 8 bits in QDQ form.

    Args:
        fp32: a float model with a static input (1, C, H, W) and opset >= 13.
        ranges: of every activation of exactly this file.
        probe: images that the result is measured on; none of them were calibrated on.
        crops: the list of crops that the ranges come from, for the sidecar.

    Returns:
        The artifact, and whether it was made now.

    Raises:
        GraphError: nothing to quantize, already quantized, dynamic shapes.
        FidelityError: PSNR against fp32 is below the bound. Nothing is written.

    Source: https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    kind = f"int8-{target.name}"
    params = {
        "target": target.name,
        "activations": target.activations,
        "weights": target.weights,
        "per_channel": True,
        "method": ranges.method,
        "crops": dict(crops),
        "crops_sha256": ranges.crops_sha256,
        **inherited(fp32),
        "min_psnr_vs_fp32_db": min_psnr_vs_fp32_db,
        "probe": probe.name,
    }
    there = None if force else finished(folder, fp32.model, kind, fp32, params)
    if there:
        return there, False
    require_quantizable(load_graph(fp32.path), fp32.path)
    reference = open_run(fp32.path)
    with temporary_beside(artifact_path(folder, fp32.model, kind)) as temporary:
        onnx.save(_quantized(fp32.path, ranges, target), temporary)
        run = open_run(temporary, config=target.config)
        outputs = probe.outputs(reference), probe.outputs(run)
        psnr_db = psnr_between_db(*outputs, peak=probe.peak)
        if not psnr_db >= min_psnr_vs_fp32_db:
            raise FidelityError(
                f"{fp32.model} {kind}: {psnr_db:.1f} dB against fp32 is below the bound of "
                f"{min_psnr_vs_fp32_db:.1f} dB",
                "calibrate on images like those it will see, or lower --min-psnr-vs-fp32",
            )
        artifact = write_artifact(
            temporary,
            folder,
            model=fp32.model,
            kind=kind,
            parent=fp32,
            params=params,
            versions=tool_versions("onnx", "onnxruntime"),
            fidelity={"psnr_vs_fp32_db": psnr_db, **probe.quality(run)},
        )
    return artifact, True


def require_quantizable(model: onnx.ModelProto, path: Path) -> None:
    """Check what quantization needs, before any time is spent on calibration.

    Raises:
        GraphError: naming what is missing.
    """
    ops = {node.op_type for node in model.graph.node}
    if ops & {"QuantizeLinear", "DequantizeLinear", "QLinearConv"}:
        raise GraphError(f"{path} is quantized already", "pass the fp32 model")
    if not ops & set(QUANTIZED_OPS):
        raise GraphError(
            f"{path} has no operator to quantize, only {', '.join(sorted(ops)[:5])}",
            f"at least one of {', '.join(QUANTIZED_OPS)} is needed",
        )
    opset = next((entry.version for entry in model.opset_import if entry.domain == ""), 0)
    if opset < 13:
        raise GraphError(
            f"{path} has opset {opset}", "per-channel weights need opset 13; export it again"
        )
    image_input(model, path)


def _quantized(fp32: Path, ranges: Ranges, target: Target) -> onnx.ModelProto:
    logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)
    # not load_model_with_shape_infer: it leaves a file beside the input while it works
    model = onnx.shape_inference.infer_shapes(load_graph(fp32))
    add_infer_metadata(model)
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=getattr(quantization.QuantType, target.weights).tensor_type,
        activation_qType=getattr(quantization.QuantType, target.activations).tensor_type,
        tensors_range=ranges.to_tensors_data(),
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=list(QUANTIZED_OPS),
        extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()  # the quantizer appends its nodes at the end
    quantized: onnx.ModelProto = quantizer.model.model
    return quantized
