"""Let a device choose between equal forms of a graph, types and presets: measure them there."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from android_bench.device import Device
from android_bench.devices import find_devices
from deploy.artifact import Artifact
from deploy.commands.images import probe_for_artifact
from deploy.commands.progress import note
from deploy.commands.stages import export_model, find_source, model_spec
from deploy.commands.tune_builds import Workshop, can_be_made
from deploy.commands.tune_confirm import confirm, write_choice
from deploy.commands.tune_ledger import FLOAT, Ledger, Tried
from deploy.commands.tune_measure import Stopwatch, plan_for
from deploy.commands.tune_race import Race, race
from deploy.commands.tune_space import DIMENSIONS, difference, others, presets_for, targets_for
from deploy.commands.tune_state import TuneRequest, Tuning
from deploy.errors import (
    ArtifactError,
    FidelityError,
    GraphError,
    MofaError,
    OutputError,
    UsageError,
)
from deploy.fidelity import Probe
from deploy.files import unfinished
from deploy.onnx_file import load_graph
from deploy.quantize import require_quantizable
from deploy.tuning import Choice, Tuned

FOLDER = "tune"


def exported(
    model: str,
    checkpoint: Path | None,
    shape: Sequence[int] | None,
    build: Path,
    *,
    held_out: Path | None,
    device_name: str,
    cpu: str,
) -> Path:
    """Give the plain file of a network by its name, exported where it is not there yet."""
    device_of(device_name, cpu).info()  # one that cannot be used shall not cost an export
    spec = model_spec(model, checkpoint, shape)
    made, _ = export_model(spec, build, held_out=held_out, dynamic=False, force=False)
    return made.path


def tune(request: TuneRequest) -> tuple[Tuned, Tuning]:
    """Find the fastest forms, target and preset of a model on a device, and write them to a file.

    Returns:
        What was chosen, and how.

    Raises:
        ArtifactError: no plain model, or several.
        GraphError: nothing to quantize, or every candidate is the same graph.
        UsageError: a name that there is not; a bound on the drop and no truth to hold it against.
        FidelityError: no target and preset keep the bound. Nothing is written.
        DeviceError: the device cannot be used.
    """
    begun = begin(request)
    keep_bound(begun)
    for step, dimension in enumerate(DIMENSIONS, start=1):
        compare(begun, dimension, f"tuning, {step} of {len(DIMENSIONS) + 1}: {dimension}")
    if len(begun.graphs) < 2:
        raise GraphError(
            f"{begun.workshop.plain.path} has nothing to tune on {begun.stopwatch.info.name}: "
            "every form, target and preset gives the same graph",
            "quantize it as it is",
        )
    steps = len(DIMENSIONS) + 1
    confirm(begun, f"tuning, {steps} of {steps}: confirming")
    return write_choice(begun), begun


def device_of(name: str, cpu: str, *, touch: bool = True) -> Device:
    """Give the one device of that name.

    Raises:
        UsageError: there is none, or it stands for several.
        DeviceError: it cannot be used as it is.
    """
    found = find_devices(name, touch=touch, cpu=cpu, on_left_out=note)
    if len(found) > 1:
        raise UsageError(f"{name!r} is {len(found)} devices", "tune on one at a time")
    return found[0]


def begin(request: TuneRequest) -> Tuning:
    """Check all that can be checked before any work; nothing is made or measured yet."""
    device = device_of(request.device_name, request.cpu, touch=request.touch)
    info = device.info()
    build = request.build
    plain = find_source(request.source, build, ("plain",), made_by="mofa-deploy export")
    if plain.kind not in ("plain", "external"):
        raise ArtifactError(
            f"{plain.path} is {plain.kind}", "tune takes a plain model, as export makes it"
        )
    pairs = [
        (target, preset)
        for preset in presets_for(request.presets)
        for target in targets_for(request.targets, info)
    ]
    allowed = [Choice(target, preset) for target, preset in pairs]
    require_quantizable(load_graph(plain.path), plain.path)
    probe = probe_for_artifact(build, plain, request.calibration.held_out)
    if request.max_psnr_drop_db is not None and not probe.pairs:
        raise UsageError(
            f"--max-psnr-drop {request.max_psnr_drop_db:g} without held-out images whose truth "
            "is known",
            "pass --held-out FOLDER with input/ and target/",
        )
    folder = build / FOLDER / f"{plain.model}-{plain.sha256[:8]}"
    workshop = Workshop(plain, build, folder, probe, request.calibration)
    plan = plan_for(request.plan, info)
    stopwatch = Stopwatch(
        *(device, info, plan, _write_input(probe, folder), folder / "bench", request.force)
    )
    ledger = Ledger("default", stopwatch.counts)
    return Tuning(request, workshop, stopwatch, allowed, ledger, allowed[0])


def _write_input(probe: Probe, folder: Path) -> Path:
    path = folder / "input.f32"
    with unfinished(path) as temporary:
        temporary.write_bytes(probe.crops[0].astype("<f4").tobytes())
    return path


def keep_bound(tuning: Tuning) -> None:
    """Leave only targets and presets that keep the bound on the drop, in the default's forms.

    Forms are exact, so what is lost hangs on the types and the preset; one calibration serves all.

    Raises:
        FidelityError: none does; the best is named.
    """
    bound_db = tuning.request.max_psnr_drop_db
    if bound_db is None:
        return
    before = tuning.start
    drops = {
        choice: tuning.in_full(choice, f"checking {place} of {len(tuning.allowed)}").drop_db
        for place, choice in enumerate(tuning.allowed, start=1)
    }
    known = {choice: drop for choice, drop in drops.items() if drop is not None}
    kept = [choice for choice, drop in known.items() if drop <= bound_db]
    if not kept:
        least = min(known, key=lambda choice: known[choice])
        raise FidelityError(
            f"{tuning.workshop.plain.model}: no target and preset lose at most {bound_db:g} dB of "
            f"PSNR on the held-out images; the best is {least.target} {least.preset} with "
            f"{known[least]:.3f} dB",
            "allow more, or let `mofa-deploy quantize --max-psnr-drop` keep layers in float",
        )
    tuning.allowed, tuning.best = kept, kept[0]
    for choice, drop in known.items():
        if choice not in kept:
            why = f"loses {drop:.3f} dB, more than {bound_db:g} dB; not measured"
            tuning.ledger.add(Tried(f"over the bound: {_what(choice)}", choice, None, drop, why))
    if before not in kept:
        note(f"{_what(before)} is over the bound: {_what(kept[0])} stands as the default")


def _what(choice: Choice) -> str:
    return f"{choice.target} {choice.preset}"


def compare(tuning: Tuning, dimension: str, where: str) -> None:
    """Try every value of one dimension with the best so far, and take the fastest.

    Raises:
        MofaError: the default cannot be made; of another candidate that is a reason to leave it.
    """
    start = tuning.start
    files = {"default": _file(tuning, start, where)}
    now = difference(tuning.best, start)
    files.setdefault(now, _file(tuning, tuning.best, where))
    fresh = []
    for choice in others(tuning.best, dimension, tuning.allowed):
        name = difference(choice, start)
        if name in tuning.ledger.tried:
            continue
        made = can_be_made(tuning.workshop, choice, where)
        if isinstance(made, MofaError):
            tuning.ledger.add(Tried(name, choice, why=f"cannot be made: {made.problem}"))
            continue
        tuning.ledger.add(Tried(name, choice, made.vs_fp32_db))
        twin = tuning.graphs.setdefault(made.optimized.sha256, name)
        if twin != name:
            tuning.ledger.tried[name].why = f"the same graph as {twin}"
            continue
        files[name] = made.optimized
        fresh.append((name, choice))
    if not fresh:
        return
    if tuning.ledger.measured.empty:
        files |= _float_graph(tuning, where)
    ended = _race(tuning, [now, *(name for name, _ in fresh)], files, where)
    tuning.ledger.keep(ended)
    tuning.best = dict(fresh).get(ended.winner, tuning.best)


def _file(tuning: Tuning, choice: Choice, where: str) -> Artifact:
    """Give the file of a candidate that has to be there."""
    made = tuning.workshop.quick(choice, where)
    name = difference(choice, tuning.start)
    tuning.ledger.add(Tried(name, choice, made.vs_fp32_db))
    tuning.graphs.setdefault(made.optimized.sha256, name)
    return made.optimized


def _float_graph(tuning: Tuning, where: str) -> dict[str, Artifact]:
    """Give the float graph of the default: integers are no gain on every device."""
    try:
        made = tuning.workshop.in_float(tuning.start, where)
    except OutputError:
        raise
    except MofaError as error:
        tuning.ledger.add(Tried(FLOAT, None, why=f"cannot be made: {error.problem}"))
        return {}
    tuning.ledger.add(Tried(FLOAT, None, why="in the default's forms, for comparison"))
    return {FLOAT: made}


def _race(tuning: Tuning, names: Sequence[str], files: dict[str, Artifact], where: str) -> Race:
    looks: list[int] = []
    plan = tuning.request.plan

    def measure(running: Sequence[str], launches: int) -> pd.DataFrame:
        looks.append(launches)
        known = tuning.ledger.counted(running)  # a count is the same again
        wanted = {name: files[name] for name in running if name not in known}
        seed = plan.seed + len(looks) - 1
        return tuning.stopwatch.measure(wanted, launches, seed, where).assign(**known)

    along = [name for name in ("default", FLOAT) if name in files]
    exact = tuning.stopwatch.counts
    return race(names, names[0], measure, plan.launches, along=along, exact=exact)
