"""Measure artifacts on a device, and keep what they make of the held-out photographs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from skimage.io import imsave
from skimage.util import img_as_ubyte

from android_bench.devices import find_device
from android_bench.launch import Case
from android_bench.plan import BenchPlan
from android_bench.rows import RunRow
from android_bench.session import bench
from deploy.artifact import Artifact, current_line, list_artifacts, read_artifact
from deploy.commands.images import probe_for_artifact
from deploy.commands.progress import bar, clock, note
from deploy.errors import ArtifactError, BenchOutputError, GraphError
from deploy.fidelity import Probe
from deploy.files import unfinished
from deploy.inference import open_run
from deploy.onnx_file import external_files, image_input, load_graph
from deploy.targets import TARGETS, made_for_other_hardware
from reports.frame import load

PICTURE_SIDE_PX = 256
MAX_PICTURES = 4  # images shown before and after; all are scored
PICTURES = "pictures"
SESSIONS = "bench"
SHARP = "sharp"


def bench_artifacts(
    sources: Sequence[Path],
    build: Path,
    *,
    model: str | None,
    device_name: str,
    plan: BenchPlan,
    held_out: Path | None,
    force: bool,
) -> Path:
    """Measure the named files, or the whole line of one model in `build`.

    Returns:
        The folder that holds the rows and the restored photographs.

    Raises:
        GraphError: a graph is broken, has dynamic shapes, or takes another input than the rest.
        BenchOutputError: every launch of a graph failed; the rows are kept.
    """
    device = find_device(device_name)
    artifacts = [_whole(path) for path in sources] or _line(build, model)
    _require_one_input(artifacts)
    _say_what_is_foreign(artifacts, device.info().abi, device_name)
    probe = probe_for_artifact(build, artifacts[0], held_out)
    crop = _write_input(probe, build, plan.seed)
    cases = [_case(artifact, crop) for artifact in artifacts]
    with bar(f"measuring on {device_name}", plan.launches * len(cases), "launches") as launched:

        def on_progress(done: int, total: int, run: RunRow | None) -> None:
            launched(done)
            if done == total and run is None:
                note("measured already, nothing to do (--force measures again)")

        folder = bench(cases, plan, device, build / SESSIONS, on_progress=on_progress, force=force)
    _require_measured(folder)
    judged = [artifact for artifact in artifacts if "psnr_db" in artifact.fidelity]
    if judged and probe.pairs and not (folder / PICTURES).exists():
        with clock("restoring the held-out photographs") as count:
            _write_pictures(judged, replace(probe, on_image=count), folder / PICTURES)
    return folder


def _whole(path: Path) -> Artifact:
    artifact = read_artifact(path)
    for beside in external_files(path)[:1]:
        raise GraphError(
            f"{path} keeps weights in {beside.name}, and a device gets one file",
            f"measure what `mofa-deploy prepare {path}` makes of it",
        )
    return artifact


def _line(build: Path, model: str | None) -> list[Artifact]:
    there = [one for one in list_artifacts(build) if model in (None, one.model)]
    models = sorted({one.model for one in there})
    if not there:
        raise ArtifactError(
            f"nothing to measure in {build}" + (f" of {model}" if model else ""),
            "run `mofa-deploy export` first, or name a file",
        )
    if len(models) > 1:
        raise ArtifactError(
            f"{build} holds {', '.join(models)}", "pass --model NAME, or name files"
        )
    current = current_line(there)
    for old in there:
        if old not in current:
            note(f"{old.path} is older than what it was made from; left out")
    return current


def _say_what_is_foreign(artifacts: Sequence[Artifact], abi: str, device_name: str) -> None:
    for artifact in artifacts:
        if made_for_other_hardware(artifact.target, abi):
            note(
                f"{artifact.path} is made for {artifact.target}; "
                f"its latency on {device_name} ({abi}) says nothing about that"
            )


def _require_one_input(artifacts: Sequence[Artifact]) -> None:
    """Check that every graph takes the same static input, for all are fed one crop."""
    first, *others = artifacts
    wanted = image_input(load_graph(first.path), first.path).shape
    for other in others:
        shape = image_input(load_graph(other.path), other.path).shape
        if shape != wanted:
            raise GraphError(
                f"{other.path} takes {'x'.join(map(str, shape))}, "
                f"{first.path} takes {'x'.join(map(str, wanted))}",
                "measure graphs of one input size at a time",
            )


def _require_measured(session: Path) -> None:
    runs = load(session).runs
    for _, launches in runs.groupby("case_id", sort=False):
        last = launches.iloc[-1]
        if not (launches["status"] == "ok").any():
            raise BenchOutputError(
                f"every launch of {last['model']}.{last['kind']} failed "
                f"({last['status']}: {last['status_message']})",
                f"its rows are in {session}; mend that, then measure again with --force",
            )


def _write_input(probe: Probe, build: Path, seed: int) -> Path:
    """Write the crop that every launch is fed, raw little-endian float32; the seed picks it."""
    path = build / SESSIONS / f"input-{seed}.f32"
    with unfinished(path) as temporary:
        # not tofile: its OSError on a full disk does not say what is wrong
        temporary.write_bytes(probe.crops[seed % len(probe.crops)].astype("<f4").tobytes())
    return path


def _case(artifact: Artifact, crop: Path) -> Case:
    return Case(artifact, crop, _level(artifact), _config(artifact))


def _level(artifact: Artifact) -> str:
    target = TARGETS.get(artifact.target or "")
    return target.level if target else "all"


def _config(artifact: Artifact) -> dict[str, str]:
    target = TARGETS.get(artifact.target or "")
    return dict(target.config) if target else {}


def _write_pictures(artifacts: Sequence[Artifact], probe: Probe, folder: Path) -> None:
    """Write a crop of each held-out image as it was given, as it is, and as each graph restores it.

    PICTURE.INDEX.LABEL.png, so that names sort in the order in which they are shown.
    """
    several = len({artifact.model for artifact in artifacts}) > 1
    with unfinished(folder) as temporary:
        temporary.mkdir()
        pictured = probe.pairs[:MAX_PICTURES]
        probe.on_image(0, len(pictured))
        for done, pair in enumerate(pictured, start=1):
            shown = [("degraded", pair.degraded), (SHARP, pair.sharp)]
            for artifact in artifacts:
                run = open_run(artifact.path, level=_level(artifact), config=_config(artifact))
                label = f"{artifact.model} {artifact.kind}" if several else artifact.kind
                shown.append((label, probe.restored(run, pair)))
            for index, (label, image) in enumerate(shown):
                name = f"{pair.name.replace('/', '-')}.{index:02d}.{label}.png"
                picture = _middle(probe.pipeline.picture(image))
                imsave(temporary / name, img_as_ubyte(picture), check_contrast=False)
            probe.on_image(done, len(pictured))


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (length - PICTURE_SIDE_PX) // 2) for length in image.shape[:2])
    return image[top : top + PICTURE_SIDE_PX, left : left + PICTURE_SIDE_PX]
