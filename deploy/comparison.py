"""`fp32` -> forms that exist to be compared with: dynamic quantization, and 16-bit floats.

Both are what ONNX Runtime's own tools make, without choices of ours: ranges found at run time
(Conv becomes ConvInteger), and half-precision weights and activations with float32 at the ends.
"""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import TopologicalSortPass
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from deploy.artifact import (
    Artifact,
    artifact_path,
    finished,
    inherited,
    tool_versions,
    write_artifact,
)
from deploy.errors import FidelityError, GraphError, UsageError
from deploy.fidelity import Probe, psnr_between_db
from deploy.files import temporary_beside
from deploy.inference import open_run
from deploy.integer_ops import form_of
from deploy.onnx_file import image_input, load_graph


def _write_dynamic(graph: onnx.ModelProto, to: Path) -> None:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it asks for a preparation that `prepare` has done
    try:
        quantize_dynamic(graph, to, weight_type=QuantType.QUInt8)
    finally:
        root.setLevel(level)


def _write_half(graph: onnx.ModelProto, to: Path) -> None:
    half = ir.from_proto(convert_float_to_float16(graph, keep_io_types=True))
    TopologicalSortPass()(half)  # the converter puts its casts at the end
    onnx.save(ir.to_proto(half), to)


# form, as a user names it -> kind, and what writes it
FORMS: dict[str, tuple[str, Callable[[onnx.ModelProto, Path], None]]] = {
    "dynamic": ("int8-dynamic", _write_dynamic),
    "fp16": ("fp16", _write_half),
}


def make_comparison(
    fp32: Artifact, form: str, folder: Path, probe: Probe, *, force: bool = False
) -> tuple[Artifact, bool]:
    """Make a form of a float model that others of it are compared with.

    Args:
        form: a key of FORMS.

    Returns:
        The artifact, for any hardware, and whether it was made now.

    Raises:
        UsageError: no such form.
        GraphError: the model is not float, or the form of it does not load.
        FidelityError: its output is no number, as where values exceed what 16 bits hold.
    """
    if form not in FORMS:
        raise UsageError(f"unknown form {form!r}", f"use one of {', '.join(FORMS)}")
    kind, write = FORMS[form]
    params = {**inherited(fp32), "probe": probe.name}
    there = None if force else finished(folder, fp32.model, kind, fp32, params)
    if there:
        return there, False
    graph = load_graph(fp32.path)
    image_input(graph, fp32.path)
    if form_of(graph) != "float":
        raise GraphError(f"{fp32.path} is quantized already", "pass the fp32 model")
    reference = open_run(fp32.path)
    with temporary_beside(artifact_path(folder, fp32.model, kind)) as temporary:
        write(graph, temporary)
        load_graph(temporary)  # checks it
        run = open_run(temporary)
        psnr_db = psnr_between_db(probe.outputs(reference), probe.outputs(run), peak=probe.peak)
        if math.isnan(psnr_db):
            raise FidelityError(
                f"{fp32.model} as {kind} gives no number",
                "nothing was written; compare without this form",
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
