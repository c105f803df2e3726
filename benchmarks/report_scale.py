"""How long does a long history take to load, summarise and print, and how much memory?

    python benchmarks/report_scale.py

Makes a history of 50 sessions in a temporary folder, 20 cases in each, 10 launches a case, 100
steady inferences a launch: 10,000 launches, 1,000,000 samples, seeded. A fresh process then loads
it, summarises it, and draws its tables in every format; the time is of the wall, from the first
import on, and the memory is the kernel's high-water mark of that process. Prints Markdown; fails
where the bounds are not kept.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BOUND_S = 5.0
BOUND_MIB = 1024.0

KINDS = ("plain", "fp32", "int8-x86", "int8-opt-x86")
MODELS = ("net-a", "net-b", "net-c", "net-d", "net-e")
PHASES = ("baseline", "loaded", "first", "steady")
STAGES = ("import", "load", "summary", "tables", "formats")


def make_history(folder: Path, sessions: int, launches: int, samples: int, seed: int = 0) -> None:
    """Write sessions as a bench would, under the folder; sizes are counts of each."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for session in range(sessions):
        _write_session(folder / f"s{session:03}", session, launches, samples, rng)


def _write_session(
    folder: Path, session: int, launches: int, samples: int, rng: "np.random.Generator"
) -> None:
    import numpy as np
    import pandas as pd

    from android_bench.rows import TABLES, column_dtypes

    cases = [(model, kind) for model in MODELS for kind in KINDS]
    n = len(cases) * launches
    case = np.tile(np.arange(len(cases)), launches)
    run_ids = np.array([f"{session:03}{place:029}" for place in range(n)])
    names = [f"{model}-{kind}" for model, kind in cases]
    peak_bytes = (10**8 * np.exp(rng.normal(0, 0.01, n))).astype("int64")
    base_ms = (10 * (case + 1)) * np.exp(rng.normal(0, 0.02, n))
    runs = {
        "schema_version": 2, "session_id": f"s{session:03}", "run_id": run_ids,
        "case_id": np.array(names)[case], "block": np.repeat(np.arange(launches), len(cases)),
        "order_in_block": case, "status": "ok", "exit_code": 0,
        "started_at_utc": f"2026-01-{1 + session % 28:02}T{session // 28:02}:00:00Z",
        "duration_ns": 2 * 10**9, "model": np.array([one[0] for one in cases])[case],
        "kind": np.array([one[1] for one in cases])[case],
        "target": np.array([None if "-" not in one[1] else "x86" for one in cases])[case],
        "model_sha256": np.array(names)[case], "model_bytes": 10**6, "device_id": "d", "seed": 0,
        "provider": "cpu", "intra_op_threads": 2, "runtime": "onnxruntime",
        "runtime_version": "1.0", "tool_version": "0.1", "session_create_ns": 5 * 10**7,
        "n_samples": samples, "peak_rss_bytes": peak_bytes,
        "peak_rss_reset": True, "output_sha256": np.array(names)[case], "psnr_db": 30.0,
        "ssim": 0.9, "degraded_psnr_db": 20.0, "degraded_ssim": 0.5, "mode": "latency",
        "attempt": 1,
    }  # fmt: skip
    noise = np.exp(rng.normal(0, 0.02, (n, samples)))
    latency_ns = (base_ms[:, None] * noise * 1e6).astype("int64").ravel()
    inferences = {
        "run_id": np.repeat(run_ids, samples), "iteration": np.tile(np.arange(samples), n),
        "phase": "steady", "t_start_ns": np.tile(np.arange(samples), n), "latency_ns": latency_ns,
    }  # fmt: skip
    memory = {
        "run_id": np.repeat(run_ids, len(PHASES)), "t_ns": np.tile(np.arange(len(PHASES)), n),
        "phase": np.tile(PHASES, n), "rss_bytes": np.tile([4, 8, 9, 10], n) * 10**7,
    }  # fmt: skip
    device = {
        "device_id": ["d"], "name": ["desk"], "abi": ["x86_64"], "os": ["Linux"], "cpu": ["Some"],
        "cpu_cores": [2], "mem_total_bytes": [2**33], "is_phone": [False],
    }  # fmt: skip
    of_tables = {"runs": runs, "samples": inferences, "memory_samples": memory, "devices": device}
    folder.mkdir(parents=True)
    for table, row_type in TABLES.items():
        dtypes = column_dtypes(row_type)
        frame = pd.DataFrame(of_tables.get(table, {}), columns=list(dtypes))
        frame.astype(dtypes).to_parquet(folder / f"{table}.parquet")


def _peak_mib() -> float:
    """Give the most memory that this program had resident.

    Not getrusage's ru_maxrss: that outlives exec, and is the parent's where the parent was larger.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(kib) / 1024


def measure(folder: Path) -> dict[str, float]:
    """Load, summarise and draw in this process; give seconds by stage, sizes, and peak MiB."""
    clock = [time.perf_counter()]

    def lap() -> None:
        clock.append(time.perf_counter())

    import reports
    from reports.compare import add_speed_ups, speed_ups
    from reports.exporters import FORMATS, to_rich
    from reports.pivot import pivot
    from reports.tables import comparison_table, render_markdown

    reports.load  # noqa: B018  # the import behind it
    lap()
    frames = reports.load(folder)
    lap()
    summary = add_speed_ups(frames.summary, speed_ups(frames))
    lap()
    render_markdown(comparison_table(summary, frames))
    values = ["latency", "p90", "p99", "speed_up", "memory", "psnr", "size"]
    grids = [
        pivot(frames, ["model"], ["kind"], values),
        pivot(frames, ["session", "model", "kind"], [], values),
    ]
    lap()
    for grid in grids:
        to_rich(grid, 120)
        for draw in FORMATS.values():
            draw(grid)
    lap()
    seconds = [after - before for before, after in pairwise(clock)]
    return {
        **dict(zip(STAGES, seconds, strict=True)),
        "samples": len(frames.samples),
        "launches": len(frames.runs),
        "peak_mib": _peak_mib(),
        "cpu": time.process_time(),
    }


def main() -> int:
    """Make the history, measure it in a fresh process, print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--launches", type=int, default=10, help="of each of 20 cases a session")
    parser.add_argument("--samples", type=int, default=100, help="of each launch")
    parser.add_argument("--tries", type=int, default=3, help="the best one counts")
    parser.add_argument("--of", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.of:
        print(json.dumps(measure(chosen.of)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        make_history(Path(folder), chosen.sessions, chosen.launches, chosen.samples)
        found = [_in_fresh_process(Path(folder)) for _ in range(chosen.tries)]
    best = min(found, key=lambda one: sum(one[stage] for stage in STAGES))
    total_s = sum(best[stage] for stage in STAGES)
    print(f"{best['samples']:,.0f} samples of {best['launches']:,.0f} launches; "
          f"{len(os.sched_getaffinity(0))} cores; best of {chosen.tries}.\n")  # fmt: skip
    print("| stage | s |\n|---|---:|")
    for stage in STAGES:
        print(f"| {stage} | {best[stage]:.2f} |")
    print(f"| all | {total_s:.2f} |\n")
    print(f"Peak memory: {best['peak_mib']:.0f} MiB. Processor time: {best['cpu']:.2f} s.")
    return int(total_s > BOUND_S or best["peak_mib"] > BOUND_MIB)


def _in_fresh_process(folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--of", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    sys.exit(main())
