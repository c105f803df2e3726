"""`int8` or `fp32` + target -> the graph as ONNX Runtime optimizes it, saved and re-verified."""

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import onnxruntime

from deploy.artifact import (
    COMPARISONS,
    Artifact,
    artifact_path,
    finished,
    inherited,
    list_artifacts,
    tool_versions,
    write_artifact,
)
from deploy.audit import audit, kept_in_float
from deploy.errors import FidelityError, GraphError
from deploy.fidelity import Probe, psnr_between_db
from deploy.files import temporary_beside
from deploy.inference import Run, open_run, open_session
from deploy.integer_ops import activation_types, eight_bit_values, form_of
from deploy.onnx_file import ORT_SUFFIX, image_input, load_graph
from deploy.placement import TARGETS, Target
from deploy.reload import require_same_in_fresh_process

# Fused integer kernels round once where QDQ rounds twice (onnxruntime#32132): one step of
# difference here and there, far above this bound; a broken fusion is far below it.
MIN_PSNR_VS_PARENT_DB = 40.0
NCHWC_DOMAIN = "com.microsoft.nchwc"


def optimize(
    parent: Artifact,
    target: Target,
    folder: Path,
    probe: Probe,
    *,
    force: bool = False,
) -> tuple[Artifact, bool]:
    """Save the graph that ONNX Runtime makes of a model for one target.

    The file holds fused operators of one ONNX Runtime version and one kind of processor; its
    sidecar says which.

    Returns:
        The artifact, and whether it was made now.

    Raises:
        GraphError: the model was made for another target, is optimized already, or does not load.
        FidelityError: the saved graph strays from its parent, or a fresh process disagrees.
    """
    require_fitting(parent, target)
    kind = f"{parent.kind.split('-')[0]}-opt-{target.name}"
    params = {
        "target": target.name,
        "level": target.level,
        "config": dict(target.config),
        # older releases may lack a kernel or the format; `needs` in fidelity says what is in it
        "valid_for": {"onnxruntime": f">={onnxruntime.__version__}", "hardware": target.name},
        **inherited(parent),
        "crops_sha256": parent.params.get("crops_sha256"),
        "probe": probe.name,
    }
    there = None if force else finished(folder, parent.model, kind, parent, params)
    if there:
        return there, False
    graph = load_graph(parent.path)
    image_input(graph, parent.path)
    _require_types(graph, parent, target)
    with temporary_beside(artifact_path(folder, parent.model, kind)) as temporary:
        save_optimized(parent.path, target, temporary)
        run = open_run(temporary, level=target.level, config=target.config)
        reference = open_run(parent.path, level="disable")
        outputs = probe.outputs(reference), probe.outputs(run)
        vs_parent_db = psnr_between_db(*outputs, peak=probe.peak)
        if not vs_parent_db >= MIN_PSNR_VS_PARENT_DB:
            raise FidelityError(
                f"{parent.path}: the optimized graph is {vs_parent_db:.1f} dB from it, "
                f"below {MIN_PSNR_VS_PARENT_DB:.0f} dB",
                "nothing was written; report the model to ONNX Runtime",
            )
        crop = probe.crops[0]
        require_same_in_fresh_process(
            temporary, crop, run(crop), level=target.level, config=target.config
        )
        found = audit(temporary, target=target, kept=_named_in_saved(graph, kept_in_float(parent)))
        artifact = write_artifact(
            temporary,
            folder,
            model=parent.model,
            kind=kind,
            parent=parent,
            params=params,
            versions=tool_versions("onnx", "onnxruntime"),
            fidelity={
                "psnr_vs_parent_db": vs_parent_db,
                **_psnr_vs_fp32(parent, folder, probe, run),
                **probe.quality(run),
                "needs": needs_of(temporary),
                "fusion": found.summary(),
            },
        )
    return artifact, True


def save_optimized(model: Path, target: Target, to: Path) -> None:
    """Write the graph that ONNX Runtime makes of a model; checked for the target's hardware."""
    open_session(
        model,
        level=target.level,
        config=target.config,
        save_to=to,
        disabled_optimizers=target.disabled_optimizers,
    )
    domains = {node.domain for node in onnx.load(to, load_external_data=False).graph.node}
    if target.disabled_optimizers and NCHWC_DOMAIN in domains:
        raise GraphError(
            f"{model}: the optimized graph holds operators of {NCHWC_DOMAIN}",
            f"they run on x86 only, not on {target.name}; report it with the model",
        )


def _named_in_saved(graph: onnx.ModelProto, kept: Mapping[str, str]) -> dict[str, str]:
    """Add the names that nodes may have in the saved graph: NCHWc ones go by their output."""
    outputs = {
        name: kept[node.name]
        for node in graph.graph.node
        if node.name in kept
        for name in node.output
    }
    return {**kept, **outputs}


def needs_of(saved: Path, saved_on: str = "") -> dict[str, Any]:
    """Give what a runtime has to know to load a saved graph.

    Args:
        saved_on: the processor of whoever saved it; left out: this machine's.
    """
    model = onnx.load(saved, load_external_data=False)
    nodes = list(ir.from_proto(model).graph)
    used = {node.domain for node in nodes}
    opsets = {one.domain or "ai.onnx": one.version for one in model.opset_import}
    notes = []
    shuffled = [node for node in nodes if node.op_type == "DepthToSpace"]
    if eight_bit_values(nodes) & {node.outputs[0] for node in shuffled}:
        notes.append("8-bit DepthToSpace: ONNX Runtime 1.22 does not load an int8 one")
    if NCHWC_DOMAIN in used:
        processor = saved_on or platform.processor() or platform.machine()
        notes.append(
            "weights are laid out for the vectors of the machine that saved it "
            f"({processor}): 16 floats with AVX-512, else 8"
        )
    return {
        "ir_version": model.ir_version,
        "opsets": {name: opsets[name] for name in sorted(domain or "ai.onnx" for domain in used)},
        "notes": notes,
    }


def require_fitting(parent: Artifact, target: Target) -> None:
    """Check that a model can be optimized for a target.

    Raises:
        GraphError: it was made for another one, is optimized already, or is of no line.
    """
    if "-opt-" in parent.kind or parent.path.suffix == ORT_SUFFIX:
        raise GraphError(f"{parent.path} is optimized already", "pass the int8 or fp32 model")
    if parent.kind in COMPARISONS:
        raise GraphError(
            f"{parent.path} is {parent.kind}, made to be compared with", "bench it as it is"
        )
    if parent.target not in (None, target.name):
        raise GraphError(
            f"{parent.path} is quantized for {parent.target}, not for {target.name}",
            f"run `mofa-deploy quantize --target {target.name}` first",
        )


def _require_types(graph: onnx.ModelProto, parent: Artifact, target: Target) -> None:
    """Check of a user's own quantized graph that the target takes its types."""
    if form_of(graph) == "float":
        return
    wanted = target.activations.removeprefix("Q").lower()
    others = sorted(activation_types(graph) - {wanted})
    if others:
        able = [name for name, one in TARGETS.items() if one.activations[1:].lower() == others[0]]
        raise GraphError(
            f"{parent.path} has {others[0]} activations, and {target.name} takes {wanted}",
            f"pass --target {' or '.join(able)}" if able else f"quantize it for {target.name}",
        )


def _psnr_vs_fp32(parent: Artifact, folder: Path, probe: Probe, run: Run) -> dict[str, float]:
    """Measure against the float model of the line, where it is still in the folder."""
    floats = list_artifacts(folder, ["fp32"])
    wanted = (parent.sha256, parent.parent_sha256)
    found = next((one for one in floats if one.sha256 in wanted), None)
    if found is None:
        return {}
    outputs = probe.outputs(open_run(found.path)), probe.outputs(run)
    return {"psnr_vs_fp32_db": psnr_between_db(*outputs, peak=probe.peak)}
