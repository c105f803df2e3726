"""What each launch measured, from its samples: medians and quantiles of a million at once."""

import numpy as np
import pandas as pd

from reports.frame import Frames

CASE_KEY = ["session_id", "case_id"]
MIB = 2**20

# quantile -> least samples that say anything of it: 1 / (1 - q)
QUANTILES = {0.9: 10, 0.99: 100}

_LATENCY_ONLY = ["latency_ms", "first_inference_ms", "session_create_ms"]


def launch_table(frames: Frames) -> pd.DataFrame:
    """Give the launches that ended well, each with what it measured.

    Launches of a case whose output was wrong are left out, all of them: what computes something
    else has no speed.

    Returns:
        The columns of `runs`, with latency_ms, session_create_ms and first_inference_ms (of
        launches of mode latency only: the others watch while they run), peak_rss_mib,
        peak_over_baseline_mib, peak_native_heap_mib and peak_pss_mib, all float64 with NaN where
        missing.
    """
    runs = frames.runs.loc[frames.runs["status"] == "ok"]
    runs = runs[~_of_cases(runs, wrong_cases(frames))]
    memory = frames.memory_samples
    baseline = memory.loc[memory["phase"] == "baseline"].groupby("run_id")["rss_bytes"].min()
    peak_mib = _mib(runs["peak_rss_bytes"])
    measured = runs.assign(
        latency_ms=_of_runs(runs, phase_medians_ms(frames, "steady")),
        first_inference_ms=_of_runs(runs, phase_medians_ms(frames, "first")),
        session_create_ms=runs["session_create_ns"].astype("float64") / 1e6,
        peak_rss_mib=peak_mib,
        peak_over_baseline_mib=peak_mib - _mib(runs["run_id"].map(baseline)),
        peak_native_heap_mib=_mib(runs["peak_native_heap_bytes"]),
        peak_pss_mib=_mib(runs["peak_pss_bytes"]),
    )
    timed = (measured["mode"] == "latency").to_numpy(dtype=bool)
    return measured.assign(**{name: measured[name].where(timed) for name in _LATENCY_ONLY})


def wrong_cases(frames: Frames) -> pd.MultiIndex:
    """Give session and case of those whose output was wrong in any launch, of any mode."""
    runs = frames.runs
    wrong = (runs["status"] == "output_mismatch") | ~runs["output_ok"].fillna(True)
    return pd.MultiIndex.from_frame(runs.loc[wrong, CASE_KEY].drop_duplicates())


def _of_cases(runs: pd.DataFrame, cases: pd.MultiIndex) -> np.ndarray:
    if not len(cases):
        return np.zeros(len(runs), dtype=bool)
    return pd.MultiIndex.from_frame(runs[CASE_KEY]).isin(cases)


def _of_runs(runs: pd.DataFrame, values: "pd.Series[float]") -> "pd.Series[float]":
    return runs["run_id"].map(values).astype("float64")


def _mib(values: pd.Series) -> "pd.Series[float]":
    return values.astype("float64") / MIB


def phase_medians_ms(frames: Frames, phase: str) -> "pd.Series[float]":
    """Give the median latency of each launch in ms over one phase, by run_id."""
    samples = frames.samples
    of_phase = samples.loc[samples["phase"] == phase, ["run_id", "latency_ns"]]
    codes, run_ids = pd.factorize(of_phase["run_id"])
    latency_ns = of_phase["latency_ns"].to_numpy(dtype="int64")
    medians_ns = grouped_quantiles(latency_ns, codes, len(run_ids), [0.5])[:, 0]
    return pd.Series(medians_ns / 1e6, index=pd.Index(run_ids), dtype="float64")


def steady_quantiles(frames: Frames, launches: pd.DataFrame, cases: pd.MultiIndex) -> pd.DataFrame:
    """Give how many steady samples each case has, and their quantiles in ms.

    Args:
        launches: what `launch_table` gave.
        cases: session and case of each row of the result.

    Returns:
        n_samples, p90_ms and p99_ms, indexed by the cases; a quantile that too few samples speak
        for is NaN. Interpolated linearly, as numpy does.
    """
    timed = launches[launches["mode"] == "latency"]
    case_of_run = pd.Series(
        cases.get_indexer(pd.MultiIndex.from_frame(timed[CASE_KEY])), index=timed["run_id"]
    )
    samples = frames.samples
    steady = samples.loc[samples["phase"] == "steady", ["run_id", "latency_ns"]]
    codes, run_ids = pd.factorize(steady["run_id"])
    of_run = case_of_run.reindex(run_ids).fillna(-1).to_numpy(dtype="int64")
    case = of_run[codes] if len(of_run) else np.empty(0, dtype="int64")
    latency_ns = steady["latency_ns"].to_numpy(dtype="int64")[case >= 0]
    case = case[case >= 0]
    found_ms = grouped_quantiles(latency_ns, case, len(cases), list(QUANTILES)) / 1e6
    counts = np.bincount(case, minlength=len(cases))
    for place, least in enumerate(QUANTILES.values()):
        found_ms[counts < least, place] = np.nan
    columns = {f"p{q * 100:.0f}_ms": found_ms[:, place] for place, q in enumerate(QUANTILES)}
    return pd.DataFrame({"n_samples": counts, **columns}, index=cases)


def grouped_quantiles(
    values: np.ndarray, group: np.ndarray, n_groups: int, quantiles: list[float]
) -> np.ndarray:
    """Give quantiles of each group, interpolated linearly; NaN for a group without a value.

    Args:
        values: (values,) integers, at least 0.
        group: (values,) from 0 to n_groups - 1.
        quantiles: each from 0 to 1.

    Returns:
        (n_groups, quantiles).
    """
    ordered = _sorted_by_group(values, group)
    counts = np.bincount(group, minlength=n_groups)
    starts = np.cumsum(counts) - counts
    found = np.full((n_groups, len(quantiles)), np.nan)
    there = counts > 0
    for place, quantile in enumerate(quantiles):
        at = quantile * (counts[there] - 1)
        below = np.floor(at).astype("int64")
        above = np.minimum(below + 1, counts[there] - 1)
        low, high = ordered[starts[there] + below], ordered[starts[there] + above]
        found[there, place] = low + (at - below) * (high - low)
    return found


def _sorted_by_group(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Give the values in order of their group and size.

    A group and its value fit one integer, up to hours of nanoseconds in millions of groups, and
    sorting integers is ten times as fast as sorting places.
    """
    if not len(values):
        return values
    bits = int(values.max()).bit_length()
    if bits + int(group.max()).bit_length() > 63:
        return values[np.lexsort((values, group))]
    return np.sort((group.astype("int64") << bits) | values) & ((1 << bits) - 1)
