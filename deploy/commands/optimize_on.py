"""A graph as one device optimizes it: the file is that device's own, and lies beside the line."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from android_bench.correctness import compare, host_output, problem_of
from android_bench.device import Device, DeviceInfo
from android_bench.devices import find_device
from android_bench.identity import program_hashes
from android_bench.programs import Programs, programs_for
from android_bench.saved import save_on_device
from deploy.artifact import (
    Artifact,
    artifact_path,
    finished,
    inherited,
    tool_versions,
    write_artifact,
)
from deploy.commands.bench_cases import require_one_file
from deploy.commands.images import probe_for_artifact
from deploy.commands.progress import clock, note
from deploy.commands.show import Made
from deploy.commands.stages import find_source, target_of
from deploy.errors import FidelityError, UsageError
from deploy.fidelity import Probe
from deploy.files import temporary_beside
from deploy.optimize import needs_of, require_fitting
from deploy.placement import Target
from deploy.targets import TARGETS

ON = "on"  # the folder in `build` of files that are valid for one device: on/DEVICE_ID


def optimize_on(
    source: Path | None,
    build: Path,
    device_name: str,
    *,
    target: str | None,
    formats: str = "onnx",
    held_out: Path | None,
    force: bool,
) -> Made:
    """Save the graph as ONNX Runtime on a device optimizes it, checked there.

    Raises:
        UsageError: another format is asked for.
        GraphError: the model was made for another target, is optimized already, or has weights
            in other files.
        FidelityError: what the device saved computes something else than the model.
        DeviceError: the device cannot be used, or cannot save or run the graph.
    """
    if formats != "onnx":
        raise UsageError("a device saves onnx alone", "leave --format out, or --device")
    kinds = [f"int8-{name}" for name in TARGETS if target in (None, name)]
    parent = find_source(source, build, kinds, made_by="mofa-deploy quantize")
    chosen = target_of(parent, target)
    require_fitting(parent, chosen)
    require_one_file(parent.path)
    probe = probe_for_artifact(build, parent, held_out)
    device = find_device(device_name)
    info = device.info()
    programs = programs_for(info, [parent.path], note)
    there = _There(device, info, programs)
    try:
        with clock(f"optimizing {parent.model} for {chosen.name} on {info.name}"):
            return _optimize(parent, chosen, build / ON / info.device_id, probe, there, force=force)
    finally:
        device.remove()


@dataclass(frozen=True)
class _There:
    """A device, and what runs on it."""

    device: Device
    info: DeviceInfo
    programs: Programs


def _optimize(
    parent: Artifact, target: Target, folder: Path, probe: Probe, on: _There, *, force: bool
) -> Made:
    params = _params(parent, target, probe, on)
    kind = f"{parent.kind.split('-')[0]}-opt-{target.name}"
    there = None if force else finished(folder, parent.model, kind, parent, params)
    if there:
        return there, False
    with temporary_beside(artifact_path(folder, parent.model, kind)) as temporary:
        version, fidelity = _save(parent, target, probe.crops[0], on, temporary)
        artifact = write_artifact(
            temporary,
            folder,
            model=parent.model,
            kind=kind,
            parent=parent,
            params=params,
            versions={**tool_versions(), "onnxruntime": version},
            fidelity=fidelity,
        )
    return artifact, True


def _params(parent: Artifact, target: Target, probe: Probe, on: _There) -> dict[str, Any]:
    hashes = program_hashes(on.programs.command)
    info = on.info
    return {
        "target": target.name,
        "level": target.level,
        "config": dict(target.config),
        "valid_for": {"device_id": info.device_id, "device": info.name, "os": info.os, **hashes},
        **inherited(parent),
        "crops_sha256": parent.params.get("crops_sha256"),
        "probe": probe.name,
    }


def _save(
    parent: Artifact, target: Target, crop: np.ndarray, on: _There, to: Path
) -> tuple[str, dict[str, Any]]:
    """Save, check and fetch the graph; give the version of the runtime, and what was measured."""
    with TemporaryDirectory() as name:
        values = Path(name) / "input.f32"
        values.write_bytes(crop.astype("<f4").tobytes())
        saved = save_on_device(
            on.device,
            on.programs,
            parent.path,
            values,
            to,
            level=target.level,
            config=target.config,
        )
        reference = host_output(parent.path, values, "disable", {})
    fidelity: dict[str, Any] = {"needs": needs_of(to, on.info.cpu)}
    if reference is not None:
        problem = problem_of(saved.output, reference, parent.kind, "cpu")
        if problem:
            raise FidelityError(
                f"{parent.path}: the graph that {on.info.name} saved is wrong: {problem}",
                "nothing was written; report the model to ONNX Runtime",
            )
        fidelity["psnr_vs_parent_db"] = compare(saved.output, reference).psnr_db
    return saved.runtime_version or "", fidelity
