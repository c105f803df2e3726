"""`int8` or `fp32` + target -> the graph as ONNX Runtime optimizes it, saved and re-verified."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from deploy.artifact import (
    Artifact,
    artifact_path,
    finished,
    inherited,
    list_artifacts,
    tool_versions,
    write_artifact,
)
from deploy.errors import FidelityError, GraphError
from deploy.fidelity import Probe, psnr_between_db
from deploy.files import temporary_beside
from deploy.inference import Run, open_run, open_session
from deploy.onnx_file import image_input, load_graph
from deploy.placement import Target

# Fused integer kernels round once where QDQ rounds twice (onnxruntime#32132): one step of
# difference here and there, far above this bound; a broken fusion is far below it.
MIN_PSNR_VS_PARENT_DB = 40.0
RELOAD_TIMEOUT_S = 120
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
    _require_fitting(parent, target)
    kind = f"{parent.kind.split('-')[0]}-opt-{target.name}"
    params = {
        "target": target.name,
        "level": target.level,
        "config": dict(target.config),
        "valid_for": {"onnxruntime": onnxruntime.__version__, "hardware": target.name},
        **inherited(parent),
        "crops_sha256": parent.params.get("crops_sha256"),
        "probe": probe.name,
    }
    there = None if force else finished(folder, parent.model, kind, parent, params)
    if there:
        return there, False
    graph = load_graph(parent.path)
    image_input(graph, parent.path)
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
        _require_same_in_fresh_process(temporary, target, probe.crops[0], run(probe.crops[0]))
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


def _require_fitting(parent: Artifact, target: Target) -> None:
    if "-opt-" in parent.kind:
        raise GraphError(f"{parent.path} is optimized already", "pass the int8 or fp32 model")
    if parent.target not in (None, target.name):
        raise GraphError(
            f"{parent.path} is quantized for {parent.target}, not for {target.name}",
            f"run `mofa-deploy quantize --target {target.name}` first",
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


def _require_same_in_fresh_process(
    model: Path, target: Target, crop: np.ndarray, expected: np.ndarray
) -> None:
    """Load the saved file where nothing of this process is left, and compare the output."""
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder, "in.npy"), Path(folder, "out.npy")
        np.save(given, crop)
        config = [f"{key}={value}" for key, value in target.config.items()]
        # -P: a user's own deploy.py in the current folder is not ours
        command = [sys.executable, "-P", "-m", "deploy.reload", model, given, got, target.level]
        try:
            done = subprocess.run(
                [str(part) for part in (*command, *config)],
                capture_output=True,
                text=True,
                timeout=RELOAD_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise GraphError(
                f"{model} took over {RELOAD_TIMEOUT_S} s in a fresh process",
                "nothing was written; try again on a machine that does less",
            ) from error
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise GraphError(
                f"{model} does not load in a fresh process ({reason})",
                "nothing was written; report the model to ONNX Runtime",
            )
        if not np.array_equal(np.load(got), expected):
            raise FidelityError(
                f"{model} gives another output in a fresh process", "report it with the model"
            )
