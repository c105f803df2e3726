"""The commands that judge a change: gate, gate-learn. Heavy packages load inside them."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli_measure import Cores, NoTouch, StrictProvider
from deploy.cli_options import (
    BUILD,
    Cooldown,
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
from deploy.errors import UsageError

app = typer.Typer(rich_markup_mode=None)

LATENCY, INSTRUCTIONS = "latency", "instructions"
HOST, ARM64 = "host", "arm64"
DEFAULT_CPU = "a76"
# parameters that say how a time is taken
OF_A_CLOCK = (
    *("against", "confirm", "provider", "launches", "seconds", "warmup", "threads", "cores"),
    *("strict_provider", "no_touch", "cooldown", "timeout", "seed"),
)


@app.command(epilog="Example: mofa-deploy gate --against last-release --device host --out build")
def gate(
    context: typer.Context,
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            help="model files to measure; left out: the line in --out", metavar="FILE..."
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="folder that bench wrote before the change; of instructions: a JSON file",
            metavar="PATH",
        ),
    ] = None,
    current: Annotated[
        Path | None, typer.Option(help="folder that bench wrote after it", metavar="FOLDER")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            help="measure both sides, interleaved: artifacts of the baseline, or a model file",
            metavar="REF",
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            help="latency, with memory, size and quality; or instructions, counted on arm64"
        ),
    ] = LATENCY,
    cpu: Annotated[
        str | None,
        typer.Option(help="of instructions: the emulated core, a53, a76 or i8mm  [default: a76]"),
    ] = None,
    rebaseline: Annotated[
        bool,
        typer.Option("--rebaseline", help="of instructions: write --baseline anew, judge nothing"),
    ] = False,
    budgets: Annotated[
        Path | None,
        typer.Option(help="what is tolerated  [default: budgets.toml, if there]", metavar="FILE"),
    ] = None,
    confirm: Annotated[
        bool,
        typer.Option(help="with --against: measure a suspected regression again before failing"),
    ] = True,
    junit: Annotated[Path | None, typer.Option(help="write JUnit XML", metavar="FILE")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="print GitHub annotations, and fill the step summary")
    ] = False,
    github_action_benchmark: Annotated[
        Path | None, typer.Option(help="write its customSmallerIsBetter JSON", metavar="FILE")
    ] = None,
    bencher: Annotated[
        Path | None, typer.Option(help="write Bencher Metric Format JSON", metavar="FILE")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="which model, where --out holds several")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="a name of `mofa-deploy devices`; phone: the only one  [default: host; of "
            "instructions: arm64]"
        ),
    ] = None,
    provider: Annotated[str, typer.Option(help="of ONNX Runtime: cpu, nnapi or xnnpack")] = "cpu",
    launches: Launches = 8,
    seconds: Seconds = 1.0,
    warmup: Warmup = 3,
    threads: Threads = 2,
    cores: Cores = None,
    strict_provider: StrictProvider = False,
    no_touch: NoTouch = False,
    cooldown: Cooldown = 0.0,
    timeout: Timeout = 120.0,
    seed: Seed = 0,
    held_out: HeldOut = None,
    out: Out = BUILD,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="compare unlike conditions; with --against or instructions, measure again",
        ),
    ] = False,
    json: Json = False,
) -> int:
    """Say whether a change made a model slower, larger, worse or heavier, for CI.

    With --metric instructions no phone is needed: they are counted on --device arm64, under
    emulation, and held against a committed file, exactly and without statistics. They see no memory
    traffic, no threads, no clock and no accelerator.

    Ends with 0 for pass and improvement, 4 for a regression, 5 where it cannot be told or the
    sides cannot be compared.
    """
    from deploy.commands.gate import Outputs, budgets_of, gate_sessions, show_verdict
    from deploy.commands.gate import with_idle_patterns as with_idle

    if json and github:
        raise UsageError("--json and --github both print", "pass one of them")
    outputs = Outputs(json, github, junit, github_action_benchmark, bencher)
    if metric == INSTRUCTIONS:
        from deploy.commands.counting import Counting
        from deploy.commands.gate_counts import CountRequest, gate_counts, write_anew

        place = _checked_counting(context, baseline, current, sources)
        files = tuple(sources or ())
        counting = Counting(out, files, model, cpu or DEFAULT_CPU, held_out, force)
        wanted = CountRequest(place, counting, current)
        if rebaseline:
            return write_anew(wanted, json)
        return show_verdict(gate_counts(wanted, budgets_of(budgets)), outputs)
    _check_timing(metric, device, cpu, rebaseline=rebaseline)
    _check(sources, baseline, current, against)
    from android_bench.plan import BenchPlan
    from deploy.commands.gate_against import GateRequest, gate_against

    tolerated = budgets_of(budgets)
    if against is None:
        assert baseline is not None and current is not None
        verdict = gate_sessions(baseline, current, tolerated, force=force)
    else:
        plan = BenchPlan(
            launches=launches,
            seconds=seconds,
            warmup=warmup,
            threads=threads,
            cooldown_s=cooldown,
            timeout_s=timeout,
            seed=seed,
            cores=cores,
            strict_provider=strict_provider,
        )
        request = GateRequest(
            *(out, tolerated, plan, device or HOST, provider),
            *(held_out, confirm, force, not no_touch),
        )
        verdict = gate_against(against, sources or [], model, request)
    return show_verdict(with_idle(verdict, tolerated), outputs)


def _check(
    sources: list[Path] | None,
    baseline: Path | None,
    current: Path | None,
    against: Path | None,
) -> None:
    """Refuse what fits neither way of using the gate."""
    if against is not None and (baseline or current):
        raise UsageError("--against measures both sides", "drop --baseline and --current")
    if against is None and sources:
        raise UsageError("files are given, but no --against", "name the baseline with --against")
    if against is None and (baseline is None or current is None):
        missing = "--baseline" if baseline is None else "--current"
        raise UsageError(f"no {missing}", "pass --baseline and --current, or --against")


def _check_timing(metric: str, device: str | None, cpu: str | None, *, rebaseline: bool) -> None:
    """Refuse what is for counting, where nothing is counted."""
    if metric != LATENCY:
        raise UsageError(f"metric {metric!r} is unknown", f"pass {LATENCY} or {INSTRUCTIONS}")
    if device == ARM64:
        raise UsageError(f"{ARM64} has no clock", "pass --metric instructions and --baseline FILE")
    if cpu is not None or rebaseline:
        given = "--rebaseline" if rebaseline else "--cpu"
        raise UsageError(f"{given} is of counted instructions", "pass --metric instructions")


def _checked_counting(
    context: typer.Context,
    baseline: Path | None,
    current: Path | None,
    sources: list[Path] | None,
) -> Path:
    """Refuse what is of a device with a clock, or said twice; give the baseline."""
    for name in OF_A_CLOCK:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = name.replace("_", "-")
            raise UsageError(f"--{option} means nothing where instructions are counted", "drop it")
    device = context.params["device"]
    if device not in (None, ARM64):
        raise UsageError(f"{device} counts no instructions", f"drop --device, it is {ARM64}")
    if baseline is None:
        raise UsageError("no --baseline", "name the JSON file; --rebaseline writes it")
    if current is not None and sources:
        raise UsageError("files and --current are both given", "pass one of them")
    return baseline


@app.command("gate-learn", epilog="Example: mofa-deploy gate-learn build/bench/one build/bench/two")
def gate_learn(
    sessions: Annotated[
        list[Path],
        typer.Argument(
            help="folders that bench wrote of files that did not change", metavar="FOLDER..."
        ),
    ],
    launches: Launches = 8,
    json: Json = False,
) -> None:
    """Suggest budgets from recorded launches, as lines for a budgets.toml; changes nothing.

    The noise of each case decides: the budget that one gate in a hundred would exceed by chance.
    """
    from deploy.commands.gate import show_learned

    show_learned(sessions, launches, json)
