"""Sessions for the tests: rows built through the dataclasses, seeded, written as a bench would."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from android_bench.rows import (
    SCHEMA_VERSION,
    TABLES,
    DeviceRow,
    MemorySampleRow,
    RunRow,
    SampleRow,
    column_dtypes,
)

MIB = 2**20
HOST = DeviceRow("d-host", "desk", "x86_64", "Linux 6.1", "Some CPU", 2, 8 * 2**30, is_phone=False)

PHONE = DeviceRow("d-phone", "handy", "arm64-v8a", "Android 15", "Arm", 8, 8 * 2**30, is_phone=True)

Rows = dict[str, list[Any]]
Cases = Mapping[str, Mapping[str, Any]]  # kind -> latency_ms and fields of RunRow


def make_rows(
    cases: Cases,
    *,
    launches: int = 8,
    spread: float = 0.02,
    session_id: str = "s1",
    device: DeviceRow = HOST,
    failed: Mapping[tuple[str, int], str] | None = None,  # (kind, block) -> status
) -> Rows:
    rng = np.random.default_rng(0)
    rows: Rows = {name: [] for name in TABLES} | {"devices": [device]}
    for block in range(launches):
        for order, (kind, described) in enumerate(cases.items()):
            status = (failed or {}).get((kind, block), "ok")
            fields = {name: value for name, value in described.items() if name != "latency_ms"}
            run = make_run(session_id, kind, block, order, device=device, status=status)
            rows["runs"].append(replace(run, **fields))
            if status == "ok":
                launch_ms = described["latency_ms"] * np.exp(rng.normal(0, spread))
                rows["samples"] += _samples(run.run_id, launch_ms, spread, rng)
                rows["memory_samples"] += _memory(run.run_id)
    return rows


def make_run(
    session_id: str, kind: str, block: int, order: int, *, device: DeviceRow, status: str
) -> RunRow:
    ok = status == "ok"
    return RunRow(
        schema_version=SCHEMA_VERSION,
        session_id=session_id,
        run_id=f"{session_id}/{kind}/{block}",
        case_id=f"case-{kind}",
        block=block,
        order_in_block=order,
        status=status,
        status_message=None if ok else "ended early",
        exit_code=0 if ok else 139,
        started_at_utc=f"2026-01-01T00:{block:02d}:{order:02d}Z",
        duration_ns=2_000_000_000,
        model="net",
        kind=kind,
        target=None,
        model_sha256=f"{kind}-sha",
        model_bytes=3 * MIB // 2,
        calibration_sha256=None,
        device_id=device.device_id,
        provider="cpu",
        intra_op_threads=2,
        runtime="onnxruntime" if ok else None,
        runtime_version="1.2.3" if ok else None,
        tool_version="0.1.0",
        seed=0,
        session_create_ns=50_000_000 if ok else None,
        n_samples=8 if ok else 0,
        peak_rss_bytes=120 * MIB if ok else None,
        peak_rss_reset=True if ok else None,
        output_sha256=f"{kind}-out" if ok else None,
        psnr_db=30.5,
        ssim=0.87125,
        psnr_vs_fp32_db=None,
        degraded_psnr_db=20.7,
        degraded_ssim=0.43,
    )


def _samples(run_id: str, launch_ms: float, spread: float, rng: np.random.Generator) -> list[Any]:
    steady_ms = launch_ms * np.exp(rng.normal(0, spread, 6))
    latencies_ms = [2 * launch_ms, 1.1 * launch_ms, *steady_ms]
    phases = ["first", "warmup", *["steady"] * 6]
    return [
        SampleRow(run_id, iteration, phase, iteration, round(latency_ms * 1e6))
        for iteration, (phase, latency_ms) in enumerate(zip(phases, latencies_ms, strict=True))
    ]


def _memory(run_id: str) -> list[Any]:
    rss_mib = {"baseline": 40, "loaded": 80, "first": 110, "steady": 115}
    return [
        MemorySampleRow(run_id, place, phase, mib * MIB, None, None)
        for place, (phase, mib) in enumerate(rss_mib.items())
    ]


def write_rows(folder: Path, rows: Rows) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, row_type in TABLES.items():
        dtypes = column_dtypes(row_type)
        frame = pd.DataFrame([asdict(row) for row in rows[name]], columns=list(dtypes))
        frame.astype(dtypes).to_parquet(folder / f"{name}.parquet")
    return folder
