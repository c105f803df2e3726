"""The command that lets a device choose: tune. Heavy packages load inside it."""

from typing import Annotated

import typer

from deploy.cli_measure import Cores, NoTouch
from deploy.cli_options import (
    BUILD,
    Checkpoint,
    Cooldown,
    Crops,
    Data,
    HeldOut,
    Json,
    Method,
    Out,
    SearchOn,
    Seconds,
    Seed,
    Shape,
    Source,
    Timeout,
    Warmup,
)
from deploy.cli_parse import read_shape
from deploy.errors import UsageError

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog="Example: mofa-deploy tune build/nafnet-tiny.plain.onnx --device host")
def tune(
    source: Source = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="export this one first, where it is not: a name, or package.module:factory"
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    shape: Shape = None,
    device: Annotated[
        str, typer.Option(help="a name of `mofa-deploy devices`; phone: the only one")
    ] = "host",
    cpu: Annotated[
        str | None,
        typer.Option(
            help="core that arm64 emulates: a53, a76 or i8mm  [default: a76]", metavar="CORE"
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="to try, by commas  [default: those of the device's processor]"),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="to try, by commas  [default: fast,accurate]")
    ] = None,
    max_psnr_drop: Annotated[
        float | None,
        typer.Option(help="most dB of PSNR to lose on held-out images", metavar="DB"),
    ] = None,
    method: Method = "auto",
    search_on: SearchOn = None,
    data: Data = None,
    crops: Crops = 1000,
    seed: Seed = 0,
    held_out: HeldOut = None,
    launches: Annotated[
        int, typer.Option(help="fresh processes of a candidate that stays to the end")
    ] = 16,
    seconds: Seconds = 0.5,
    warmup: Warmup = 3,
    threads: Annotated[
        int | None, typer.Option(help="threads of the runtime  [default: 2; arm64: 1 alone]")
    ] = None,
    cores: Cores = None,
    no_touch: NoTouch = False,
    cooldown: Cooldown = 0.0,
    timeout: Timeout = 120.0,
    out: Out = BUILD,
    force: Annotated[
        bool, typer.Option("--force", help="measure again what is measured already")
    ] = False,
    json: Json = False,
) -> None:
    """Measure equal forms of a graph, its types and presets on a device, and write what is best.

    One thing is changed at a time, from the default; a candidate that is shown to be slower gets
    no more launches, and what is not shown to differ stays as it is. With --device arm64 it goes
    by instructions, which are no time. The file that it writes is for --tuned of prepare,
    quantize, optimize and run. Interrupted? The same command goes on.
    """
    from android_bench.plan import BenchPlan
    from deploy.commands.tune import exported, tune
    from deploy.commands.tune_builds import Calibration
    from deploy.commands.tune_state import TuneRequest
    from deploy.commands.tune_table import show_tuned

    if source is not None and (model or checkpoint or shape):
        raise UsageError(f"{source} is given, and what to export", "pass a FILE or --model")
    if cpu is not None and device != "arm64":
        raise UsageError(
            f"--cpu {cpu} is of arm64, and --device is {device}",
            "pass --device arm64, or leave --cpu out",
        )
    core = cpu or "a76"
    if model is None and (checkpoint or shape):
        raise UsageError("--checkpoint or --shape without --model", "pass --model, or a FILE")
    plan = BenchPlan(
        launches=launches,
        seconds=seconds,
        warmup=warmup,
        threads=threads if threads is not None else 1 if device == "arm64" else 2,
        cooldown_s=cooldown,
        timeout_s=timeout,
        seed=seed,
        cores=cores,
    )
    if model is not None:
        source = exported(
            *(model, checkpoint, read_shape(shape), out),
            held_out=held_out,
            device_name=device,
            cpu=core,
        )
    request = TuneRequest(
        source,
        out,
        device,
        plan,
        target,
        preset,
        max_psnr_drop,
        Calibration(data, crops, seed, method, search_on, held_out),
        force,
        not no_touch,
        core,
    )
    show_tuned(*tune(request), json)
