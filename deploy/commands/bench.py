"""Measure artifacts on a device, and keep what they make of the held-out photographs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from skimage.io import imsave
from skimage.util import img_as_ubyte

from android_bench.devices import find_device
from android_bench.launch import Case
from android_bench.plan import BenchPlan
from android_bench.session import bench
from deploy.artifact import Artifact, current_line, list_artifacts, read_artifact
from deploy.commands.images import probe_for_artifact
from deploy.commands.progress import bar, clock, note
from deploy.errors import ArtifactError
from deploy.fidelity import Probe, restore
from deploy.files import unfinished
from deploy.inference import open_run
from deploy.placement import TARGETS

PICTURE_SIDE_PX = 256
PICTURES = "pictures"
SESSIONS = "bench"


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
    """
    device = find_device(device_name)
    artifacts = [read_artifact(path) for path in sources] or _line(build, model)
    probe = probe_for_artifact(build, artifacts[0], held_out)
    crop = _write_input(probe, build, plan.seed)
    cases = [_case(artifact, crop) for artifact in artifacts]
    with bar(f"measuring on {device_name}", plan.launches * len(cases), "launches") as launched:
        folder = bench(
            cases,
            plan,
            device,
            build / SESSIONS,
            on_progress=lambda done, total, run: launched(done),
            force=force,
        )
    if probe.pairs and not (folder / PICTURES).exists():
        with clock("restoring the held-out photographs"):
            _write_pictures(artifacts, probe, folder / PICTURES)
    return folder


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


def _write_input(probe: Probe, build: Path, seed: int) -> Path:
    """Write the crop that every launch is fed, raw little-endian float32; the seed picks it."""
    path = build / SESSIONS / f"input-{seed}.f32"
    with unfinished(path) as temporary:
        probe.crops[seed % len(probe.crops)].astype("<f4").tofile(temporary)
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
    side = probe.crops[0].shape[-1]
    with unfinished(folder) as temporary:
        temporary.mkdir()
        for pair in probe.pairs:
            shown = {"degraded": pair.degraded, "sharp": pair.sharp}
            for artifact in artifacts:
                run = open_run(artifact.path, level=_level(artifact), config=_config(artifact))
                shown[artifact.kind] = restore(run, pair.degraded, side)
            for index, (label, image) in enumerate(shown.items()):
                name = f"{pair.name}.{index:02d}.{label}.png"
                imsave(temporary / name, img_as_ubyte(_middle(image)), check_contrast=False)


def _middle(image: np.ndarray) -> np.ndarray:
    top, left = (max(0, (length - PICTURE_SIDE_PX) // 2) for length in image.shape[:2])
    return image[top : top + PICTURE_SIDE_PX, left : left + PICTURE_SIDE_PX]
