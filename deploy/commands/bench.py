"""Measure artifacts on devices, and keep what they make of the held-out photographs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from android_bench.arm64 import NAME as ARM64
from android_bench.arm64_cpus import DEFAULT_CPU
from android_bench.device import Device, DeviceInfo
from android_bench.devices import HOST, find_devices
from android_bench.plan import BenchPlan
from android_bench.programs import Programs
from deploy.artifact import Artifact, current_line, list_artifacts, read_artifact
from deploy.commands.bench_cases import (
    cases_for,
    read_providers,
    require_one_file,
)
from deploy.commands.bench_devices import Job, measure, native_programs
from deploy.commands.bench_devices import resume as go_on
from deploy.commands.images import probe_for_artifact
from deploy.commands.pictures import keep_pictures
from deploy.commands.progress import note
from deploy.errors import ArtifactError, DeviceError, GraphError, MofaError, UsageError
from deploy.fidelity import Probe
from deploy.files import unfinished
from deploy.onnx_file import image_input, load_graph
from deploy.targets import made_for_other_hardware

SESSIONS = "bench"


@dataclass(frozen=True)
class BenchRequest:
    """What the command line asks for.

    Attributes:
        sources: files to measure; none: the line in `build`.
        devices: names, by commas.
        providers: the same.
        plan: of devices with a clock.
        touch: settings of a phone may be changed, and are put back.
        counting: the plan of devices that count instructions; None: as `plan` has it.
        cpu: the core that is emulated; None: the usual one.
    """

    sources: tuple[Path, ...]
    build: Path
    model: str | None
    devices: str
    providers: str
    plan: BenchPlan
    held_out: Path | None = None
    force: bool = False
    keep: bool = False
    touch: bool = True
    counting: BenchPlan | None = None
    cpu: str | None = None


@dataclass(frozen=True)
class Measured:
    """What became of measuring on several devices.

    Attributes:
        folders: the sessions' folders, of the devices that were measured.
        failed: device -> why it was not.
    """

    folders: Sequence[Path]
    failed: Mapping[str, MofaError] = field(default_factory=dict)

    def require_all(self) -> None:
        """Raise the first failure, if there is any.

        Raises:
            MofaError: so it is.
        """
        for error in self.failed.values():
            raise error


def bench_and_show(request: BenchRequest, *, resume: bool, as_json: bool) -> None:
    """Measure what is asked for, or go on with what was interrupted last, and print it.

    Raises:
        MofaError: it cannot be measured; what else could be, is shown first.
    """
    from deploy.commands.report import show_measured

    _require_emulation(request, resume=resume)
    if resume:
        done = Measured(*go_on(request.build / SESSIONS, keep=request.keep, touch=request.touch))
    else:
        providers = read_providers(request.providers)
        done = bench_everywhere(
            request.sources,
            request.build,
            model=request.model,
            devices=find_devices(
                request.devices,
                keep=request.keep,
                touch=request.touch,
                cpu=request.cpu or DEFAULT_CPU,
                on_left_out=note,
            ),
            providers=providers,
            plan=request.plan,
            counting=request.counting,
            held_out=request.held_out,
            force=request.force,
        )
    show_measured(done.folders, as_json, several=len(done.folders) + len(done.failed) > 1)
    done.require_all()


def _require_emulation(request: BenchRequest, *, resume: bool) -> None:
    """Refuse a core to emulate where nothing is emulated, or where it was chosen before."""
    if request.cpu is None:
        return
    if resume:
        raise UsageError("--cpu is that of the interrupted session", "leave it out")
    if ARM64 not in (name.strip() for name in request.devices.split(",")):
        raise UsageError(
            f"--cpu {request.cpu} is of {ARM64}, and --device is {request.devices}",
            f"pass --device {ARM64}, or leave --cpu out",
        )


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
    """Measure the named files, or the whole line of one model in `build`, on the CPU of one device.

    Returns:
        The folder that holds the rows and the restored photographs.

    Raises:
        GraphError: a graph is broken, has dynamic shapes, or takes another input than the rest.
        BenchOutputError: every launch of a graph failed; the rows are kept.
    """
    done = bench_everywhere(
        sources,
        build,
        model=model,
        devices=find_devices(device_name),
        providers=("cpu",),
        plan=plan,
        held_out=held_out,
        force=force,
    )
    done.require_all()
    return done.folders[0]


def bench_everywhere(
    sources: Sequence[Path],
    build: Path,
    *,
    model: str | None,
    devices: Sequence[Device],
    providers: Sequence[str],
    plan: BenchPlan,
    held_out: Path | None,
    force: bool,
    counting: BenchPlan | None = None,
    pictures: bool = True,
    programs: Callable[[Job], Programs] = native_programs,
) -> Measured:
    """Measure the named files, or a line, with each provider on each device; phones side by side.

    A device that fails stops no other.

    Args:
        counting: the plan of a device that counts instructions; None: as `plan` has it.
        pictures: keep what each graph makes of held-out photographs, for a report of times to show.
        programs: gives what has to be on a device.

    Raises:
        GraphError: a graph is broken, has dynamic shapes, or takes another input than the rest.
        UsageError: a file is not for a provider.
    """
    artifacts = [_whole(path) for path in sources] or _line(build, model)
    _require_one_input(artifacts)
    probe = probe_for_artifact(build, artifacts[0], held_out)
    crop = _write_input(probe, build, plan.seed)
    jobs, failed = [], {}
    for device in devices:
        try:
            info = device.info()
            cases = cases_for(artifacts, providers, info, crop, named=bool(sources))
        except (ArtifactError, DeviceError) as error:  # there is nothing for its processor, or gone
            if len(devices) == 1:
                raise
            name = getattr(device, "serial", HOST)
            note(f"{name} failed: {error}")
            failed[name] = error
            continue
        _say_what_is_foreign([case.artifact for case in cases], info)
        jobs.append(Job(device, info, cases, counting if info.emulated_cpu else plan))
    folders, more_failed = measure(jobs, plan, build / SESSIONS, force=force, programs=programs)
    for folder in folders if pictures else ():
        keep_pictures(artifacts, probe, folder)
    return Measured(folders, failed | more_failed)


def _whole(path: Path) -> Artifact:
    artifact = read_artifact(path)
    require_one_file(path)
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


def _say_what_is_foreign(artifacts: Sequence[Artifact], info: DeviceInfo) -> None:
    for path, artifact in {one.path: one for one in artifacts}.items():
        owner = artifact.params.get("valid_for", {}).get("device_id", info.device_id)
        if made_for_other_hardware(artifact.target, info.abi):
            note(
                f"{path} is made for {artifact.target}; "
                f"its latency on {info.name} ({info.abi}) says nothing about that"
            )
        elif owner != info.device_id:
            note(f"{path} was optimized by another device, for itself alone")


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


def _write_input(probe: Probe, build: Path, seed: int) -> Path:
    """Write the crop that every launch is fed, raw little-endian float32; the seed picks it."""
    path = build / SESSIONS / f"input-{seed}.f32"
    with unfinished(path) as temporary:
        # not tofile: its OSError on a full disk does not say what is wrong
        temporary.write_bytes(probe.crops[seed % len(probe.crops)].astype("<f4").tobytes())
    return path
