"""The commands that measure and judge: devices, bench, report. Heavy packages load inside them."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli_options import (
    BUILD,
    Force,
    HeldOut,
    Json,
    Out,
    Seed,
)

app = typer.Typer(rich_markup_mode=None)

Devices = Annotated[
    str,
    typer.Option(
        "--device",
        help="names of `mofa-deploy devices` by commas; phone: the only one; all: every phone",
    ),
]
UntilInterval = Annotated[
    float | None,
    typer.Option(
        help="end early once the 95 % interval of every median is within so many % of it",
        metavar="PCT",
    ),
]
Cores = Annotated[
    str | None,
    typer.Option(
        help="to run on: big, all, little or a hexadecimal mask  [default: big on a phone]",
        metavar="CORES",
    ),
]
StrictProvider = Annotated[
    bool,
    typer.Option("--strict-provider", help="fail where a provider takes nothing of a graph"),
]
NoTouch = Annotated[
    bool, typer.Option("--no-touch", help="change no setting of a phone, not even for a while")
]
Keep = Annotated[bool, typer.Option("--keep", help="leave on the phone what was put there")]
Resume = Annotated[
    bool, typer.Option("--resume", help="go on with the session that was interrupted last")
]


@app.command(epilog="Example: mofa-deploy devices")
def devices(json: Json = False) -> None:
    """List the devices that can be measured on, and those that are seen but cannot."""
    from dataclasses import asdict

    from android_bench.devices import list_devices
    from deploy.commands.show import show_rows

    show_rows([asdict(one) for one in list_devices()], json)


@app.command(epilog="Example: mofa-deploy bench --device host --launches 10")
def bench(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="model files; left out: the whole line in --out", metavar="FILE..."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="which model, where --out holds several")
    ] = None,
    device: Devices = "host",
    cpu: Annotated[
        str | None,
        typer.Option(
            help="core that arm64 emulates: a53, a76 or i8mm  [default: a76]", metavar="CORE"
        ),
    ] = None,
    provider: Annotated[
        str, typer.Option(help="of ONNX Runtime, several separated by commas: cpu, nnapi, xnnpack")
    ] = "cpu",
    launches: Annotated[
        int | None, typer.Option(help="fresh processes per graph  [default: 8; arm64: 1]")
    ] = None,
    until_interval: UntilInterval = None,
    seconds: Annotated[
        float | None, typer.Option(help="steady sampling per launch, in s  [default: 1]")
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(help="inferences kept apart before sampling  [default: 3; arm64: 0]"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="threads of the runtime  [default: 2; arm64: 1 alone]")
    ] = None,
    cores: Cores = None,
    memory: Annotated[
        bool | None,
        typer.Option(
            "--memory/--no-memory",
            help="one more launch of each graph, which reads its memory  [default: but for arm64]",
        ),
    ] = None,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="one more, with the time, or the instructions, of every node"
        ),
    ] = False,
    strict_provider: StrictProvider = False,
    no_touch: NoTouch = False,
    keep: Keep = False,
    cooldown: Annotated[
        float | None, typer.Option(help="pause before each launch, in s  [default: 0]")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="bound on one launch, in s  [default: 120; arm64: 1800]")
    ] = None,
    seed: Seed = 0,
    held_out: HeldOut = None,
    out: Out = BUILD,
    resume: Resume = False,
    force: Force = False,
    json: Json = False,
) -> None:
    """Measure latency and peak memory: fresh processes, interleaved, every sample kept.

    Interrupted? The same command goes on where it stopped, and so does --resume alone.

    --device arm64 emulates a phone's core and counts the instructions of each graph in place of
    time: exact, the same again to 1e-5, and no phone is needed. It sees no memory traffic, no
    threads, no clock and no accelerator: fewer instructions are not always less time.
    """
    from deploy.commands.bench import BenchRequest, bench_and_show
    from deploy.commands.bench_plans import Asked, plans_for

    asked = Asked(
        launches=launches,
        until_interval=until_interval,
        seconds=seconds,
        warmup=warmup,
        threads=threads,
        cores=cores,
        memory=memory,
        profile=profile,
        strict_provider=strict_provider,
        cooldown=cooldown,
        timeout=timeout,
        seed=seed,
    )
    plan, counting = plans_for(device, asked)
    request = BenchRequest(
        tuple(sources or ()),
        out,
        model,
        device,
        provider,
        plan,
        held_out,
        force,
        keep,
        not no_touch,
        counting,
        cpu,
    )
    bench_and_show(request, resume=resume, as_json=json)


Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="print one table: terminal, markdown, latex, csv or html",
        metavar="FORMAT",
    ),
]
Unlike = Annotated[
    bool, typer.Option("--force", help="go on where devices or plans differ, and say so")
]


@app.command(epilog="Example: mofa-deploy report --out build")
def report(
    sessions: Annotated[
        list[Path] | None,
        typer.Argument(
            help="folders that bench wrote, or result files of other tools; "
            "left out: the one in --out",
            metavar="FOLDER...",
        ),
    ] = None,
    imports: Annotated[
        list[str] | None,
        typer.Option(
            "--import",
            help="result file of onnxruntime_perf_test, litert_benchmark_model, google_benchmark "
            "or jetpack_benchmark; may be repeated",
            metavar="FORMAT:FILE",
        ),
    ] = None,
    form: Format = None,
    rows: Annotated[
        str | None, typer.Option(help="what tells rows apart, by commas, as in model,device")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="what tells columns apart, as in provider,precision")
    ] = None,
    value: Annotated[
        str | None, typer.Option(help="what to show, as in latency,memory,psnr,speed_up")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(help="only rows of this, as in kind=plain; may be repeated", metavar="N=V"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="shape of a paper's table: mofa-1, mofa-4, thesis-6.2, -6.3, -6.4 or -6.5"
        ),
    ] = None,
    with_paper: Annotated[
        bool, typer.Option("--with-paper", help="with --preset: what the paper prints beside")
    ] = False,
    force: Unlike = False,
    out: Out = BUILD,
    json: Json = False,
) -> None:
    """Write tables and one self-contained HTML page from measured rows; or print one table."""
    from deploy.commands.report import report_sessions, report_table, show_report
    from deploy.commands.tables import TableRequest, show_grid

    request = TableRequest(
        form, rows, columns, value, tuple(where or ()), preset, with_paper, force
    )
    if request.is_asked_for:
        show_grid(report_table(sessions or [], imports or [], out, request), form, json)
        return
    show_report(report_sessions(sessions or [], out, imports or []), json)


@app.command(epilog="Example: mofa-deploy compare old/bench/1 new/bench/2")
def compare(
    base: Annotated[
        str,
        typer.Argument(help="a session folder or result file; or a kind in --out", metavar="A"),
    ],
    other: Annotated[str, typer.Argument(help="what is compared with it", metavar="B")],
    form: Format = None,
    force: Unlike = False,
    out: Out = BUILD,
    json: Json = False,
) -> None:
    """Lay two sessions, or two cases of one, side by side; unlike things are refused."""
    from deploy.commands.compare import compare_named
    from deploy.commands.tables import show_grid

    show_grid(compare_named(base, other, out, form=form, force=force), form, json)
