"""Launches as other tools tell of them, and their tables. What is None was not told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pandas as pd

from android_bench.rows import SCHEMA_VERSION, TABLES, column_dtypes

IMPORTED = "imported from "  # how `tool_version` begins in rows that were


@dataclass(frozen=True)
class Launch:
    """One run of another tool's program.

    Attributes:
        model: what ran, as the tool names it.
        steady_ns: latencies, in order; several inferences in one figure where `message` says so.
        first_ns: of the first inference.
        session_create_ns: of loading the model.
        peak_rss_bytes: the process' high-water mark.
        n_samples: inferences behind `steady_ns`; None: as many as there are figures.
        status: one of `android_bench.rows.STATUSES`.
        message: what a reader has to know of the figures, in a sentence.
        provider: what computed it.
        threads: of the runtime.
        throttled: whether the tool saw the device slow down.
        ops: node name, type, calls and total ns of each operator, in order.
    """

    model: str
    steady_ns: Sequence[int]
    first_ns: int | None = None
    session_create_ns: int | None = None
    peak_rss_bytes: int | None = None
    n_samples: int | None = None
    status: str = "ok"
    message: str | None = None
    provider: str | None = None
    threads: int | None = None
    throttled: bool | None = None
    ops: Sequence[tuple[str, str, int, int]] = ()


@dataclass(frozen=True)
class Imported:
    """What one file holds.

    Attributes:
        launches: in order.
        runtime: what ran the models, such as `onnxruntime`; None where anything may have.
        device: fields of a `DeviceRow` with at least its id; empty where the device is not told.
        started_at_utc: ISO 8601.
    """

    launches: Sequence[Launch]
    runtime: str | None = None
    device: Mapping[str, Any] = field(default_factory=dict)
    started_at_utc: str | None = None


def model_name(path: str) -> str:
    """Give the bare name of a model's file, from a path of any system."""
    windows = "\\" in path
    name = PureWindowsPath(path).name if windows else PurePosixPath(path).name
    for ending in (".onnx", ".ort", ".tflite"):
        name = name.removesuffix(ending)
    return name or path


def as_tables(imported: Imported, name: str, path: Path) -> dict[str, pd.DataFrame]:
    """Give the tables of a session that hold what one file tells."""
    session_id = f"{name}:{path}"
    run_ids = [f"{session_id}#{place}" for place in range(len(imported.launches))]
    seen: dict[str, int] = {}
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in TABLES}
    for run_id, launch in zip(run_ids, imported.launches, strict=True):
        block = seen[launch.model] = seen.get(launch.model, -1) + 1
        run = _run(launch, imported, session_id=session_id, run_id=run_id, block=block)
        rows["runs"].append(run | {"tool_version": f"{IMPORTED}{name}"})
        rows["samples"] += _samples(launch, run_id)
        rows["ops"] += _ops(launch, run_id)
    if imported.device:
        rows["devices"].append(dict(imported.device))
    return {table: _typed(of_table, table) for table, of_table in rows.items()}


def _run(
    launch: Launch, imported: Imported, *, session_id: str, run_id: str, block: int
) -> dict[str, Any]:
    n_samples = len(launch.steady_ns) if launch.n_samples is None else launch.n_samples
    return {
        "schema_version": SCHEMA_VERSION,
        "session_id": session_id,
        "run_id": run_id,
        "case_id": launch.model,
        "block": block,
        "status": launch.status,
        "status_message": launch.message,
        "started_at_utc": imported.started_at_utc,
        "model": model_name(launch.model),
        "kind": "external",
        "device_id": imported.device.get("device_id"),
        "provider": launch.provider,
        "intra_op_threads": launch.threads,
        "runtime": imported.runtime,
        "session_create_ns": launch.session_create_ns,
        "n_samples": n_samples,
        "peak_rss_bytes": launch.peak_rss_bytes,
        "mode": "latency",
        "attempt": 1,
        "throttled": launch.throttled,
    }


def _samples(launch: Launch, run_id: str) -> list[dict[str, Any]]:
    phased = [("first", launch.first_ns)] if launch.first_ns is not None else []
    phased += [("steady", latency_ns) for latency_ns in launch.steady_ns]
    return [
        {"run_id": run_id, "iteration": place, "phase": phase, "latency_ns": latency_ns}
        for place, (phase, latency_ns) in enumerate(phased)
    ]


def _ops(launch: Launch, run_id: str) -> list[dict[str, Any]]:
    return [
        {
            "run_id": run_id,
            "op_index": place,
            "node_name": node_name,
            "op_type": op_type,
            "calls": calls,
            "total_ns": total_ns,
        }
        for place, (node_name, op_type, calls, total_ns) in enumerate(launch.ops)
    ]


def _typed(rows: list[dict[str, Any]], table: str) -> pd.DataFrame:
    dtypes = column_dtypes(TABLES[table])
    return pd.DataFrame(rows, columns=list(dtypes)).astype(dtypes)
