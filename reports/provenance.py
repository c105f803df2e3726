"""Where the numbers come from: every column that identifies a launch, said once where it is shared.

A column that is new to the rows shows up here by itself, unless it is named as a result.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields

import pandas as pd

from android_bench.rows import DeviceRow, RunRow
from reports.frame import Frames
from reports.headline import with_unit
from reports.instructions import parsed_pins
from reports.launches import CASE_KEY
from reports.summary import case_labels
from reports.tables import DASH, counted, fixed

_MOST_CASES = 60  # described one by one
_MOST_VALUES = 6  # of one column that differs from launch to launch

# What came out of a launch, or belongs to one launch alone: said elsewhere, or in no place.
RESULTS = (
    *("run_id", "block", "order_in_block", "attempt", "started_at_utc", "duration_ns"),
    *("status", "status_message", "exit_code", "signal", "log_tail", "n_samples"),
    *("output_sha256", "output_ok", "output_max_abs_err", "output_vs_host_psnr_db"),
    *("psnr_db", "ssim", "psnr_vs_fp32_db", "degraded_psnr_db", "degraded_ssim"),
    *("nodes_total", "nodes_on_provider", "partitions_on_provider", "fallback_reasons"),
    *("session_create_ns", "peak_rss_bytes", "peak_native_heap_bytes", "peak_pss_bytes"),
    *("peak_sampled_rss_bytes", "peak_missed_bytes"),
    *("meminfo_native_heap_bytes", "meminfo_diff_pct"),
)
# What differs from launch to launch by nature: said as a range.
CONDITIONS = (
    "thermal_status_start",
    "thermal_status_max",
    "temp_start_c",
    "temp_max_c",
    "battery_temp_start_c",
    "battery_level_pct",
    "charging",
    "freq_cap_min_pct",
    "throttled",
    "cooldown_ns",
    "loadavg1_start",
)
IDENTITY = tuple(
    one.name for one in fields(RunRow) if one.name not in RESULTS and one.name not in CONDITIONS
)
_NAMES = {
    "schema_version": "Row schema",
    "session_id": "Session",
    "case_id": "Case",
    "kind": "Graph",
    "target": "Made for",
    "model_sha256": "Model sha256",
    "model_bytes": "File",
    "model_macs": "MACs",
    "calibration_sha256": "Calibration sha256",
    "intra_op_threads": "Threads",
    "runtime_version": "Runtime version",
    "tool_version": "mofa-deploy",
    "graph_opt_level": "Graph optimization",
    "session_config": "Session settings",
    "device_id": "Device",
    "abi": "ABI",
    "os": "System",
    "cpu": "Processor",
    "cpu_cores": "Cores",
    "mem_total_bytes": "Memory",
    "is_phone": "A phone",
    "soc": "SoC",
    "sdk": "SDK",
    "model": "Model",
    "model_params": "Parameters",
    "model_opset": "Opset",
    "peak_rss_reset": "Peak counts from the load on",
    "cores_asked": "Cores asked for (mask)",
    "cores_granted": "Cores granted (mask)",
    "is_emulator": "An emulator",
    "emulated_cpu": "Emulated core",
    "thermal_status_start": "Thermal status at the start",
    "thermal_status_max": "Highest thermal status",
    "temp_start_c": "Temperature at the start",
    "temp_max_c": "Highest temperature",
    "battery_temp_start_c": "Battery temperature at the start",
    "freq_cap_min_pct": "Lowest frequency cap",
    "cooldown_ns": "Waited before a launch",
    "loadavg1_start": "Load average at the start",
    "cpu_max_freq_khz": "Highest frequency of each core (kHz)",
}
_UNITS = {"_bytes": "bytes", "_ns": "ms", "_c": "°C", "_pct": "%", "_khz": "kHz", "_db": "dB"}
_EMPTY = {"target": "any hardware", "calibration_sha256": "not calibrated", "fusion": "not audited"}


@dataclass(frozen=True)
class Facts:
    """Names and values under one heading.

    Attributes:
        title: the heading.
        values: (name, value, whether it needs the whole width).
        is_open: shown at once.
    """

    title: str
    values: tuple[tuple[str, str, bool], ...]
    is_open: bool = True


def describe(frames: Frames, summary: pd.DataFrame) -> list[Facts]:
    """Give what all launches share, then the conditions, the devices and the graphs."""
    shared = [name for name in IDENTITY if frames.runs[name].nunique(dropna=False) == 1]
    own = [name for name in IDENTITY if name not in shared and name != "session_id"]
    conditions = _conditions(frames.runs)
    facts = [Facts("All launches", _shared(frames, shared))]
    facts += [Facts("Conditions", conditions)] if conditions else []
    facts += [
        Facts(f"Device {device['name']}", _device(device))
        for _, device in frames.devices.iterrows()
    ]
    facts += _cases(frames, summary, own)
    return facts


def _shared(frames: Frames, shared: list[str]) -> tuple[tuple[str, str, bool], ...]:
    runs = frames.runs
    first = runs.iloc[0]
    started = runs["started_at_utc"]
    plan = f"{counted(runs['block'].nunique(), 'block')}, each launches every graph once"
    values = [
        ("Sessions", _listed(runs["session_id"].unique()), False),
        ("Plan", plan, False),
        ("Launches", f"{(runs['status'] == 'ok').sum()} of {len(runs)} ok", False),
        ("First launch (UTC)", _clock(started.min()), False),
        ("Last launch (UTC)", _clock(started.max()), False),
    ]
    empty = [name for name in shared if pd.isna(first[name]) and name not in _EMPTY]
    told = [name for name in shared if name not in (*empty, "session_id")]
    values += [_fact(name, [first[name]]) for name in told]
    if empty:
        values += [("Not recorded", ", ".join(_name(name) for name in empty), True)]
    return tuple(values)


def _clock(started_at_utc: object) -> str:
    if not isinstance(started_at_utc, str):
        return DASH
    return started_at_utc[:19].replace("T", " ")


def _conditions(runs: pd.DataFrame) -> tuple[tuple[str, str, bool], ...]:
    """Give the range of each condition that was recorded, or in how many launches it held."""
    recorded = {name: values for name in CONDITIONS if len(values := runs[name].dropna())}
    if runs["mode"].eq("count").any():  # nothing waits there, and no page has both counts and times
        recorded.pop("cooldown_ns", None)
    return tuple(
        (_name(name), f"in {values.sum()} of {counted(len(values), 'launch')}", False)
        if pd.api.types.is_bool_dtype(values)
        else (_name(name), _range(name, values), False)
        for name, values in recorded.items()
    )


def _range(name: str, values: pd.Series) -> str:
    if not pd.api.types.is_numeric_dtype(values):
        return _listed(values.astype(str).unique())
    least, most = _told(name, values.min()), _told(name, values.max())
    number, _, unit = least.partition(" ")
    return least if least == most else f"{number if most.endswith(unit) else least} to {most}"


def _device(device: pd.Series) -> tuple[tuple[str, str, bool], ...]:
    told = [
        _fact(one.name, [device[one.name]])
        for one in fields(DeviceRow)
        if not pd.isna(device[one.name]) and one.name != "counts_with"
    ]
    pins = parsed_pins(device["counts_with"])
    return (*told, *(_fact(f"counted with {name}", [value]) for name, value in pins.items()))


def _cases(frames: Frames, summary: pd.DataFrame, own: list[str]) -> list[Facts]:
    """Give each case's label and what is not the same in all."""
    launches = dict(iter(frames.runs.groupby(CASE_KEY)))
    described = []
    for label, (_, case) in zip(case_labels(summary), summary.iterrows(), strict=True):
        runs = launches[case["session_id"], case["case_id"]]
        values = tuple(_fact(name, runs[name].unique()) for name in own)
        described.append(Facts(f"Graph {label}", (*_measured(case), *values), len(summary) <= 8))
        if len(described) == _MOST_CASES < len(summary):
            rest = f"{len(summary) - _MOST_CASES} more graphs are in runs.csv"
            return [*described, Facts(rest, (), is_open=False)]
    return described


def _measured(case: pd.Series) -> tuple[tuple[str, str, bool], ...]:
    total = case["n_launches"] + case["n_failed"]
    launches = ("Launches", f"{case['n_launches']} of {total} ok", False)
    psnr = ("PSNR to fp32", with_unit(case["psnr_vs_fp32_db"], 2, "dB"), False)
    if case["is_counted"]:
        steps = {"A steady inference": "instructions", "The first inference": "first_instructions"}
        steps["Session creation"] = "session_instructions"
        told = [(name, _instructions(case[column]), False) for name, column in steps.items()]
        return (launches, *told, psnr)
    return (
        launches,
        ("Steady inferences", str(case["n_samples"]), False),
        ("Session creation", with_unit(case["session_create_ms"], 1, "ms"), False),
        ("First inference", with_unit(case["first_inference_ms"], 1, "ms"), False),
        psnr,
    )


def _instructions(count: float) -> str:
    return DASH if math.isnan(count) else f"{_grouped(fixed(count, 0))} instructions"


def _fact(name: str, values: Iterable[object]) -> tuple[str, str, bool]:
    value = _listed(dict.fromkeys(_told(name, value) for value in values))
    return _name(name), value, "sha256" in name or len(value) > 60


def _listed(values: Iterable[str]) -> str:
    listed = list(values)
    more = f" and {len(listed) - _MOST_VALUES} more" if len(listed) > _MOST_VALUES else ""
    return ", ".join(listed[:_MOST_VALUES]) + more or DASH


def _name(column: str) -> str:
    """Give a column's name in words, its unit left off."""
    if column in _NAMES:
        return _NAMES[column]
    for suffix in _UNITS:
        column = column.removesuffix(suffix)
    return column.replace("_", " ").capitalize().replace(" sha256", " sha256")


def _told(column: str, value: object) -> str:
    """Give a value with its unit."""
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return _EMPTY.get(column, DASH)
    if isinstance(value, bool) or str(value) in ("True", "False"):
        return "yes" if value else "no"
    unit = next((unit for suffix, unit in _UNITS.items() if column.endswith(suffix)), "")
    if isinstance(value, str) or not unit:
        return _grouped(str(value)) if _is_long_count(value) else str(value)
    if column == "mem_total_bytes":
        return f"{float(value) / 2**30:.1f} GiB"  # type: ignore[arg-type]
    if unit == "ms":
        return f"{float(value) / 1e6:.0f} ms"  # type: ignore[arg-type]
    amount = float(value)  # type: ignore[arg-type]
    return (
        f"{_grouped(fixed(amount, 0)) if amount == math.floor(amount) else f'{amount:.1f}'} {unit}"
    )


def _is_long_count(value: object) -> bool:
    return not isinstance(value, str) and str(value).isdigit() and len(str(value)) > 4


def _grouped(digits: str) -> str:
    return f"{int(digits):,}".replace(",", "\u202f")
