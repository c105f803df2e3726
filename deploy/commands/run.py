"""The whole line in one go."""

from pathlib import Path

from android_bench.plan import BenchPlan
from deploy.commands.bench import bench_artifacts
from deploy.commands.progress import note
from deploy.commands.report import report_sessions
from deploy.commands.show import Made
from deploy.commands.stages import export_model, optimize_model, quantize_model
from deploy.placement import host_target
from deploy.spec import ModelSpec
from reports.report import ReportFiles

PHONE_TARGET = "arm-cpu"
MIN_PSNR_VS_FP32_DB = 20.0  # as `mofa-deploy quantize`


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
) -> ReportFiles:
    """Export, quantize for a phone and for this machine, optimize both, measure, report.

    Only graphs that fit this machine are measured on it.
    """
    targets = list(dict.fromkeys((host_target().name, PHONE_TARGET)))
    made: list[Made] = [export_model(spec, build, held_out=held_out, dynamic=False, force=force)]
    made += quantize_model(
        made[0][0].path,
        build,
        targets=targets,
        data=data,
        crops=crops,
        seed=seed,
        held_out=held_out,
        min_psnr_vs_fp32_db=MIN_PSNR_VS_FP32_DB,
        force=force,
    )
    quantized = [artifact for artifact, _ in made if artifact.target]
    made += [
        optimize_model(one.path, build, target=None, held_out=held_out, force=force)
        for one in quantized
    ]
    for artifact, now in made:
        note(f"{'made' if now else 'there already:'} {artifact.path}")
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
    return report_sessions([folder], build)
