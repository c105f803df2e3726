"""Counted sessions for the tests: rows as `bench --device arm64` leaves them, by dataclasses."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from session_rows import make_run

from android_bench.rows import TABLES, CountRow, DeviceRow, OpRow

COUNTED_WITH = {
    "onnxruntime": "1.2.3",
    "library_sha256": "a" * 64,
    "runtime_sha256": "b" * 64,
    "qemu": "7.2.22",
    "native_sha256": "c" * 64,
    "cpu": "a76",
}
SHAPE = "[1, 3, 64, 64]"
# of one steady inference, where a case does not say otherwise: shares of all instructions
SHARES = {"simd": 0.5, "loads": 0.25, "stores": 0.125, "moved_bytes": 4, "branches": 0.0625}

# kind -> instructions, session, kinds of CountRow, and fields of RunRow
CountCases = Mapping[str, Mapping[str, Any]]
LINE: CountCases = {
    "plain": {"instructions": 53_000_000, "session": 400_000_000, "fmla": 8_000_000},
    "fp32": {"instructions": 40_000_000, "session": 300_000_000, "fmla": 8_000_000},
    "int8-arm-cpu": {
        "instructions": 32_000_000,
        "session": 340_000_000,
        "dot": 5_000_000,
        "target": "arm-cpu",
    },
}


def emulated(cpu: str = "a76", **counted_with: str) -> DeviceRow:
    told = COUNTED_WITH | {"cpu": cpu} | counted_with
    return DeviceRow(
        f"d-{cpu}", f"arm64-{cpu}", "aarch64", "Linux", f"cortex-{cpu}", 1, None, is_phone=False,
        is_emulator=True, emulated_cpu=cpu, counts_with=json.dumps(told),
    )  # fmt: skip


def make_count_rows(
    cases: CountCases,
    *,
    session_id: str = "c1",
    device: DeviceRow | None = None,
    failed: Mapping[str, str] | None = None,  # kind -> status
    ops: Mapping[str, list[tuple[str, str, int]]] | None = None,  # kind -> node, type, count
) -> dict[str, list[Any]]:
    device = device or emulated()
    rows: dict[str, list[Any]] = {name: [] for name in TABLES} | {"devices": [device]}
    for order, (kind, case) in enumerate(cases.items()):
        status = (failed or {}).get(kind, "ok")
        run = make_run(session_id, kind, 0, order, device=device, status=status)
        run = replace(
            run, mode="count", intra_op_threads=1, n_samples=0, session_create_ns=None,
            cooldown_ns=0, peak_rss_bytes=None, peak_rss_reset=None, input_shape=SHAPE,
            output_ok=True,
        )  # fmt: skip
        counted = ("instructions", "session", *SHARES, "dot", "mmla", "fmla")
        fields = {name: value for name, value in case.items() if name not in counted}
        run = replace(run, **fields)
        rows["runs"].append(run)
        if status == "ok":
            rows["counts"] += _counts(run.run_id, case)
        for node, op_type, count in (ops or {}).get(kind, []):
            profiled = replace(run, run_id=f"{run.run_id}-profiled", mode="profile")
            rows["runs"] += [profiled] if profiled not in rows["runs"] else []
            op = OpRow(profiled.run_id, 0, node, op_type, "cpu", False, 1, None, count)
            rows["ops"].append(op)
    return rows


def _counts(run_id: str, case: Mapping[str, Any]) -> list[CountRow]:
    steps = (
        ("session", None, case["session"]),
        ("first", 0, case["instructions"] + 700),
        ("steady", 1, case["instructions"]),
    )
    return [
        CountRow(
            run_id,
            phase,
            iteration,
            instructions,
            **{kind: int(case.get(kind, share * instructions)) for kind, share in SHARES.items()},
            dot=case.get("dot", 0),
            mmla=case.get("mmla", 0),
            fmla=case.get("fmla", 0),
        )
        for phase, iteration, instructions in steps
    ]
