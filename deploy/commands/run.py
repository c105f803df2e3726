"""The whole line in one go."""

from collections.abc import Sequence
from pathlib import Path

from android_bench.devices import find_timed_device
from android_bench.plan import BenchPlan
from deploy.commands.bench import bench_artifacts
from deploy.commands.mix import Bounds
from deploy.commands.progress import note
from deploy.commands.quantize import quantize_model
from deploy.commands.report import report_paths, report_sessions, show_report
from deploy.commands.show import Made, artifact_record, print_json, show_artifacts
from deploy.commands.stages import export_model, optimize_model
from deploy.placement import host_target
from deploy.spec import ModelSpec
from deploy.tuning import Tuned
from reports.report import ReportFiles

PHONE_TARGET = "arm-cpu"


def run_line(
    spec: ModelSpec,
    build: Path,
    *,
    data: Path | None,
    crops: int,
    seed: int,
    held_out: Path | None,
    device_name: str,
    plan: BenchPlan,
    force: bool,
    pad: bool = False,
    tuned: Tuned | None = None,
) -> tuple[list[Made], ReportFiles]:
    """Export, quantize for a phone and for this machine, optimize both, measure, report.

    Only graphs that fit this machine are measured on it; the phone's are made and judged.

    Args:
        tuned: what a device chose: its forms, its preset, and its target in place of the phone's.
    """
    device = find_timed_device(device_name)  # an unknown one shall not cost minutes before bench
    if tuned is not None and device.info().device_id != tuned.tuned_on.device_id:
        note(f"{tuned.path} was tuned on {tuned.tuned_on.device}, not on {device_name}")
    other = PHONE_TARGET if tuned is None else tuned.choice.target
    targets = list(dict.fromkeys((host_target().name, other)))
    made: list[Made] = [
        export_model(spec, build, held_out=held_out, dynamic=False, pad=pad, force=force)
    ]
    made += quantize_model(
        made[0][0].path,
        build,
        targets=targets,
        data=data,
        crops=crops,
        seed=seed,
        held_out=held_out,
        bounds=Bounds(),
        force=force,
        preset="fast" if tuned is None else tuned.choice.preset,
        tuned=tuned,
    )
    quantized = [artifact for artifact, _ in made if artifact.target]
    made += [
        optimize_model(one.path, build, target=None, held_out=held_out, force=force)
        for one in quantized
    ]
    fitting = [one.path for one, _ in made if one.target in (None, targets[0])]
    folder = bench_artifacts(
        fitting,
        build,
        model=None,
        device_name=device_name,
        plan=plan,
        held_out=held_out,
        force=force,
    )
    return made, report_sessions([folder], build)


def show_run(made: Sequence[Made], files: ReportFiles, as_json: bool) -> None:
    """Print every artifact, the measured table, and where the report is."""
    if as_json:
        artifacts = [artifact_record(one) for one in made]
        print_json({"artifacts": artifacts, "report": report_paths(files)})
        return
    show_artifacts(made, as_json)
    show_report(files, as_json)
