"""Files counted by the harness on an emulated core, each as a session of its own.

A session that is finished is not counted again, so that a table can be made anew at no cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from android_bench.arm64 import EmulatedArm
from android_bench.arm64_cpus import Cpu
from android_bench.launch import Case
from android_bench.plan import COUNTING_TIMEOUT_S, BenchPlan
from android_bench.rows import CountRow
from android_bench.session import bench
from deploy.artifact import read_artifact
from deploy.commands.bench_cases import config_of, level_of, require_one_file
from deploy.commands.bench_devices import require_measured
from deploy.files import unfinished
from deploy.onnx_file import image_input, load_graph
from reports.frame import load

KINDS = [name for name in CountRow.__annotations__ if name not in ("run_id", "phase", "iteration")]


@dataclass(frozen=True)
class How:
    """How files are counted.

    Attributes:
        folder: of the sessions.
        level: of ONNX Runtime's optimizations; None: what the file is made for.
        config: session config entries, besides those that the file is made for.
        runs: inferences; the first one allocates, the last one is the steady one.
        timeout_s: for one launch.
        profile: count the nodes too.
        again: also where it was counted before.
    """

    folder: Path
    level: str | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    runs: int = 2
    timeout_s: float = COUNTING_TIMEOUT_S
    profile: bool = False
    again: bool = False


@dataclass(frozen=True)
class Counted:
    """What was counted of one file.

    Attributes:
        cpu: name of the emulated core.
        session, first, steady: each kind of `KINDS` -> how many, while the session is made, in the
            first inference and in the last.
        psnr_vs_host_db: of the output against this machine's ONNX Runtime; None where equal.
        took_s: wall clock of the emulation. Says nothing of any ARM core.
        nodes: of `rows.OpRow`, where the plan profiles.
    """

    model: Path
    cpu: str
    session: Mapping[str, int]
    first: Mapping[str, int]
    steady: Mapping[str, int]
    psnr_vs_host_db: float | None
    output_sha256: str
    took_s: float
    nodes: pd.DataFrame


def count(model: Path, cpu: Cpu, how: How) -> Counted:
    """Count the instructions of one file on one core, or read what was counted of the same before.

    Raises:
        MofaError: it does not run, or its output is not this machine's.
    """
    artifact = read_artifact(model)
    require_one_file(model)
    case = Case(
        artifact,
        _example_input(model, how.folder),
        how.level or level_of(artifact),
        {**config_of(artifact), **how.config},
    )
    plan = BenchPlan(
        launches=1,
        warmup=0,
        seconds=0.0,
        min_runs=max(1, how.runs - 1),
        threads=1,
        timeout_s=how.timeout_s,
        profile_launches=int(how.profile),
        metric="instructions",
    )
    results = bench([case], plan, EmulatedArm(cpu), how.folder, force=how.again)
    require_measured(results)
    return _counted(model, cpu, results)


def _counted(model: Path, cpu: Cpu, results: Path) -> Counted:
    frames = load(results)
    run = frames.runs[frames.runs["mode"] == "count"].iloc[-1]
    by_phase = {
        phase: {name: int(rows[name].iloc[-1]) for name in KINDS}
        for phase, rows in frames.counts.groupby("phase")
    }
    psnr_db = run["output_vs_host_psnr_db"]
    return Counted(
        model,
        cpu.name,
        **by_phase,
        psnr_vs_host_db=None if pd.isna(psnr_db) else float(psnr_db),
        output_sha256=run["output_sha256"],
        took_s=run["duration_ns"] / 1e9,
        nodes=frames.ops,
    )


def _example_input(model: Path, folder: Path) -> Path:
    """Write seeded values in [0, 1) of the input's shape; counts do not depend on them."""
    shape = image_input(load_graph(model), model).shape
    path = folder / f"input-{'x'.join(map(str, shape))}.f32"
    with unfinished(path) as temporary:
        np.random.default_rng(0).random(shape, dtype=np.float32).tofile(temporary)
    return path
