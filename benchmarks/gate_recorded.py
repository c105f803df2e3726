"""Does the gate cry wolf over launches that were really made? A/A gates on a recorded session.

    python benchmarks/gate_recorded.py --record FILE.onnx --launches 160 --csv launches.csv
    python benchmarks/gate_recorded.py --csv launches.csv

Recording launches one file many times, by `bench`, and keeps each launch's median latency and peak
memory in its order. Neighbouring launches are a block; the two arms take turns in going first
(ABBA), as where `gate --against` measures two files. Both arms are the same file, so every alarm is
false. Gates are drawn from the blocks without putting back, each in its order of time, and go
through the same code as the command's. Power is that of a slowdown put into the recorded times.
"""

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from android_bench.plan import BenchPlan
from android_bench.rows import TABLES, DeviceRow, RunRow, SampleRow, column_dtypes
from android_bench.tables import to_frame
from deploy.commands.bench import bench_artifacts
from reports.budgets import DEFAULTS, default_budgets
from reports.frame import Frames, load
from reports.gate import Pair, judge_interleaved, judge_sessions
from reports.rule import IMPROVEMENT, INCONCLUSIVE, PASS, REGRESSION, decide, log_budget
from reports.stats import paired_change

GATES = 200
LAUNCHES = 8
CASES = 12
MIB = 2**20
HERE = DeviceRow("d", "this machine", "?", "?", "?", 1, 1, is_phone=False)


def record(model: Path, launches: int, seconds: float, out: Path) -> pd.DataFrame:
    """Launch a file so often; give latency_ms and peak_rss_mib of the launches in their order."""
    plan = BenchPlan(launches=launches, seconds=seconds, warmup=2, threads=1)
    folder = bench_artifacts(
        [model], out, model=None, device_name="host", plan=plan, held_out=None, force=True
    )
    made = load(folder).launches.sort_values("started_at_utc", ignore_index=True)
    return made[["started_at_utc", "latency_ms", "peak_rss_mib"]]


def frames_of(launches: pd.DataFrame, arms: list[str], session: str = "s") -> Frames:
    """Give launches, two by two, as the rows of a session.

    Args:
        arms: of each launch.
    """
    place = np.arange(len(launches))
    run_ids = [f"{session}/{one}" for one in place]
    runs = pd.DataFrame(
        {
            "run_id": run_ids,
            "session_id": session,
            "case_id": arms,
            "block": place // 2,
            "status": "ok",
            "model": "net",
            "kind": "plain",
            "model_bytes": MIB,
            "device_id": HERE.device_id,
            "provider": "cpu",
            "peak_rss_bytes": (launches["peak_rss_mib"].to_numpy() * MIB).round(),
        }
    )
    latency_ns = (launches["latency_ms"].to_numpy() * 1e6).round()
    samples = pd.DataFrame({"run_id": run_ids, "phase": "steady", "latency_ns": latency_ns})
    tables = {"runs": _typed(runs, RunRow), "samples": _typed(samples, SampleRow)}
    return Frames(**{**_other_tables(), **tables})


@cache
def _other_tables() -> dict[str, pd.DataFrame]:
    empty = {name: to_frame(row_type, []) for name, row_type in TABLES.items()}
    return {**empty, "devices": to_frame(DeviceRow, [HERE])}


def _typed(frame: pd.DataFrame, row_type: type) -> pd.DataFrame:
    dtypes = column_dtypes(row_type)
    return frame.reindex(columns=list(dtypes)).astype(dtypes)


def abba(n: int) -> list[str]:
    """Give the arm of each of n launches: which one goes first alternates from block to block."""
    return [("a", "b", "b", "a")[place % 4] for place in range(n)]


def slowed(launches: pd.DataFrame, arms: list[str], effect: float) -> pd.DataFrame:
    """Give the launches with those of arm b slower."""
    factor = np.where(np.array(arms) == "b", 1 + effect, 1.0)
    return launches.assign(latency_ms=launches["latency_ms"] * factor)


def interleaved(chosen: pd.DataFrame, effect: float) -> str:
    """Judge one gate of paired launches; give its verdict."""
    arms = abba(len(chosen))
    frames = frames_of(slowed(chosen, arms, effect), arms)
    return judge_interleaved(frames, {"net/plain": Pair("a", "b")}, default_budgets()).verdict


def in_two_sessions(chosen: pd.DataFrame, effect: float) -> str:
    """Judge one gate of launches in two sessions, one after the other; give its verdict."""
    half = len(chosen) // 2
    sides = [
        frames_of(slowed(chosen.iloc[:half], ["a"] * half, effect), ["a"] * half, "s1"),
        frames_of(slowed(chosen.iloc[half:], ["b"] * half, effect), ["b"] * half, "s2"),
    ]
    return judge_sessions(*sides, default_budgets()).verdict


def drawn(rng: np.random.Generator, launches: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give gates of random blocks, in their order of time."""
    blocks = len(launches) // 2
    for _ in range(GATES):
        chosen = np.sort(rng.choice(blocks, LAUNCHES, replace=False))
        yield launches.iloc[(2 * chosen[:, None] + [0, 1]).ravel()]


def consecutive(launches: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Give gates of blocks that followed each other, as they were made, from every other one."""
    for start in range(0, len(launches) - 2 * LAUNCHES + 1, 4):
        yield launches.iloc[start : start + 2 * LAUNCHES]


def many_cases(rng: np.random.Generator, launches: pd.DataFrame, effect: float) -> tuple[int, int]:
    """Judge gates of 12 cases, blocks drawn for each case; the first of them is slower.

    Returns:
        Gates in which the first case is a regression, and gates in which another one is.
    """
    pairs = np.log(launches["latency_ms"].to_numpy())[: len(launches) // 2 * 2].reshape(-1, 2)
    pairs[1::2] = pairs[1::2, ::-1]  # ABBA: column 0 is arm a
    chosen = pairs[rng.integers(0, len(pairs), (GATES, CASES, LAUNCHES))]
    chosen[:, 0, :, 1] += np.log1p(effect)
    change = paired_change(np.exp(chosen[..., 0]), np.exp(chosen[..., 1]))
    budget = DEFAULTS["latency"]
    verdicts = decide(change, log_budget(budget.budget), log_budget(budget.rule_out or np.inf))
    found = verdicts == REGRESSION
    return int(found[:, 0].sum()), int(found[:, 1:].any(axis=-1).sum())


def table(launches: pd.DataFrame, seed: int) -> Iterator[str]:
    """Give what the gates said as lines of Markdown."""
    rng = np.random.default_rng(seed)
    gates = list(drawn(rng, launches))
    windows = list(consecutive(launches))
    kinds = (REGRESSION, INCONCLUSIVE, PASS, IMPROVEMENT)
    yield f"| gates | slowdown | number | {' | '.join(kinds)} |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for name, judge, of, effect in (
        ("blocks drawn by chance", interleaved, gates, 0.0),
        ("blocks drawn by chance", interleaved, gates, 0.1),
        ("blocks in a row", interleaved, windows, 0.0),
        ("two sessions in a row", in_two_sessions, windows, 0.0),
    ):
        said = [judge(one, effect) for one in of]
        shares = " | ".join(f"{100 * said.count(kind) / len(said):.1f} %" for kind in kinds)
        yield f"| {name} | {effect:.0%} | {len(said)} | {shares} |"
    for effect in (0.0, 0.1):
        first, others = many_cases(rng, launches, effect)
        told = first if effect else first + others
        share = f"{100 * told / GATES:.1f} %"
        yield f"| {CASES} cases, latency only | {effect:.0%} | {GATES} | {share} | | | |"


def describe(launches: pd.DataFrame) -> str:
    """Say how many launches there are, and how much they and their blocks differ."""
    logs = np.log(launches["latency_ms"].to_numpy())
    steps = np.diff(logs[: len(logs) // 2 * 2].reshape(-1, 2), axis=1)
    lag = np.corrcoef(logs[:-1], logs[1:])[0, 1]
    return (
        f"{len(launches)} launches, median {launches['latency_ms'].median():.3g} ms, "
        f"sd {100 * logs.std(ddof=1):.2g} %, of ratios of neighbours "
        f"{100 * steps.std(ddof=1):.2g} %, "
        f"greatest over least {np.exp(np.ptp(logs)):.2f}, correlation of neighbours {lag:.2f}."
    )


def main() -> None:
    """Record if asked to; print what the gates said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", type=Path, metavar="FILE.onnx")
    parser.add_argument("--launches", type=int, default=160)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--out", type=Path, default=Path("build/gate-recorded"))
    parser.add_argument("--csv", type=Path, default=Path(__file__).with_suffix(".csv"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.record:
        made = record(arguments.record, arguments.launches, arguments.seconds, arguments.out)
        made.round(6).to_csv(arguments.csv, index=False)
    launches = pd.read_csv(arguments.csv)
    print(describe(launches), end="\n\n")
    print("\n".join(table(launches, arguments.seed)))


if __name__ == "__main__":
    main()
