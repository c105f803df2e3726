"""The commands that measure and judge: devices, bench, report. Heavy packages load inside them."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli_options import (
    BUILD,
    Cooldown,
    Device,
    Force,
    HeldOut,
    Json,
    Launches,
    Out,
    Seconds,
    Seed,
    Threads,
    Timeout,
    Warmup,
)

app = typer.Typer(rich_markup_mode=None)


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
    device: Device = "host",
    launches: Launches = 8,
    seconds: Seconds = 1.0,
    warmup: Warmup = 3,
    threads: Threads = 2,
    cooldown: Cooldown = 0.0,
    timeout: Timeout = 120.0,
    seed: Seed = 0,
    held_out: HeldOut = None,
    out: Out = BUILD,
    force: Force = False,
    json: Json = False,
) -> None:
    """Measure latency and peak memory: fresh processes, interleaved, every sample kept.

    Interrupted? The same command goes on where it stopped.
    """
    from android_bench.plan import BenchPlan
    from deploy.commands.bench import bench_artifacts
    from deploy.commands.report import show_comparison

    plan = BenchPlan(
        launches=launches,
        seconds=seconds,
        warmup=warmup,
        threads=threads,
        cooldown_s=cooldown,
        timeout_s=timeout,
        seed=seed,
    )
    folder = bench_artifacts(
        sources or [],
        out,
        model=model,
        device_name=device,
        plan=plan,
        held_out=held_out,
        force=force,
    )
    show_comparison(folder, json)


@app.command(epilog="Example: mofa-deploy report --out build")
def report(
    sessions: Annotated[
        list[Path] | None,
        typer.Argument(
            help="folders that bench wrote; left out: the one in --out", metavar="FOLDER..."
        ),
    ] = None,
    out: Out = BUILD,
    json: Json = False,
) -> None:
    """Write tables and one self-contained HTML page from measured rows."""
    from deploy.commands.report import report_sessions, show_report

    show_report(report_sessions(sessions or [], out), json)
