"""The command line: parse, call, print, return. Heavy packages load inside the commands."""

import errno
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated

import typer

from deploy.cli_gate import app as judging
from deploy.cli_measure import app as measuring
from deploy.cli_options import (
    BUILD,
    Also,
    Attention,
    Checkpoint,
    Crops,
    Data,
    Device,
    Ends,
    Force,
    Gate,
    HeldOut,
    Json,
    Launches,
    LayerNorm,
    Local,
    LocalTrainPx,
    MaxPsnrDrop,
    Method,
    MinPsnr,
    Model,
    NoLayerNorm,
    Out,
    Pad,
    Pipeline,
    Preset,
    SearchOn,
    Seconds,
    Seed,
    Shape,
    Shuffle,
    Source,
    Targets,
    Threads,
    TunedFile,
)
from deploy.cli_parse import read_shape, read_step_weights
from deploy.cli_runtime import app as runtime
from deploy.cli_tune import app as tuning
from deploy.errors import MofaError, OutputError, UsageError

DONE, EXPECTED_ERROR, USAGE_ERROR, BUG = 0, 1, 2, 3

# what only export needs, which a bench machine does without
EXPORT_NEEDS = ("onnxscript", "onnxsim", "safetensors", "torch")

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = typer.Typer(
    name="mofa-deploy",
    help="Take an image-restoration network from PyTorch to a phone: small, fast, measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command(epilog="Example: mofa-deploy models nafnet-tiny --plot build/stages.svg")
def models(
    name: Annotated[
        str | None,
        typer.Argument(help="count this one: a listed name, or package.module:factory"),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(help="a table of the papers: mofa-1, mofa-2, mofa-3, mofa-4, mofa-6, thesis"),
    ] = None,
    identify: Annotated[
        Path | None, typer.Option(help="say which of them a checkpoint belongs to", metavar="FILE")
    ] = None,
    shape: Shape = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="draw where the MACs of NAME are, as .svg", metavar="FILE.svg"),
    ] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="list where the MACs of NAME are, layer by layer")
    ] = False,
    json: Json = False,
) -> None:
    """List the networks that have a name; or count one, or a table; or identify a checkpoint."""
    from deploy.commands.models import show_models

    show_models(
        name, table, identify, shape=read_shape(shape), plot=plot, layers=layers, as_json=json
    )


@app.command(epilog="Example: mofa-deploy export --model nafnet-tiny --out build")
def export(
    model: Model = "nafnet-tiny",
    checkpoint: Checkpoint = None,
    shape: Shape = None,
    pipeline: Pipeline = None,
    pad: Pad = False,
    local: Local = False,
    local_train_px: LocalTrainPx = None,
    no_layernorm: NoLayerNorm = False,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="leave height and width open")] = False,
    held_out: HeldOut = None,
    out: Out = BUILD,
    force: Force = False,
    json: Json = False,
) -> None:
    """Export a network to ONNX and check it against torch."""
    from deploy.commands.show import show_artifacts
    from deploy.commands.stages import export_model, model_spec

    spec = model_spec(
        model,
        checkpoint,
        read_shape(shape),
        pipeline=pipeline,
        local=local,
        local_train_px=local_train_px,
        no_layernorm=no_layernorm,
    )
    made = export_model(spec, out, held_out=held_out, dynamic=dynamic, pad=pad, force=force)
    show_artifacts([made], json)


@app.command(epilog="Example: mofa-deploy prepare build/nafnet-tiny.plain.onnx")
def prepare(
    source: Source = None,
    layernorm: LayerNorm = None,
    shuffle: Shuffle = None,
    gate: Gate = None,
    attention: Attention = None,
    ends: Ends = None,
    tuned: TunedFile = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="list what was rewritten, what not, and why")
    ] = False,
    held_out: HeldOut = None,
    out: Out = BUILD,
    force: Force = False,
    json: Json = False,
) -> None:
    """Rewrite a graph exactly, into forms that run and quantize well; quantize does it too.

    The forms of a thing are equal, and differ in speed: auto chooses, keep leaves it as it is.
    """
    from deploy.commands.explain import show_prepared
    from deploy.commands.stages import prepare_model
    from deploy.commands.tuned import tuned_from

    asked = {"layernorm": layernorm, "shuffle": shuffle, "gate": gate}
    asked |= {"attention": attention, "ends": ends}
    known = tuned_from(tuned)
    made = prepare_model(source, out, asked=asked, tuned=known, held_out=held_out, force=force)
    show_prepared(made, explain=explain, as_json=json)


@app.command(epilog="Example: mofa-deploy quantize --target arm-cpu,x86 --data photos/train")
def quantize(
    source: Source = None,
    target: Targets = None,
    preset: Preset = None,
    tuned: TunedFile = None,
    method: Method = "auto",
    search_on: SearchOn = None,
    data: Data = None,
    crops: Crops = 1000,
    seed: Seed = 0,
    held_out: HeldOut = None,
    min_psnr_vs_fp32: MinPsnr = 20.0,
    max_psnr_drop: MaxPsnrDrop = None,
    also: Also = None,
    out: Out = BUILD,
    force: Force = False,
    json: Json = False,
) -> None:
    """Calibrate once on training crops and quantize, for each target."""
    from deploy.commands.comparison import comparison_forms, make_comparisons
    from deploy.commands.mix import Bounds
    from deploy.commands.quantize import quantize_model
    from deploy.commands.show import show_artifacts
    from deploy.commands.tuned import given_or, tuned_from

    forms, known = comparison_forms(also), tuned_from(tuned)
    results = quantize_model(
        source,
        out,
        targets=given_or(target, known, "target", "arm-cpu").split(","),
        preset=given_or(preset, known, "preset", "fast"),
        tuned=known,
        method=method,
        search_on=search_on,
        data=data,
        crops=crops,
        seed=seed,
        held_out=held_out,
        bounds=Bounds(min_psnr_vs_fp32, max_psnr_drop),
        force=force,
    )
    if forms:
        results += make_comparisons(forms, results, source, out, held_out=held_out, force=force)
    show_artifacts(results, json)


@app.command(epilog="Example: mofa-deploy optimize build/nafnet-tiny.int8-arm-cpu.onnx")
def optimize(
    source: Source = None,
    target: Annotated[str | None, typer.Option(help="hardware  [default: the file's own]")] = None,
    tuned: TunedFile = None,
    formats: Annotated[
        str,
        typer.Option("--format", help="onnx, or onnx,ort: ONNX Runtime's own format besides"),
    ] = "onnx",
    device: Annotated[
        str | None,
        typer.Option(help="let this one's own ONNX Runtime do it: for this device alone"),
    ] = None,
    held_out: HeldOut = None,
    out: Out = BUILD,
    force: Force = False,
    json: Json = False,
) -> None:
    """Save the graph as ONNX Runtime optimizes it for one target, and say what fused.

    Takes int8 and fp32 files. With the .ort file come the configs for a reduced build of ONNX
    Runtime that can run it. With --device it lies in OUT/on/DEVICE.
    """
    from deploy.commands.audit import show_fusion
    from deploy.commands.show import show_artifacts
    from deploy.commands.stages import optimize_formats
    from deploy.commands.tuned import tuned_from

    known = tuned_from(tuned)
    if device is not None:
        from deploy.commands.optimize_on import optimize_on

        where = (source, out, device)
        target = target or (known.choice.target if known else None)
        there = optimize_on(*where, target=target, formats=formats, held_out=held_out, force=force)
        show_artifacts([there], json)
        return
    made = optimize_formats(
        *(source, out),
        target=target,
        formats=formats.split(","),
        held_out=held_out,
        force=force,
        tuned=known,
    )
    show_artifacts(made, json)
    if not json:
        show_fusion(made[0][0])


@app.command(epilog="Example: mofa-deploy audit build/nafnet-tiny.int8-arm-cpu.onnx --strict")
def audit(
    source: Annotated[Path, typer.Argument(help="any .onnx or .ort file", metavar="FILE")],
    target: Annotated[
        str | None, typer.Option(help="hardware  [default: the file's own, or by its types]")
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="fail on float convolutions or too many Q and DQ left"),
    ] = False,
    instructions: Annotated[
        bool,
        typer.Option(
            "--instructions", help="count what each node executes on an emulated ARM core, too"
        ),
    ] = False,
    cpu: Annotated[
        str | None,
        typer.Option(
            help="with --instructions: the core, a53, a76 or i8mm  [default: a76]", metavar="CORE"
        ),
    ] = None,
    out: Out = BUILD,
    json: Json = False,
) -> None:
    """Say what runs in integers, and of each operator that does not, why.

    With --strict, fails where a convolution between the first and the last is in float, or one of
    those two unless on purpose, or more than 2 Q and DQ for each normalization plus 4 are left.
    """
    from deploy.commands.audit import audit_file, require_fused, show_audit

    if cpu is not None and not instructions:
        raise UsageError("--cpu is of --instructions", "pass both, or leave --cpu out")
    found = audit_file(source, target)
    counts = None
    if instructions:
        from deploy.commands.audit_counts import count_nodes

        counts = count_nodes(found, out, cpu or "a76")
    show_audit(found, json, counts)
    if strict:
        require_fused(found)


app.add_typer(measuring)
app.add_typer(runtime)
app.add_typer(judging)
app.add_typer(tuning)


@app.command(epilog="Example: mofa-deploy run --model nafnet-tiny --device host")
def run(
    model: Model = "nafnet-tiny",
    checkpoint: Checkpoint = None,
    shape: Shape = None,
    pipeline: Pipeline = None,
    pad: Pad = False,
    local: Local = False,
    local_train_px: LocalTrainPx = None,
    no_layernorm: NoLayerNorm = False,
    tuned: TunedFile = None,
    data: Data = None,
    crops: Crops = 1000,
    seed: Seed = 0,
    held_out: HeldOut = None,
    device: Device = "host",
    launches: Launches = 8,
    seconds: Seconds = 1.0,
    threads: Threads = 2,
    out: Out = BUILD,
    force: Force = False,
    json: Json = False,
) -> None:
    """Do the whole line: export, quantize, optimize, bench, report.

    Quantizes for a phone's CPU and, where that is another, for this machine, which is measured.
    """
    from android_bench.plan import BenchPlan
    from deploy.commands.run import run_line, show_run
    from deploy.commands.stages import model_spec
    from deploy.commands.tuned import tuned_from

    made, files = run_line(
        model_spec(
            model,
            checkpoint,
            read_shape(shape),
            pipeline=pipeline,
            local=local,
            local_train_px=local_train_px,
            no_layernorm=no_layernorm,
        ),
        out,
        pad=pad,
        data=data,
        crops=crops,
        seed=seed,
        held_out=held_out,
        device_name=device,
        plan=BenchPlan(launches=launches, seconds=seconds, threads=threads, seed=seed),
        force=force,
        tuned=tuned_from(tuned),
    )
    show_run(made, files, json)


@app.command(epilog="Example: mofa-deploy roadmap nafnet-tiny --device host --launches 10")
def roadmap(
    model: Annotated[
        str, typer.Argument(help="a name of `mofa-deploy models`, or package.module:factory")
    ],
    checkpoint: Checkpoint = None,
    shape: Shape = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="trained weights of a step, as STEP=FILE; may be repeated"),
    ] = None,
    threshold: Annotated[
        int, typer.Option(help="convolved channels from which a convolution becomes depthwise")
    ] = 32,
    held_out: HeldOut = None,
    device: Device = "host",
    launches: Launches = 8,
    seconds: Seconds = 1.0,
    threads: Threads = 2,
    seed: Seed = 0,
    out: Out = BUILD,
    force: Force = False,
    json: Json = False,
) -> None:
    """Take a U-Net-like network along the MOFA roadmap and measure every step.

    Ends with the step that is fastest on this device, which is not always the paper's choice.
    """
    from android_bench.plan import BenchPlan
    from deploy.commands.roadmap import run_roadmap, show_roadmap
    from deploy.commands.stages import model_spec

    result = run_roadmap(
        model_spec(model, checkpoint, read_shape(shape)),
        out,
        weights=read_step_weights(weights or []),
        threshold=threshold,
        held_out=held_out,
        device_name=device,
        plan=BenchPlan(launches=launches, seconds=seconds, threads=threads, seed=seed),
        force=force,
    )
    show_roadmap(result, json)


def run_app(arguments: list[str]) -> int:
    """Run one command line and give its exit code; errors are said here and nowhere else."""
    from typer.exceptions import TyperException

    try:
        code = app(args=arguments or ["--help"], standalone_mode=False)
    except MofaError as error:
        return _say(error, EXPECTED_ERROR)
    except TyperException as error:
        hint = "`mofa-deploy --help` and `mofa-deploy COMMAND --help` list what there is"
        return _say(UsageError(error.format_message().rstrip("."), hint), USAGE_ERROR)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            where = error.filename or tempfile.gettempdir()
            return _say(OutputError(f"no space left in {where}", "free some"), EXPECTED_ERROR)
        if isinstance(error, ModuleNotFoundError) and error.name in EXPORT_NEEDS:
            extra = "pip install 'mofa-deploy[export]'"
            return _say(UsageError(f"this needs {error.name}", extra), EXPECTED_ERROR)
        traceback.print_exc()
        print(
            "this is a bug in mofa-deploy: please report it with the lines above", file=sys.stderr
        )
        return BUG
    return code if isinstance(code, int) else DONE


def _say(error: MofaError, code: int) -> int:
    """Print an error as one line."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return code


def main() -> None:
    """Run the command line of this process."""
    sys.exit(run_app(sys.argv[1:]))


if __name__ == "__main__":
    main()
