"""What a table can be asked for: values of a case, and what to split rows and columns by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from deploy.errors import UsageError
from reports.footnotes import Case, fell_back, provider_name
from reports.grid import Cell
from reports.rounding import DASH, fixed, with_interval
from reports.stats import CONFIDENCE
from reports.summary import INTERVALS


@dataclass(frozen=True)
class Value:
    """Something measured of a case.

    Attributes:
        header: its name with the unit.
        key: its name where a program reads it.
        columns: of the summary: the value, or value, low and high.
        places: decimals of a value without an interval of its own kind; None: rounded by it.
        unit: set behind the number, where the header has none.
        per: the summary has so many to one of the header's unit.
        missing: what to say where the rows do not have it; None: nothing.
        remark: how to read it.
    """

    header: str
    key: str
    columns: tuple[str, ...]
    places: int | None = None
    unit: str = ""
    per: float = 1.0
    missing: str | None = None
    remark: str | None = None


_INTERVAL = f"[{CONFIDENCE * 100:.0f} % interval]"
_LAUNCHES = "the median over launches"
_UNCOUNTED = "counted at a float file that bench measures beside it; imported rows have none"
_SPEED_UP = ("speed_up", "speed_up_ci_low", "speed_up_ci_high")

VALUES: dict[str, Value] = {
    "latency": Value(
        "latency ms", "latency_ms", INTERVALS["latency_ms"],
        remark=f"Latency is {_LAUNCHES} of each launch's median {_INTERVAL}.",
    ),
    "p90": Value(
        "p90 ms", "p90_ms", ("p90_ms",), missing="it takes 10 samples",
    ),
    "p99": Value(
        "p99 ms", "p99_ms", ("p99_ms",), missing="it takes 100 samples",
    ),
    "first": Value("first inference ms", "first_inference_ms", INTERVALS["first_inference_ms"]),
    "load": Value("session creation ms", "session_create_ms", INTERVALS["session_create_ms"]),
    "speed_up": Value("speed-up", "speed_up", _SPEED_UP, unit="×"),
    "memory": Value(
        "peak memory MiB", "peak_rss_mib", INTERVALS["peak_rss_mib"],
        remark=f"Peak memory is resident memory of the whole process, {_LAUNCHES}.",
    ),
    "native": Value(
        "native heap MiB", "peak_native_heap_mib", INTERVALS["peak_native_heap_mib"],
        remark="Native heap is what Android counts so, at its peak; it includes the runtime.",
    ),
    "added": Value(
        "added memory MiB", "peak_over_baseline_mib", ("peak_over_baseline_mib",), 0,
        remark="Added memory is what the peak adds to the process before the model loads.",
    ),
    "pss": Value("peak PSS MiB", "peak_pss_mib", ("peak_pss_mib",), 0),
    "psnr": Value("PSNR dB", "psnr_db", ("psnr_db",), 2),
    "ssim": Value("SSIM", "ssim", ("ssim",), 4),
    "psnr_vs_fp32": Value("PSNR to fp32 dB", "psnr_vs_fp32_db", ("psnr_vs_fp32_db",), 2),
    "size": Value("file MiB", "model_mib", ("model_mib",), 2),
    "params": Value("params M", "params_m", ("model_params",), 3, per=1e6, missing=_UNCOUNTED),
    "macs": Value("MACs G", "macs_g", ("model_macs",), 3, per=1e9, missing=_UNCOUNTED),
    "coverage": Value("nodes on provider %", "coverage_pct", ("coverage_pct",), 0),
    "instructions": Value(
        "instructions M", "instructions_m", ("instructions",), 2, per=1e6,
        remark="Instructions of one steady inference on one thread, counted exactly.",
    ),
    "session_instructions": Value(
        "session creation, instructions M", "session_instructions_m", ("session_instructions",), 2,
        per=1e6,
    ),
    "launches": Value("launches", "n_launches", ("n_launches",), 0),
    "samples": Value("samples", "n_samples", ("n_samples",), 0),
}  # fmt: skip

# what only a device with a clock has, and what only one has that counts
OF_A_CLOCK: tuple[str, ...] = (
    "latency",
    "p90",
    "p99",
    "first",
    "load",
    "speed_up",
    "memory",
    "native",
    "added",
)
OF_A_CLOCK += ("pss", "samples")
OF_A_COUNTER = ("instructions", "session_instructions")

STAGES = {"plain": "default", "int8-opt": "quantized + optimized"}

Reader = Callable[[pd.DataFrame], "pd.Series[str]"]


def _column(name: str) -> Reader:
    return lambda summary: summary[name].astype("string")


def _stage(summary: pd.DataFrame) -> "pd.Series[str]":
    bare = summary["kind"].str.replace(r"^int8-opt-.*", "int8-opt", regex=True)
    return bare.map(STAGES).astype("string")


def _provider(summary: pd.DataFrame) -> "pd.Series[str]":
    return summary["provider"].map(provider_name).astype("string")


DIMENSIONS: dict[str, Reader] = {
    "model": _column("model"),
    "kind": _column("kind"),
    "precision": _column("precision"),
    "stage": _stage,
    "target": _column("target"),
    "provider": _provider,
    "device": _column("device"),
    "threads": _column("threads"),
    "runtime": _column("runtime"),
    "version": _column("runtime_version"),
    "shape": _column("input_shape"),
    "cores": _column("cores_asked"),
    "session": _column("session_id"),
}


def checked(names: Sequence[str], known: Mapping[str, object], what: str) -> list[str]:
    """Give names that are all known, each once. Raises UsageError with the list of them."""
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"unknown {what} {unknown[0]!r}", f"use one of {', '.join(known)}")
    return list(dict.fromkeys(names))


def cell_of(case: Case, value: Value, baseline_kind: str) -> Cell:
    """Give one value of one case, without its footnotes."""
    if value.key == "speed_up" and case["kind"] == baseline_kind:
        return Cell(DASH) if pd.isna(case["latency_median_ms"]) else Cell("1×", 1.0)
    if pd.isna(case[value.columns[0]]):
        return Cell(DASH, notes=(f"no {value.header}: {value.missing}",) if value.missing else ())
    numbers = [float(case[name]) / value.per for name in value.columns]
    if value.places is not None:
        return Cell(fixed(numbers[0], value.places), numbers[0])
    low, high = numbers[1:] if len(numbers) == 3 else (float("nan"), float("nan"))
    return Cell(with_interval(numbers[0], low, high, value.unit), numbers[0], low, high)


def provider_said(case: Case) -> str:
    """Give the provider of a case, and that it fell back where it did."""
    if "provider_fallback" in str(case["flags"]).split(","):
        return fell_back(case).partition(":")[0]
    return provider_name(case["provider"])
