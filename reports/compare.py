"""Rows to one line a case, and the ratio between cases. Refuses to compare unlike things."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from deploy.errors import RowsError
from reports.frame import Frames
from reports.stats import ENOUGH_LAUNCHES, launch_medians, median_interval, paired_ratio

CASE_KEY = ["session_id", "case_id"]

# What a row must share with the row it is compared to.
MUST_MATCH = ("device_id", "provider", "intra_op_threads", "runtime", "runtime_version")
# What may differ between two compared cases, and is told.
MAY_DIFFER = (
    "kind",
    "target",
    "model_sha256",
    "calibration_sha256",
    "graph_opt_level",
    "session_config",
    "tool_version",
    "seed",
)

QUALITY = ["psnr_db", "ssim", "psnr_vs_fp32_db", "degraded_psnr_db", "degraded_ssim"]
# Columns of `runs` that describe a case: the same in all its launches.
_CASE_COLUMNS = ["model", "kind", "target", "model_sha256", "model_bytes", "calibration_sha256"]
_CASE_COLUMNS += ["device_id", "provider", "intra_op_threads", "seed", "runtime"]
_CASE_COLUMNS += ["runtime_version", "graph_opt_level", "session_config", "fusion", *QUALITY]
_INTERVAL_ENDS = {
    "latency_median_ms": "value",
    "latency_ci_low_ms": "low",
    "latency_ci_high_ms": "high",
}
_MEDIANS = ["session_create_ms", "first_inference_ms", "peak_rss_mib", "peak_over_baseline_mib"]
_SUMMARY_COLUMNS = ["session_id", "case_id", "model", "kind", "target", "device_id", "device"]
_SUMMARY_COLUMNS += ["abi", "provider", "threads", "n_launches", "n_failed", "n_samples"]
_SUMMARY_COLUMNS += [*_INTERVAL_ENDS, *_MEDIANS, "model_mib", *QUALITY]
_SUMMARY_COLUMNS += ["model_sha256", "calibration_sha256", "seed", "runtime"]
_SUMMARY_COLUMNS += ["runtime_version", "graph_opt_level", "session_config", "fusion", "flags"]

FLAGS = (
    "failed_launches",  # some launch did not end well
    "few_launches",  # too few good ones for an interval, or for one that holds 95 %
    "foreign_target",  # made for other hardware than it ran on
    "output_changes",  # the same input gave different outputs in different launches
    "peak_not_reset",  # the peak includes the start of the process
    "slower",  # than the baseline, the whole interval
    "undecided",  # the interval of the speed-up holds 1
)

_FAMILIES = {
    "x86_64": "x86",
    "amd64": "x86",
    "aarch64": "arm-cpu",
    "arm64": "arm-cpu",
    "arm64-v8a": "arm-cpu",
}
_KIND_ORDER = ("external", "plain", "fp32", "fp16", "int8", "int8-opt")
_MIB = 2**20

CaseKey = tuple[str, str]  # session_id, case_id


@dataclass(frozen=True)
class Comparison:
    """How many times faster a case is than its baseline.

    Attributes:
        ratio: baseline latency over the case's, geometric mean over blocks; above 1 is faster.
        ci_low: lower end of its 95 % interval; NaN below three pairs.
        ci_high: upper end.
        pairs: blocks in which both launches ended well.
        differs: what else differs between the two, as columns of `runs`.
    """

    ratio: float
    ci_low: float
    ci_high: float
    pairs: int
    differs: tuple[str, ...]


def abi_family(abi: str) -> str:
    """Give the target name of a device's own processor, or the ABI itself where there is none."""
    return _FAMILIES.get(abi.lower(), abi)


def launch_table(frames: Frames) -> pd.DataFrame:
    """Give the launches that ended well, each with what it measured.

    Returns:
        The columns of `runs`, with latency_ms, session_create_ms, first_inference_ms,
        peak_rss_mib and peak_over_baseline_mib, all float64 with NaN where missing.
    """
    runs = frames.runs.loc[frames.runs["status"] == "ok"]
    memory = frames.memory_samples
    baseline = memory.loc[memory["phase"] == "baseline"].groupby("run_id")["rss_bytes"].min()
    peak_mib = runs["peak_rss_bytes"].astype("float64") / _MIB
    baseline_mib = runs["run_id"].map(baseline).astype("float64") / _MIB
    return runs.assign(
        latency_ms=_of_run(runs, launch_medians(frames.samples)) / 1e6,
        first_inference_ms=_of_run(runs, launch_medians(frames.samples, "first")) / 1e6,
        session_create_ms=runs["session_create_ns"].astype("float64") / 1e6,
        peak_rss_mib=peak_mib,
        peak_over_baseline_mib=peak_mib - baseline_mib,
    )


def _of_run(runs: pd.DataFrame, values: "pd.Series[float]") -> "pd.Series[float]":
    return runs["run_id"].map(values).astype("float64")


def summarize(frames: Frames) -> pd.DataFrame:
    """Give one row a case: counts, medians over launches with their interval, size, quality.

    Returns:
        Ordered by model and session, then as a line is, plain, fp32, int8, int8-opt, and the rest.
        Times in ms, sizes in MiB, quality as it was measured when the file was made; missing is
        NaN. `flags` holds names from `FLAGS`, joined by commas.

    Raises:
        RowsError: launches of one case describe it differently.
    """
    launches = launch_table(frames)
    summary = _describe_cases(frames)
    counts = frames.runs.groupby(CASE_KEY).size()
    good = launches.groupby(CASE_KEY)
    summary["n_launches"] = good.size()
    summary["n_launches"] = summary["n_launches"].fillna(0).astype("int64")
    summary["n_failed"] = counts - summary["n_launches"]
    steady = frames.samples.loc[frames.samples["phase"] == "steady", ["run_id"]]
    steady = steady.merge(launches[["run_id", *CASE_KEY]], on="run_id")
    summary["n_samples"] = steady.groupby(CASE_KEY).size()
    summary["n_samples"] = summary["n_samples"].fillna(0).astype("int64")
    intervals = {key: median_interval(case) for key, case in good["latency_ms"]}
    for column, end in _INTERVAL_ENDS.items():
        summary[column] = pd.Series({key: getattr(one, end) for key, one in intervals.items()})
    for column in _MEDIANS:
        summary[column] = good[column].median()
    summary = summary.astype(dict.fromkeys((*_INTERVAL_ENDS, *_MEDIANS, *QUALITY), "float64"))
    summary["model_mib"] = summary["model_bytes"].astype("float64") / _MIB
    summary["flags"] = _flags(summary, launches)
    return _ordered(summary.reset_index())[_SUMMARY_COLUMNS]


def _describe_cases(frames: Frames) -> pd.DataFrame:
    """Give what is the same in all launches of a case, indexed by session and case."""
    cases = frames.runs.groupby(CASE_KEY)
    values = cases[_CASE_COLUMNS].nunique()
    for column in values.columns[(values > 1).any()]:
        case = values.index[values[column] > 1][0][1]
        raise RowsError(
            f"launches of case {case!r} disagree on {column}", "run `mofa-deploy bench` again"
        )
    described = cases[_CASE_COLUMNS].first()
    devices = frames.devices.set_index("device_id")
    described["device"] = described["device_id"].map(devices["name"])
    described["abi"] = described["device_id"].map(devices["abi"])
    return described.rename(columns={"intra_op_threads": "threads"})


def _flags(summary: pd.DataFrame, launches: pd.DataFrame) -> "pd.Series[str]":
    good = launches.groupby(CASE_KEY)
    family = summary["abi"].map(abi_family)
    raised = pd.DataFrame(
        {
            "failed_launches": summary["n_failed"] > 0,
            "few_launches": summary["n_launches"] < ENOUGH_LAUNCHES,
            "foreign_target": summary["target"].notna() & (summary["target"] != family),
            "output_changes": good["output_sha256"].nunique() > 1,
            "peak_not_reset": good["peak_rss_reset"].min() == 0,
        },
        index=summary.index,
    )
    return _join_flags(raised)


def _join_flags(raised: pd.DataFrame) -> "pd.Series[str]":
    """Join the names of the true columns of each row with commas."""
    names = raised.fillna(False).astype(bool).to_numpy()
    columns = raised.columns.to_numpy(dtype=str)
    return pd.Series([",".join(columns[row]) for row in names], index=raised.index, dtype="string")


def _ordered(summary: pd.DataFrame) -> pd.DataFrame:
    place = summary["kind"].map(_place)
    columns = ["model", "session_id", "_place", "kind", "case_id"]
    ordered = summary.assign(_place=place).sort_values(columns, ignore_index=True)
    return ordered.drop(columns="_place")


def _place(kind: str) -> int:
    """Give a kind's place in the line: its longest matching stage, unknown kinds last."""
    matching = [stage for stage in _KIND_ORDER if kind == stage or kind.startswith(f"{stage}-")]
    return _KIND_ORDER.index(max(matching, key=len)) if matching else len(_KIND_ORDER)


def case_labels(summary: pd.DataFrame) -> list[str]:
    """Give each row a short name: its kind, with model or session where there are several."""
    parts = [summary["kind"]]
    parts = [summary["model"], *parts] if summary["model"].nunique() > 1 else parts
    parts = [*parts, summary["session_id"]] if summary["session_id"].nunique() > 1 else parts
    return [" ".join(row) for row in zip(*parts, strict=True)]


def speed_ups(frames: Frames, baseline_kind: str = "plain") -> dict[CaseKey, Comparison]:
    """Give how many times faster each case is than the baseline of its model and session.

    Returns:
        Empty where there is no case of the baseline's kind. The baseline itself is left out.

    Raises:
        RowsError: the rows are not alike in what `MUST_MATCH` names, or there are two baselines.
    """
    refuse_unlike(frames)
    launches = launch_table(frames)
    found: dict[CaseKey, Comparison] = {}
    for (session, _), rows in frames.runs.groupby(["session_id", "model"]):
        cases = rows.drop_duplicates("case_id").set_index("case_id")
        baseline = _baseline(cases, baseline_kind)
        if baseline is None:
            continue
        of_cases = launches[launches["run_id"].isin(rows["run_id"])]
        by_block = of_cases.groupby(["block", "case_id"])["latency_ms"].median().unstack()
        by_block = by_block.reindex(columns=list(cases.index))
        for case in cases.index.drop(baseline):
            found[str(session), case] = _compare(by_block, cases, baseline, case)
    return found


def refuse_unlike(frames: Frames) -> None:
    """Refuse rows whose times mean different things, naming the field and two of its values.

    Raises:
        RowsError: a field of `MUST_MATCH` has more than one value.
    """
    devices = frames.devices.set_index("device_id")
    for field in MUST_MATCH:
        values = frames.runs[field].dropna().unique()
        if len(values) > 1:
            one, other = (
                f"{devices['name'][value]} ({value})" if field == "device_id" else str(value)
                for value in values[:2]
            )
            raise RowsError(
                f"cannot compare rows whose {field} differs: {one} and {other}",
                "report on each session by itself",
            )


def _baseline(cases: pd.DataFrame, kind: str) -> str | None:
    of_kind = list(cases.index[cases["kind"] == kind])
    if len(of_kind) > 1:
        raise RowsError(
            f"{len(of_kind)} {kind} cases of {cases['model'].iloc[0]} in one session: "
            f"{', '.join(of_kind)}",
            "bench one of them",
        )
    return of_kind[0] if of_kind else None


def _compare(by_block: pd.DataFrame, cases: pd.DataFrame, baseline: str, case: str) -> Comparison:
    pairs = by_block[[baseline, case]].dropna()
    ratio = paired_ratio(pairs[baseline], pairs[case])
    both = cases.loc[[baseline, case], list(MAY_DIFFER)].astype("string").fillna("")
    differs = tuple(both.columns[both.nunique() > 1])
    return Comparison(ratio.value, ratio.low, ratio.high, ratio.n, differs)


def add_speed_ups(summary: pd.DataFrame, ratios: Mapping[CaseKey, Comparison]) -> pd.DataFrame:
    """Give the summary with speed_up, its interval and its flags; NaN where there is no ratio."""
    keys = list(zip(summary["session_id"], summary["case_id"], strict=True))
    nothing = Comparison(np.nan, np.nan, np.nan, 0, ())
    of_rows = [ratios.get(key, nothing) for key in keys]
    with_ratios = summary.assign(
        speed_up=[one.ratio for one in of_rows],
        speed_up_ci_low=[one.ci_low for one in of_rows],
        speed_up_ci_high=[one.ci_high for one in of_rows],
        speed_up_pairs=[one.pairs for one in of_rows],
    )
    at_home = ~summary["flags"].str.contains("foreign_target")
    raised = pd.DataFrame(
        {
            "slower": (with_ratios["speed_up_ci_high"] < 1) & at_home,
            "undecided": with_ratios["speed_up_ci_low"].le(1)
            & with_ratios["speed_up_ci_high"].ge(1)
            & at_home,
        }
    )
    flags = summary["flags"].str.cat(_join_flags(raised), sep=",").str.strip(",")
    return with_ratios.assign(flags=flags)
