"""Let a device choose between equal forms of a graph, types and presets: measure them there."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import pandas as pd

from android_bench.device import DeviceInfo
from android_bench.devices import find_device
from android_bench.plan import BenchPlan
from deploy.artifact import Artifact
from deploy.commands.images import probe_for_artifact
from deploy.commands.progress import note
from deploy.commands.stages import export_model, find_source, model_spec
from deploy.commands.tune_builds import Built, Calibration, Workshop, can_be_made
from deploy.commands.tune_ledger import Ledger, Tried, as_text
from deploy.commands.tune_measure import Stopwatch, plan_for
from deploy.commands.tune_race import Race, race
from deploy.commands.tune_space import (
    DIMENSIONS,
    difference,
    others,
    presets_for,
    targets_for,
)
from deploy.errors import ArtifactError, FidelityError, GraphError, MofaError, UsageError
from deploy.fidelity import Probe
from deploy.files import unfinished
from deploy.onnx_file import image_input, load_graph
from deploy.quantize import require_quantizable
from deploy.tuning import Choice, Tuned, TunedOn, write_tuned
from reports.stats import Estimate, paired_ratio

FOLDER = "tune"
CONFIRMING = 1000  # added to the seed: those launches are in another order than those before


@dataclass(frozen=True)
class TuneRequest:
    """What the command line asks for.

    Attributes:
        source: a plain model; None: the one in `build`.
        targets, presets: by commas; None: all that the device's processor takes, and all.
        max_psnr_drop_db: most that may be lost on held-out images; None: no bound.
        plan: its launches are those of a candidate that stays to the end.
        force: measure again what is measured already.
    """

    source: Path | None
    build: Path
    device_name: str
    plan: BenchPlan
    targets: str | None = None
    presets: str | None = None
    max_psnr_drop_db: float | None = None
    calibration: Calibration = field(default_factory=Calibration)
    force: bool = False
    touch: bool = True


def exported(
    model: str,
    checkpoint: Path | None,
    shape: Sequence[int] | None,
    build: Path,
    *,
    held_out: Path | None,
    device_name: str,
) -> Path:
    """Give the plain file of a network by its name, exported where it is not there yet."""
    find_device(device_name)  # an unknown one shall not cost an export
    spec = model_spec(model, checkpoint, shape)
    made, _ = export_model(spec, build, held_out=held_out, dynamic=False, force=False)
    return made.path


@dataclass
class Tuning:
    """A tuning while it goes on: what it works with, and what it knows.

    Attributes:
        allowed: targets and presets, in the forms of the default; the first is the default.
        best: of all that was compared so far.
        graphs: sha256 of an optimized file -> the candidate that was it first.
        full: candidate -> what was made of it as the line makes it.
    """

    request: TuneRequest
    workshop: Workshop
    stopwatch: Stopwatch
    allowed: Sequence[Choice]
    ledger: Ledger
    best: Choice
    graphs: dict[str, str] = field(default_factory=dict)
    full: dict[Choice, Built] = field(default_factory=dict)
    confirmed: Estimate | None = None

    @property
    def start(self) -> Choice:
        """The default, which all candidates are compared with."""
        return self.allowed[0]


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
    return _written(begun), begun


def begin(request: TuneRequest) -> Tuning:
    """Check all that can be checked before any work; nothing is made or measured yet."""
    device = find_device(request.device_name, touch=request.touch)
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
        choice: _full(tuning, choice, f"checking {place} of {len(tuning.allowed)}").drop_db
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
            tuning.ledger.add(Tried(_label(before, choice), choice, None, drop, why))
    if before not in kept:
        note(f"{_what(before)} is over the bound: {_what(kept[0])} stands as the default")


def _label(before: Choice, choice: Choice) -> str:
    return f"over the bound: {_what(choice)}"


def _what(choice: Choice) -> str:
    return f"{choice.target} {choice.preset}"


def _full(tuning: Tuning, choice: Choice, where: str) -> Built:
    if choice not in tuning.full:
        tuning.full[choice] = tuning.workshop.full(choice, where)
    return tuning.full[choice]


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


def _race(tuning: Tuning, names: Sequence[str], files: dict[str, Artifact], where: str) -> Race:
    looks: list[int] = []
    plan = tuning.request.plan

    def measure(running: Sequence[str], launches: int) -> pd.DataFrame:
        looks.append(launches)
        wanted = {name: files[name] for name in running}
        seed = plan.seed + len(looks) - 1
        return tuning.stopwatch.measure(wanted, launches, seed, where)

    return race(
        names, names[0], measure, plan.launches, along=["default"], exact=tuning.stopwatch.counts
    )


def confirm(tuning: Tuning, where: str) -> None:
    """Measure the best anew against the default, both as the line makes them.

    The best of many looks better than it is: only launches that did not choose it can tell. Where
    they do not show that it is faster, the default stays.
    """
    built = _full(tuning, tuning.start, where)
    tuning.ledger.tried["default"].drop_db = built.drop_db
    if tuning.best == tuning.start:
        tuning.ledger.tried["default"].why = "no candidate is shown to be faster: it stays"
        return
    name = difference(tuning.best, tuning.start)
    row = tuning.ledger.tried[name]
    other = _full(tuning, tuning.best, where)
    row.drop_db = other.drop_db
    bound_db = tuning.request.max_psnr_drop_db
    if bound_db is not None and other.drop_db is not None and other.drop_db > bound_db:
        row.why = f"loses {other.drop_db:.3f} dB in full, more than {bound_db:g} dB"
    else:
        ratio = _confirmed_ratio(tuning, built, other, where)
        if ratio.high < 1:
            row.why = f"chosen; measured anew: {as_text(ratio, exact=tuning.ledger.exact)}"
            tuning.ledger.tried["default"].why = f"slower than {name}"
            tuning.confirmed = ratio
            return
        text = as_text(ratio, exact=tuning.ledger.exact)
        row.why = f"not shown to be faster when measured anew: {text}"
    tuning.best = tuning.start
    tuning.ledger.tried["default"].why = "it stays: no candidate is confirmed to be faster"


def _confirmed_ratio(tuning: Tuning, built: Built, other: Built, where: str) -> Estimate:
    if built.optimized.sha256 == other.optimized.sha256:
        return Estimate(1.0, 1.0, 1.0, 0)
    plan = tuning.request.plan
    files = {"default": built.optimized, "best": other.optimized}
    measured = tuning.stopwatch.measure(files, plan.launches, plan.seed + CONFIRMING, where)
    both = measured.dropna()
    if tuning.stopwatch.counts and len(both):
        value = float(both["best"].iloc[-1] / both["default"].iloc[-1])
        return Estimate(value, value, value, len(both))
    return paired_ratio(both["best"], both["default"])


def _written(tuning: Tuning) -> Tuned:
    """Write what was chosen beside the line, with the table of what was tried."""
    request, info, plain = tuning.request, tuning.stopwatch.info, tuning.workshop.plain
    shape = image_input(load_graph(plain.path), plain.path).shape
    built = tuning.full[tuning.best]
    ratio = tuning.confirmed or Estimate(1.0, 1.0, 1.0, 0)
    tuned_on = TunedOn(
        model=plain.model,
        model_sha256=plain.sha256,
        input_shape="x".join(map(str, shape)),
        device=info.name,
        device_id=info.device_id,
        abi=info.abi,
        metric=tuning.stopwatch.plan.metric,
        onnxruntime=metadata.version("onnxruntime"),
        mofa_deploy=metadata.version("mofa-deploy"),
        optimized_sha256=built.optimized.sha256,
        ratio=round(ratio.value, 6),
        ratio_low=round(ratio.low, 6),
        ratio_high=round(ratio.high, 6),
        emulated_cpu=info.emulated_cpu,
        max_psnr_drop_db=request.max_psnr_drop_db,
        psnr_drop_db=None if built.drop_db is None else round(built.drop_db, 4),
    )
    path = request.build / file_name(plain.model, info)
    tuned = Tuned(tuning.best, tuned_on, tuning.ledger.records(), path)
    write_tuned(tuned)
    return tuned


def file_name(model: str, info: DeviceInfo) -> str:
    """Give the name of the file that holds what a device chose for a model."""
    device = re.sub(r"[^a-z0-9]+", "-", info.name.lower()).strip("-")
    return f"{model}.tuned-{device}.toml"
