"""`plain` -> `fp32`: the same function after exact graph rewrites, each checked right after."""

from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from deploy.artifact import (
    Artifact,
    artifact_path,
    finished,
    inherited,
    tool_versions,
    write_artifact,
)
from deploy.fidelity import Probe, max_error, require_max_error
from deploy.files import temporary_beside
from deploy.inference import Run, open_run
from deploy.onnx_file import any_image_input, load_graph
from deploy.rewrites.global_pool import use_global_pool
from deploy.rewrites.layer_norm import use_fused_layer_norm

MAX_ERROR = 1e-4

# in the order they are applied; each rewrites in place and gives how often it did
REWRITES: dict[str, Callable[[ir.Model], int]] = {
    "global_pool": use_global_pool,
    "layer_norm": use_fused_layer_norm,
}


def prepare(
    plain: Artifact, folder: Path, probe: Probe, *, force: bool = False
) -> tuple[Artifact, bool]:
    """Rewrite a graph exactly, for speed and for the stages that follow.

    Args:
        probe: real images that each rewrite is checked on.

    Returns:
        The artifact, and whether it was made now. Its fidelity says how often each rewrite applied.

    Raises:
        GraphError: the file is no model that the stages can take.
        FidelityError: a rewrite changed the output by more than MAX_ERROR of its range. Nothing is
            written.
    """
    params = {
        "rewrites": list(REWRITES),
        **inherited(plain),
        "probe": probe.name,
    }
    there = None if force else finished(folder, plain.model, "fp32", plain, params)
    if there:
        return there, False
    graph = load_graph(plain.path)
    any_image_input(graph, plain.path)
    model, applied, error = _rewrite(ir.from_proto(graph), open_run(plain.path), probe)
    with temporary_beside(artifact_path(folder, plain.model, "fp32")) as temporary:
        onnx.save(ir.to_proto(model), temporary)
        artifact = write_artifact(
            temporary,
            folder,
            model=plain.model,
            kind="fp32",
            parent=plain,
            params=params,
            versions=tool_versions("onnx", "onnx-ir", "onnxruntime"),
            fidelity={
                "rewritten": applied,
                "max_error_vs_plain": error,
                **probe.quality(open_run(temporary)),
            },
        )
    return artifact, True


def _rewrite(
    model: ir.Model, reference: Run, probe: Probe
) -> tuple[ir.Model, dict[str, int], float]:
    applied, error = {}, 0.0
    for name, rewrite in REWRITES.items():
        applied[name] = rewrite(model)
        if not applied[name]:
            continue
        RemoveUnusedNodesPass()(model)
        proto = ir.to_proto(model)
        onnx.checker.check_model(proto)
        error = max_error(
            reference, open_run(proto.SerializeToString()), probe.crops, peak=probe.peak
        )
        require_max_error(error, MAX_ERROR, f"rewrite {name}")
    return model, applied, error
