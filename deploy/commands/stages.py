"""The verbs of the line: each finds what the stage before left, and hands it on."""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

from deploy.artifact import Artifact, find_artifact, list_artifacts, read_artifact
from deploy.commands.images import (
    probe_for,
    probe_for_artifact,
)
from deploy.commands.progress import clock, note
from deploy.commands.show import Made
from deploy.commands.tuned import tuned_forms
from deploy.errors import UsageError
from deploy.fidelity import Probe
from deploy.files import file_sha256
from deploy.onnx_file import external_files
from deploy.pipeline import RGB, Pipeline, read_pipeline
from deploy.placement import TARGETS, Target, find_target
from deploy.rewrites.forms import Forms, chosen, forms_of_record
from deploy.spec import TRAIN_PX, ModelSpec, network_image
from deploy.tuning import Tuned

FILE_FORMATS = ("onnx", "ort")  # the second is made from the first


def model_spec(
    name: str,
    checkpoint: Path | None,
    shape: Sequence[int] | None,
    *,
    pipeline: Path | None = None,
    local: bool = False,
    local_train_px: int | None = None,
    no_layernorm: bool = False,
) -> ModelSpec:
    """Give the spec of a registered name or of `package.module:factory`, converted as asked.

    Args:
        pipeline: JSON file of another pipeline than the network's own, which is RGB for a user's.
        local_train_px: side of the training crops that TLC goes by, 256 if None.

    Raises:
        UsageError: no such network; a training size without `local`, or another than it has.
    """
    from deploy.zoo.registry import converted, made_local

    if local_train_px is not None and not local:
        raise UsageError(f"--local-train-px {local_train_px} without --local", "pass both, or none")
    spec = _plain_spec(name, checkpoint, shape, read_pipeline(pipeline) if pipeline else None)
    if local:
        spec = made_local(spec, TRAIN_PX if local_train_px is None else local_train_px)
    if no_layernorm:
        spec = converted(spec, "no-layernorm")
    return spec


def _plain_spec(
    name: str, checkpoint: Path | None, shape: Sequence[int] | None, pipeline: Pipeline | None
) -> ModelSpec:

    from deploy.zoo.registry import find_model, user_model

    if ":" in name:
        with redirect_stdout(sys.stderr):  # what a user's module prints is no result
            spec = user_model(name, checkpoint, network_image("input", pipeline or RGB).shape)
    else:
        spec = find_model(name)
        if checkpoint is not None:
            spec = replace(spec, checkpoint=checkpoint)
    return _reshaped(spec, shape, pipeline or spec.pipeline)


def _reshaped(spec: ModelSpec, shape: Sequence[int] | None, pipeline: Pipeline) -> ModelSpec:
    """Give the spec with another input shape, unless it is None, and this pipeline."""

    tensors = [
        replace(one, shape=tuple(shape or one.shape), value_range=(0.0, pipeline.peak))
        for one in (spec.inputs[0], spec.outputs[0])
    ]
    return replace(spec, inputs=(tensors[0],), outputs=(tensors[1],), pipeline=pipeline)


def export_model(
    spec: ModelSpec,
    build: Path,
    *,
    held_out: Path | None,
    dynamic: bool,
    force: bool,
    pad: bool = False,
) -> Made:
    """Export a network; see `deploy.export`."""
    from deploy.export import export
    from deploy.zoo.convert import sees_whole_image, window_px

    if pad and dynamic:
        raise UsageError(
            "--pad with --dynamic",
            "leave one out: open sides are multiples of what the network needs, padded ones fixed",
        )
    checkpoint = spec.checkpoint
    if checkpoint is not None and not checkpoint.is_file():
        raise UsageError(f"no checkpoint at {checkpoint}", "check the path")
    probe = probe_for(
        build,
        spec.inputs[0].shape,
        model=spec.name,
        weights_sha256=file_sha256(checkpoint) if checkpoint else None,
        trained=spec.trained,
        held_out=held_out,
        pipeline=spec.pipeline,
    )
    with clock(f"exporting {spec.name}") as count, redirect_stdout(sys.stderr):
        probe = replace(probe, on_image=count)
        made = export(spec, build, probe, dynamic=dynamic, pad=pad, force=force)
    if sees_whole_image(spec):
        side = "x".join(map(str, spec.inputs[0].shape[-2:]))
        note(
            f"TLC changes nothing at {side}: its windows of {window_px(spec)} px cover the image; "
            "--shape makes it larger"
        )
    return made


def prepare_model(
    source: Path | None,
    build: Path,
    *,
    held_out: Path | None,
    force: bool,
    asked: Mapping[str, str | None] | None = None,
    tuned: Tuned | None = None,
) -> Made:
    """Rewrite a plain or user's graph; see `deploy.prepare`.

    Args:
        asked: form by what has it; None is not asked: as `tuned` says, else auto.
    """
    plain = find_source(source, build, ("plain",), made_by="mofa-deploy export")
    if plain.kind not in ("plain", "external"):
        raise UsageError(f"{plain.path} is {plain.kind}", "prepare takes a plain model")
    known = tuned_forms(tuned, plain).record() if tuned is not None else {}
    forms = chosen(**{**known, **{name: one for name, one in (asked or {}).items() if one}})
    probe = probe_for_artifact(build, plain, held_out)
    return prepare_from(plain, build, probe, force, forms)


def optimize_model(
    source: Path | None,
    build: Path,
    *,
    target: str | None,
    held_out: Path | None,
    force: bool,
    tuned: Tuned | None = None,
) -> Made:
    """Save the graph as ONNX Runtime optimizes it; see `deploy.optimize`."""
    from deploy.optimize import optimize

    if tuned is not None:
        target = target or tuned.choice.target
    kinds = [f"int8-{name}" for name in TARGETS if target in (None, name)]
    parent = find_source(source, build, kinds, made_by="mofa-deploy quantize")
    made_for = target_of(parent, target)
    if tuned is not None:
        tuned_forms(tuned, parent)
    probe = probe_for_artifact(build, parent, held_out)
    with clock(f"optimizing {parent.model} for {made_for.name}") as count:
        return optimize(parent, made_for, build, replace(probe, on_image=count), force=force)


def optimize_formats(
    source: Path | None,
    build: Path,
    *,
    target: str | None,
    formats: Sequence[str],
    held_out: Path | None,
    force: bool,
    tuned: Tuned | None = None,
) -> list[Made]:
    """Optimize, and save the graph in ONNX Runtime's own format besides where that is asked for."""
    unknown = [name for name in formats if name not in FILE_FORMATS]
    if unknown:
        raise UsageError(f"unknown format {unknown[0]!r}", f"use {' or '.join(FILE_FORMATS)}")
    made = [
        optimize_model(source, build, target=target, held_out=held_out, force=force, tuned=tuned)
    ]
    if "ort" in formats:
        from deploy.ort_format import to_ort_format

        optimized, _ = made[0]
        probe = probe_for_artifact(build, optimized, held_out)
        with clock(f"saving {optimized.model} in ONNX Runtime's format"):
            made.append(to_ort_format(optimized, build, probe, force=force))
    return made


def target_of(parent: Artifact, target: str | None) -> Target:
    """Give the target that is named, or the one that a file is made for."""
    name = target or parent.target
    if name is None:
        raise UsageError(f"{parent.path} is made for no target", "pass --target")
    return find_target(name)


def find_source(
    source: Path | None, build: Path, kinds: Sequence[str], *, made_by: str
) -> Artifact:
    """Give what a stage starts from: the file that is named, else the one of these kinds."""
    if source is not None:
        return _given(source)
    return find_artifact(build, kinds, made_by=made_by)


def _given(source: Path) -> Artifact:
    """Read an artifact or a user's file; weights in files beside it count as part of it."""
    artifact = read_artifact(source)
    beside = external_files(source)
    if not beside:
        return artifact
    whole = "".join([artifact.sha256, *(file_sha256(path) for path in beside)])
    return replace(artifact, sha256=hashlib.sha256(whole.encode()).hexdigest())


def prepare_from(plain: Artifact, build: Path, probe: Probe, force: bool, forms: Forms) -> Made:
    """Rewrite a graph exactly, with a running clock."""
    from deploy.prepare import prepare

    with clock(f"preparing {plain.model}") as count:
        return prepare(plain, build, replace(probe, on_image=count), forms=forms, force=force)


def forms_of(build: Path, plain: Artifact) -> Forms:
    """Give the forms that a graph was prepared in already, so that they hold; else all auto."""
    prepared = list_artifacts(build, ("fp32",))
    there = [one for one in prepared if one.parent_sha256 == plain.sha256]
    return forms_of_record(there[0].params.get("forms") or {}) if there else Forms()
