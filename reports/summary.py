"""Rows to one line a case: medians over launches with their intervals, quality, and flags."""

import pandas as pd

from deploy.errors import RowsError
from reports.frame import Frames
from reports.importers.launches import IMPORTED
from reports.instructions import COUNT_COLUMNS, count_table
from reports.launches import CASE_KEY, MIB, steady_quantiles, wrong_cases
from reports.median_intervals import ENDS, median_intervals
from reports.stats import ENOUGH_LAUNCHES, MIN_LAUNCHES

QUALITY = ["psnr_db", "ssim", "psnr_vs_fp32_db", "degraded_psnr_db", "degraded_ssim"]
# Columns of `runs` that describe a case: the same in all its launches.
_CASE_COLUMNS = ["model", "kind", "target", "model_sha256", "model_bytes", "calibration_sha256"]
_CASE_COLUMNS += ["device_id", "provider", "intra_op_threads", "seed", "runtime"]
_CASE_COLUMNS += ["runtime_version", "graph_opt_level", "session_config", "fusion", *QUALITY]
_CASE_COLUMNS += ["model_params", "model_macs", "input_shape", "cores_asked", "tool_version"]
_NOT_CHECKED = ["tool_version"]  # may change while a session goes on

# column of the launches -> of the summary's interval: value, low, high
INTERVALS = {
    "latency_ms": ("latency_median_ms", "latency_ci_low_ms", "latency_ci_high_ms"),
    "peak_rss_mib": ("peak_rss_mib", "peak_rss_ci_low_mib", "peak_rss_ci_high_mib"),
    "peak_native_heap_mib": (
        "peak_native_heap_mib",
        "peak_native_heap_ci_low_mib",
        "peak_native_heap_ci_high_mib",
    ),
    "session_create_ms": (
        "session_create_ms",
        "session_create_ci_low_ms",
        "session_create_ci_high_ms",
    ),
    "first_inference_ms": (
        "first_inference_ms",
        "first_inference_ci_low_ms",
        "first_inference_ci_high_ms",
    ),
}
# Of the kernel's high-water mark, which costs a timed launch nothing, every launch has one; what
# has to be sampled is of the launches of mode memory. Each is of the others where those lack it.
_OF_MEMORY = {
    "peak_rss_mib": "latency",
    "peak_over_baseline_mib": "latency",
    "peak_native_heap_mib": "memory",
    "peak_pss_mib": "memory",
}
_MEDIANS = ["peak_over_baseline_mib", "peak_pss_mib"]
_COVERAGE = ["nodes_total", "nodes_on_provider", "partitions_on_provider"]

_SUMMARY_COLUMNS = ["session_id", "case_id", "model", "kind", "precision", "target", "device_id"]
_SUMMARY_COLUMNS += ["device", "abi", "provider", "threads", "n_launches", "n_failed", "n_redone"]
_SUMMARY_COLUMNS += ["n_throttled", "n_samples", *(end for of in INTERVALS.values() for end in of)]
_SUMMARY_COLUMNS += [*_MEDIANS, "p90_ms", "p99_ms", "model_mib", *QUALITY, *_COVERAGE]
_SUMMARY_COLUMNS += ["coverage_pct", "model_params", "model_macs", "input_shape", "cores_asked"]
_SUMMARY_COLUMNS += ["started_at_utc", "model_sha256", "calibration_sha256", "seed", "runtime"]
_SUMMARY_COLUMNS += ["runtime_version", "graph_opt_level", "session_config", "tool_version"]
_SUMMARY_COLUMNS += ["fusion", "message", *COUNT_COLUMNS, "flags"]

# launches of what a session is for; those that watch while they run are not counted among them
MAIN_MODES = ("latency", "count")

FLAGS = (
    "wrong_output",  # it computed something else: its times are left out
    "failed_launches",  # some launch did not end well
    "redone_launches",  # some launch was taken again
    "few_launches",  # too few good ones for an interval that holds 95 %, or for any count
    "imported",  # from another tool's results
    "provider_fallback",  # the provider that was asked for took no node
    "partial_coverage",  # it took some
    "throttled",  # the device slowed down in some launch
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
KIND_ORDER = ("external", "plain", "fp32", "fp16", "int8", "int8-opt")
_PRECISIONS = {"plain": "fp32", "fp32": "fp32", "fp16": "fp16", "int8": "int8", "dynamic": "int8"}
# Targets that are no processor: what is made for them runs beside one.
_ACCELERATORS = {"nnapi": "nnapi", "qnn": "qnn", "qnn-u16": "qnn", "xnnpack": "xnnpack"}


def abi_family(abi: str) -> str:
    """Give the target name of a device's own processor, or the ABI itself where there is none."""
    return _FAMILIES.get(abi.lower(), abi)


def precision_of(kind: str) -> str | None:
    """Give fp32, fp16 or int8; None for a kind that does not say."""
    return _PRECISIONS.get(kind.partition("-")[0])


def summarize(frames: Frames) -> pd.DataFrame:
    """Give one row a case: counts, medians over launches with their interval, size, quality.

    The peak of resident memory is of the launches that were timed, native heap and PSS of those of
    mode memory, and each of the other ones where a case has none.

    Returns:
        Ordered by model and session, then as a line is, plain, fp32, int8, int8-opt, and the rest.
        Times in ms, sizes in MiB, quality as it was measured when the file was made, instructions
        as `count_table` has them; missing is NaN. A case has times or counts, not both. `flags`
        holds names from `FLAGS`, joined by commas.

    Raises:
        RowsError: launches of one case describe it differently.
    """
    launches = frames.launches
    summary = _describe_cases(frames)
    _count_launches(summary, frames, launches)
    _add_medians(summary, launches)
    quantiles = steady_quantiles(frames, launches, _keys(summary))
    summary[list(quantiles.columns)] = quantiles
    summary[QUALITY] = summary[QUALITY].astype("float64")
    summary["model_mib"] = summary["model_bytes"].astype("float64") / MIB
    summary["precision"] = summary["kind"].map(precision_of)
    _add_coverage(summary, launches)
    summary[list(COUNT_COLUMNS)] = count_table(frames)
    summary["flags"] = _flags(summary, frames, launches)
    return _ordered(summary.reset_index())[_SUMMARY_COLUMNS]


def _keys(summary: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_tuples(list(summary.index), names=CASE_KEY)


def _describe_cases(frames: Frames) -> pd.DataFrame:
    """Give what is the same in all launches of a case, indexed by session and case."""
    cases = frames.runs.groupby(CASE_KEY)
    checked = [column for column in _CASE_COLUMNS if column not in _NOT_CHECKED]
    values = cases[checked].nunique()
    for column in values.columns[(values > 1).any()]:
        case = values.index[values[column] > 1][0][1]
        raise RowsError(
            f"launches of case {case!r} disagree on {column}", "run `mofa-deploy bench` again"
        )
    described = cases[_CASE_COLUMNS].first()
    described["started_at_utc"] = cases["started_at_utc"].min()
    ok = frames.runs.loc[frames.runs["status"] == "ok"]
    described["message"] = ok.groupby(CASE_KEY)["status_message"].first()
    devices = frames.devices.set_index("device_id")
    for column, name in (("device", "name"), ("abi", "abi")):
        described[column] = described["device_id"].map(devices[name]).astype("string")
    return described.rename(columns={"intra_op_threads": "threads"})


def _count_launches(summary: pd.DataFrame, frames: Frames, launches: pd.DataFrame) -> None:
    """Add how many launches were timed or counted, failed for good, were redone, slowed down."""
    runs = frames.runs.loc[frames.runs["mode"].isin(MAIN_MODES)]
    last = runs.sort_values("attempt", kind="stable")
    last = last.drop_duplicates([*CASE_KEY, "block"], keep="last")
    timed = launches.loc[launches["mode"].isin(MAIN_MODES)]
    slowed = timed.loc[timed["throttled"].fillna(False)]
    counts = {
        "n_launches": timed.groupby(CASE_KEY).size(),
        "n_failed": last.loc[last["status"] != "ok"].groupby(CASE_KEY).size(),
        "n_redone": runs.groupby(CASE_KEY).size() - last.groupby(CASE_KEY).size(),
        "n_throttled": slowed.groupby(CASE_KEY).size(),
    }
    for name, count in counts.items():
        summary[name] = count.reindex(summary.index).fillna(0).astype("int64")


def _add_medians(summary: pd.DataFrame, launches: pd.DataFrame) -> None:
    """Add medians over launches, with their intervals where `INTERVALS` has them."""
    case = pd.Series(
        _keys(summary).get_indexer(pd.MultiIndex.from_frame(launches[CASE_KEY])),
        index=launches.index,
    )
    memory = {
        name: launches[name].where(_preferred(launches, name, case, mode))
        for name, mode in _OF_MEMORY.items()
    }
    measured = launches.assign(**memory, place=case)
    for column, names in INTERVALS.items():
        found = median_intervals(measured[column], case).reindex(range(len(summary)))
        for name, end in zip(names, ENDS, strict=True):
            summary[name] = found[end].to_numpy()
    for name in _MEDIANS:
        medians = measured.groupby("place")[name].median().reindex(range(len(summary)))
        summary[name] = medians.to_numpy(dtype=float)


def _preferred(
    launches: pd.DataFrame, name: str, case: "pd.Series[int]", mode: str
) -> "pd.Series[bool]":
    """Tell which launches a value is taken from: of this mode where the case has any with it."""
    of_mode = (launches["mode"] == mode) & launches[name].notna()
    others = launches["mode"].isin(["latency", "memory"]) & ~case.isin(case[of_mode])
    return of_mode | others


def _add_coverage(summary: pd.DataFrame, launches: pd.DataFrame) -> None:
    least = launches.groupby(CASE_KEY)[_COVERAGE].min().reindex(summary.index)
    summary[_COVERAGE] = least.astype("float64")
    total = summary["nodes_total"].where(summary["nodes_total"] > 0)
    summary["coverage_pct"] = 100 * summary["nodes_on_provider"] / total


def _flags(summary: pd.DataFrame, frames: Frames, launches: pd.DataFrame) -> "pd.Series[str]":
    good = launches.groupby(CASE_KEY)
    wrong = summary.index.isin(wrong_cases(frames))
    imported = summary["tool_version"].fillna("").str.startswith(IMPORTED)
    asked = summary["provider"].fillna("cpu") != "cpu"
    reach = summary["nodes_on_provider"]
    raised = pd.DataFrame(
        {
            "wrong_output": wrong,
            "failed_launches": (summary["n_failed"] > 0) & ~wrong,
            "redone_launches": summary["n_redone"] > 0,
            "few_launches": _few(summary, imported) & ~wrong,
            "imported": imported,
            "provider_fallback": asked & (reach == 0),
            "partial_coverage": asked & (reach > 0) & (reach < summary["nodes_total"]),
            "throttled": summary["n_throttled"] > 0,
            "foreign_target": _is_foreign(summary),
            "output_changes": good["output_sha256"].nunique() > 1,
            "peak_not_reset": good["peak_rss_reset"].min() == 0,
        },
        index=summary.index,
    )
    return join_flags(raised)


def _few(summary: pd.DataFrame, imported: pd.Series) -> pd.Series:
    least = imported.map({True: 0, False: ENOUGH_LAUNCHES}).astype("int64")
    between = imported & (summary["n_launches"] >= MIN_LAUNCHES)
    # a count repeats: one launch says it all
    least = least.mask(between, ENOUGH_LAUNCHES).mask(summary["is_counted"], 1)
    return summary["n_launches"] < least


def _is_foreign(summary: pd.DataFrame) -> pd.Series:
    """Tell where a file was made for neither this device's processor nor the provider it ran on."""
    family = summary["abi"].fillna("").map(abi_family)
    target = summary["target"]
    at_home = (target == family) | target.str.removesuffix("-u8").eq(family)
    at_home |= target.map(_ACCELERATORS) == summary["provider"]
    return target.notna() & (family != "") & ~at_home.fillna(False)


def join_flags(raised: pd.DataFrame) -> "pd.Series[str]":
    """Join the names of the true columns of each row with commas."""
    names = raised.fillna(False).astype(bool).to_numpy()
    columns = raised.columns.to_numpy(dtype=str)
    return pd.Series([",".join(columns[row]) for row in names], index=raised.index, dtype="string")


def _ordered(summary: pd.DataFrame) -> pd.DataFrame:
    place = summary["kind"].map(kind_place)
    columns = ["model", "session_id", "_place", "kind", "case_id"]
    ordered = summary.assign(_place=place).sort_values(columns, ignore_index=True)
    return ordered.drop(columns="_place")


def kind_place(kind: str) -> int:
    """Give a kind's place in the line: its longest matching stage, unknown kinds last."""
    matching = [stage for stage in KIND_ORDER if kind == stage or kind.startswith(f"{stage}-")]
    return KIND_ORDER.index(max(matching, key=len)) if matching else len(KIND_ORDER)


def case_labels(summary: pd.DataFrame) -> list[str]:
    """Give each row a short name: its kind, with what else differs between rows of one kind."""
    parts = [summary["kind"].fillna("")]
    parts = [summary["model"], *parts] if summary["model"].nunique() > 1 else parts
    if summary["provider"].nunique() > 1:
        parts = [*parts, summary["provider"].fillna("")]
    parts = [*parts, summary["session_id"]] if summary["session_id"].nunique() > 1 else parts
    return [" ".join(filter(None, row)) for row in zip(*parts, strict=True)]
