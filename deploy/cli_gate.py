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


@app.command(epilog="Example: mofa-deploy gate --against last-release --device host --out build")
def gate(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            help="with --against: model files; left out: the line in --out", metavar="FILE..."
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="folder that bench wrote before the change", metavar="FOLDER"),
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
        str, typer.Option(help="a name of `mofa-deploy devices`; phone: the only one")
    ] = "host",
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
        typer.Option("--force", help="compare unlike conditions; with --against, measure again"),
    ] = False,
    json: Json = False,
) -> int:
    """Say whether a change made a model slower, larger or worse, for CI.

    Ends with 0 for pass and improvement, 4 for a regression, 5 where it cannot be told or the
    sides cannot be compared.
    """
    _check(sources, baseline, current, against, json and github)
    from android_bench.plan import BenchPlan
    from deploy.commands.gate import (
        Outputs,
        budgets_of,
        gate_sessions,
        show_verdict,
        with_idle_patterns,
    )
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
            *(out, tolerated, plan, device, provider, held_out, confirm, force, not no_touch)
        )
        verdict = gate_against(against, sources or [], model, request)
    verdict = with_idle_patterns(verdict, tolerated)
    return show_verdict(verdict, Outputs(json, github, junit, github_action_benchmark, bencher))


def _check(
    sources: list[Path] | None,
    baseline: Path | None,
    current: Path | None,
    against: Path | None,
    two_on_stdout: bool,
) -> None:
    """Refuse what fits neither way of using the gate."""
    if two_on_stdout:
        raise UsageError("--json and --github both print", "pass one of them")
    if against is not None and (baseline or current):
        raise UsageError("--against measures both sides", "drop --baseline and --current")
    if against is None and sources:
        raise UsageError("files are given, but no --against", "name the baseline with --against")
    if against is None and (baseline is None or current is None):
        missing = "--baseline" if baseline is None else "--current"
        raise UsageError(f"no {missing}", "pass --baseline and --current, or --against")


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
