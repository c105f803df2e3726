"""The MOFA roadmap as a tool: build each step of a network, measure all of them interleaved."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from android_bench.devices import find_timed_device
from android_bench.plan import BenchPlan
from deploy.commands.bench import bench_artifacts
from deploy.commands.progress import bar, note
from deploy.commands.show import console, print_json
from deploy.commands.stages import export_model, prepare_model
from deploy.errors import UsageError
from deploy.files import unfinished
from deploy.spec import ModelSpec
from deploy.zoo.complexity import measure_complexity
from deploy.zoo.roadmap import PMRID_THRESHOLD, branching_steps
from reports.frame import load
from reports.roadmap import Step, fastest, render_markdown, render_rich, roadmap_table

if TYPE_CHECKING:
    from torch import nn

BASELINE = "baseline"


def run_roadmap(
    spec: ModelSpec,
    build: Path,
    *,
    weights: Mapping[str, Path],
    threshold: int = PMRID_THRESHOLD,
    held_out: Path | None,
    device_name: str,
    plan: BenchPlan,
    force: bool,
) -> dict[str, Any]:
    """Build, export and measure the steps of one network's roadmap.

    Args:
        weights: step -> checkpoint of that step. The baseline has the spec's own. A step without
            one has seeded weights: its time is real, its quality is left out.

    Returns:
        Rows of the table, the fastest step and those not told from it, and the session's folder.

    Raises:
        UsageError: the network is not U-Net-like, or weights are given for no step.
    """
    find_timed_device(device_name)  # before minutes of work
    batch, channels, height, width = spec.inputs[0].shape
    shape = (batch, channels, height, width)
    networks = branching_steps(spec.factory, threshold=threshold, input_shape=shape)
    unknown = sorted(set(weights) - set(networks))
    if unknown:
        raise UsageError(f"weights for unknown step {unknown[0]!r}", f"use {', '.join(networks)}")
    checkpoints = {BASELINE: spec.checkpoint, **weights}
    steps, files = [], []
    with bar("building the steps", len(networks), "steps") as built:
        for done, (name, network) in enumerate(networks.items(), 1):
            step_spec = replace(
                spec,
                name=spec.name if name == BASELINE else f"{spec.name}-roadmap-{name}",
                factory=partial(_same, network),
                source=f"{spec.source}; roadmap step {name}, threshold {threshold}",
                checkpoint=checkpoints.get(name),
            )
            files.append(_prepared(step_spec, build, held_out, force))
            steps.append(_step(name, step_spec, network))
            built(done)
    folder = bench_artifacts(
        files,
        build,
        model=None,
        device_name=device_name,
        plan=plan,
        held_out=held_out,
        force=force,
    )
    return _result(folder, steps, build / f"{spec.name}-roadmap.md")


def _same(network: "nn.Module") -> "nn.Module":
    return network


def _prepared(spec: ModelSpec, build: Path, held_out: Path | None, force: bool) -> Path:
    plain, _ = export_model(spec, build, held_out=held_out, dynamic=False, force=force)
    fp32, _ = prepare_model(plain.path, build, held_out=held_out, force=force)
    return fp32.path


def _step(name: str, spec: ModelSpec, network: "nn.Module") -> Step:
    counted = measure_complexity(network, [spec.inputs[0].shape])
    return Step(name, spec.name, counted.macs, counted.thop_macs, counted.params)


def _result(folder: Path, steps: Sequence[Step], markdown: Path) -> dict[str, Any]:
    frames = load(folder)
    table = roadmap_table(frames, steps)
    best, ties = fastest(frames, steps)
    with unfinished(markdown) as temporary:
        temporary.write_text(render_markdown(table))
    return {
        "table": table,
        "fastest": best.name,
        "not_told_apart": [step.name for step in ties],
        "session": folder,
        "markdown": markdown,
    }


def show_roadmap(result: Mapping[str, Any], as_json: bool) -> None:
    """Print the table and what it ends with."""
    table = result["table"]
    if as_json:
        import json

        print_json({**result, "table": json.loads(table.to_json(orient="records"))})
        return
    console().print(render_rich(table))
    ties = result["not_told_apart"]
    also = f" (not told apart from {', '.join(ties)}: more --launches may)" if ties else ""
    console().print(f"fastest on this device: {result['fastest']}{also}", highlight=False)
    console().print(f"table: {result['markdown']}\nrows: {result['session']}", highlight=False)
    note("float graphs after exact rewrites; PSNR where a step has --weights and --held-out images")
