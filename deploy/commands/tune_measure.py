"""Launches of candidates on one device, as a table that a race judges.

Each look of a race is a session of its own, so what was measured is never measured again: a session
that is there is read, and one that was interrupted goes on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from android_bench.device import Device, DeviceInfo
from android_bench.order import all_slots
from android_bench.plan import BenchPlan, counting
from android_bench.rows import RunRow
from android_bench.session import bench
from deploy.artifact import Artifact
from deploy.commands.bench_cases import cases_for
from deploy.commands.bench_devices import Job, native_programs
from deploy.commands.progress import bar, note
from deploy.errors import BenchOutputError
from reports.frame import Frames, load
from reports.stats import launch_medians


def plan_for(plan: BenchPlan, info: DeviceInfo) -> BenchPlan:
    """Give the plan as a device needs it: an emulated processor counts, once and on one thread.

    Raises:
        UsageError: it asks an emulated processor for several threads, or for certain cores.
    """
    if info.emulated_cpu is None:
        return plan
    return counting(replace(plan, metric="instructions"))


@dataclass
class Stopwatch:
    """Measures candidates on one device.

    Attributes:
        plan: of a session, but for its launches and its seed.
        input: file of what every launch is fed.
        folder: of the sessions.
        force: measure again what is measured already.
        greatest_load: of the device, over the last minute before any launch; None if not known.
    """

    device: Device
    info: DeviceInfo
    plan: BenchPlan
    input: Path
    folder: Path
    force: bool = False
    greatest_load: float | None = None

    @property
    def counts(self) -> bool:
        """Whether it gives instructions, and not milliseconds."""
        return self.plan.metric == "instructions"

    def measure(
        self, files: Mapping[str, Artifact], launches: int, seed: int, where: str
    ) -> pd.DataFrame:
        """Launch candidates interleaved.

        Args:
            files: candidate -> its optimized file; no two with the same bytes.
            launches: of each; a count is the same again, so one is enough of it.
            seed: of the order of the launches.
            where: how far the tuning is, to be shown.

        Returns:
            (blocks, candidates): ms, or millions of instructions, of a steady inference; NaN where
            a launch failed.

        Raises:
            DeviceError: the device cannot be used.
            BenchOutputError: no launch of any candidate ended well.
        """
        cases = cases_for(list(files.values()), ("cpu",), self.info, self.input, named=True)
        job = Job(self.device, self.info, cases)
        plan = replace(self.plan, launches=1 if self.counts else launches, seed=seed)
        needed = native_programs(job)
        total = len(all_slots(len(cases), plan))
        with bar(f"{where}, on {self.info.name}", total, "launches") as launched:

            def on_progress(done: int, total: int, run: RunRow | None) -> None:
                launched(done)

            results = bench(
                cases,
                plan,
                self.device,
                self.folder,
                on_progress=on_progress,
                on_wait=note,
                force=self.force,
                runner=needed.command,
                files=needed.files,
            )
        frames = load(results)
        self._keep_load(frames)
        return self._table(frames, files, results)

    def _keep_load(self, frames: Frames) -> None:
        loads = frames.runs["loadavg1_start"].dropna()
        if len(loads):
            self.greatest_load = max(float(loads.max()), self.greatest_load or 0.0)

    def _table(self, frames: Frames, files: Mapping[str, Artifact], results: Path) -> pd.DataFrame:
        runs = frames.runs[frames.runs["status"] == "ok"]
        values = _counts(frames) if self.counts else launch_medians(frames.samples) / 1e6
        runs = runs[runs["mode"] == ("count" if self.counts else "latency")]
        known = runs.assign(value=runs["run_id"].map(values)).dropna(subset=["value"])
        if known.empty:
            last = frames.runs.iloc[-1]
            raise BenchOutputError(
                f"no launch ended well, the last with {last['status']}: {last['status_message']}",
                f"its rows are in {results}; mend that, then tune again with --force",
            )
        by_sha = known.pivot_table(index="block", columns="model_sha256", values="value")
        columns = {name: by_sha.get(one.sha256, np.nan) for name, one in files.items()}
        return pd.DataFrame(columns, index=by_sha.index, dtype=float).reset_index(drop=True)


def _counts(frames: Frames) -> "pd.Series[float]":
    """Give millions of instructions of each launch's steady inference, indexed by run_id."""
    steady = frames.counts[frames.counts["phase"] == "steady"]
    return steady.groupby("run_id")["instructions"].median().astype("float64") / 1e6
