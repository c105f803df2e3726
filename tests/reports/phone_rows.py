"""A session as a phone would leave it: three providers, heat, a sampler, a profile, failures."""

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from android_bench.rows import (
    SCHEMA_VERSION,
    TABLES,
    DeviceRow,
    MemorySampleRow,
    OpRow,
    RunRow,
    SampleRow,
    TelemetryRow,
)

MIB = 2**20
PHONE = DeviceRow(
    "d-phone",
    "handy",
    "arm64-v8a",
    "Android 15",
    "Cortex-X4",
    8,
    11 * 2**30,
    is_phone=True,
    manufacturer="Maker",
    model="H-1",
    soc="SoC 3",
    android_release="15",
    sdk=35,
    build_fingerprint="maker/handy/handy:15/AP3A.240905.015/123:user/release-keys",
    kernel="6.1.75-android14-11",
    page_size_bytes=4096,
    cpu_max_freq_khz=json.dumps([2000000] * 4 + [2900000] * 3 + [3300000]),
    governor="schedutil",
    is_emulator=False,
    sensors=json.dumps({"skin": "available", "battery": "available", "gpu": "denied"}),
)


@dataclass(frozen=True)
class Graph:
    """One case of the session."""

    kind: str
    latency_ms: float
    peak_mib: int
    model_bytes: int
    psnr_db: float
    nodes: int
    on_provider: int
    partitions: int


GRAPHS = (
    Graph("plain", 212.0, 402, 17_412_096, 32.87, 418, 418, 1),
    Graph("fp32", 148.0, 350, 17_010_688, 32.87, 286, 286, 1),
    Graph("int8-arm-cpu", 96.0, 214, 4_610_048, 32.61, 312, 312, 1),
    Graph("int8-opt-arm-cpu", 61.5, 188, 4_480_000, 32.60, 198, 181, 4),
)


@dataclass(frozen=True)
class Launch:
    """When and where one launch of the session ran."""

    graph: Graph
    mode: str
    block: int
    order: int
    start_ns: int

    @property
    def run_id(self) -> str:
        return f"{self.mode}-{self.graph.kind}-{self.block}"


def phone_rows(
    graphs: tuple[Graph, ...] = GRAPHS, *, launches: int = 8, samples: int = 30, **fields: Any
) -> dict[str, list[Any]]:
    """Give the rows of a session; `fields` are put into every run."""
    rng = np.random.default_rng(7)
    rows: dict[str, list[Any]] = {name: [] for name in TABLES} | {"devices": [PHONE]}
    clock_ns = 81_000_000_000_000
    modes = [("latency", block) for block in range(launches)] + [("memory", 0), ("profile", 0)]
    for mode, block in modes:
        in_order = graphs if block % 2 == 0 else graphs[::-1]
        for order, graph in enumerate(in_order):
            launch = Launch(graph, mode, block, order, clock_ns)
            clock_ns = _add_launch(rows, launch, samples, rng) + 3_000_000_000
    first_ns = min(row.t_ns for row in rows["telemetry"])
    rows["runs"] = [
        replace(run, started_at_utc=_utc(run.duration_ns, first_ns), duration_ns=9_000_000_000)
        for run in rows["runs"]
    ]
    rows["runs"] = [replace(run, **fields) for run in rows["runs"]]
    _fail_one(rows)
    return rows


def _utc(start_ns: int, first_ns: int) -> str:
    seconds = (start_ns - first_ns) // 1_000_000_000
    return f"2026-11-20T10:{seconds // 60:02d}:{seconds % 60:02d}.000+00:00"


def _add_launch(
    rows: dict[str, list[Any]], launch: Launch, samples: int, rng: np.random.Generator
) -> int:
    """Add the rows of one launch; give when it ended."""
    heat = min(launch.start_ns - 81_000_000_000_000, 2.4e11) / 2.4e11  # 0 at first, 1 after 4 min
    throttled = heat > 0.75
    middle_ms = launch.graph.latency_ms * (1 + 0.05 * heat + 0.12 * throttled)
    middle_ms *= np.exp(rng.normal(0, 0.015))
    latencies_ms = middle_ms * np.exp(rng.normal(0, 0.012, samples))
    latencies_ms = latencies_ms * np.r_[1.9, 1.1, 1.05, np.ones(samples - 3)]
    phases = ["first", "warmup", "warmup", *["steady"] * (samples - 3)]
    at_ns = launch.start_ns + 600_000_000
    for iteration, (phase, latency_ms) in enumerate(zip(phases, latencies_ms, strict=True)):
        latency_ns = round(latency_ms * 1e6)
        rows["samples"].append(SampleRow(launch.run_id, iteration, phase, at_ns, latency_ns))
        at_ns += latency_ns
    rows["telemetry"] += _telemetry(launch, at_ns, heat)
    rows["memory_samples"] += _memory(launch, at_ns)
    if launch.mode == "profile":
        rows["ops"] += _ops(launch, samples)
    rows["runs"].append(_run(launch, samples, heat))
    return at_ns


def _telemetry(launch: Launch, end_ns: int, heat: float) -> list[TelemetryRow]:
    rows = []
    for t_ns in range(launch.start_ns, end_ns, 1_000_000_000):
        hot = heat > 0.75
        readings = [("temp_c", "skin", 31 + 11 * heat), ("temp_c", "battery", 29 + 6 * heat)]
        readings += [("temp_c", "cpu7", 52 + 34 * heat + 3 * (t_ns // 1_000_000_000 % 2))]
        readings += [("thermal_status", "service", 2.0 if hot else 0.0)]
        for core, fastest in (("cpu0", 2.0e6), ("cpu1", 2.0e6), ("cpu4", 2.9e6), ("cpu7", 3.3e6)):
            cap = fastest * (0.7 if hot and core != "cpu0" else 1.0)
            readings += [("freq_khz", core, cap), ("freq_cap_khz", core, cap)]
        rows += [TelemetryRow(launch.run_id, t_ns, *reading) for reading in readings]
    return rows


def _memory(launch: Launch, end_ns: int) -> list[MemorySampleRow]:
    peak = launch.graph.peak_mib
    ends = {"baseline": 46.0, "loaded": 0.55 * peak, "first": 0.97 * peak, "steady": 0.94 * peak}
    start_ns = launch.start_ns
    times_ns = np.array([0, 40e6, 560e6, 900e6, end_ns - start_ns])
    rows, before = [], 46.0
    ticks = 25 if launch.mode == "memory" else 1
    for (phase, rss_mib), begin, end in zip(ends.items(), times_ns[:-1], times_ns[1:], strict=True):
        for tick in range(1, ticks + 1):
            part = tick / ticks
            now = before + (rss_mib - before) * part**0.5
            rss = round(now * MIB)
            t_ns = start_ns + round(begin + (end - begin) * part)
            sampled = (rss, rss * 7 // 10, rss * 2 // 10, rss, rss * 6 // 10, 0)
            rows.append(MemorySampleRow(launch.run_id, t_ns, phase, *sampled))
        before = rss_mib
    return rows


def _ops(launch: Launch, samples: int) -> list[OpRow]:
    kinds = [
        ("Conv", 36, 0.72),
        ("Mul", 30, 0.05),
        ("Add", 24, 0.05),
        ("GlobalAveragePool", 9, 0.04),
    ]
    kinds += [("Transpose", 8, 0.04), ("DepthToSpace", 4, 0.03), ("QuantizeLinear", 12, 0.02)]
    kinds += [("Slice", 18, 0.01), ("ReduceMean", 18, 0.02), ("Sub", 9, 0.005), ("Sqrt", 9, 0.005)]
    kinds += [("Div", 9, 0.005), ("Concat", 2, 0.005)]
    rows: list[OpRow] = []
    for op_type, count, share in kinds:
        for node in range(count):
            per_node_ns = launch.graph.latency_ms * 1e6 * share / count
            partition = op_type == "Conv" and node < launch.graph.partitions > 1
            provider = "xnnpack" if partition else "cpu"
            name = f"{op_type}_{node}"
            total_ns = round(per_node_ns * samples)
            row = OpRow(
                launch.run_id, len(rows), name, op_type, provider, partition, samples, total_ns
            )
            rows.append(row)
    return rows


def _run(launch: Launch, samples: int, heat: float) -> RunRow:
    graph = launch.graph
    xnnpack = graph.partitions > 1
    return RunRow(
        schema_version=SCHEMA_VERSION,
        session_id="phone",
        run_id=launch.run_id,
        case_id=f"case-{graph.kind}",
        block=launch.block,
        order_in_block=launch.order,
        status="ok",
        status_message=None,
        exit_code=0,
        started_at_utc="",
        duration_ns=launch.start_ns,  # replaced when the first is known
        model="nafnet-16-9",
        kind=graph.kind,
        target="arm-cpu" if graph.kind.startswith("int8") else None,
        model_sha256=graph.kind.encode().hex().ljust(64, "0")[:64],
        model_bytes=graph.model_bytes,
        calibration_sha256="c" * 64 if graph.kind.startswith("int8") else None,
        device_id=PHONE.device_id,
        provider="xnnpack",
        intra_op_threads=4,
        runtime="onnxruntime",
        runtime_version="1.31.1",
        tool_version="0.1.0",
        seed=0,
        session_create_ns=520_000_000,
        n_samples=samples,
        peak_rss_bytes=graph.peak_mib * MIB,
        peak_rss_reset=True,
        output_sha256=f"out-{graph.kind}",
        psnr_db=graph.psnr_db,
        ssim=0.9 + graph.psnr_db / 1000,
        psnr_vs_fp32_db=None,
        degraded_psnr_db=24.13,
        degraded_ssim=0.61,
        graph_opt_level="all",
        session_config=json.dumps({"session.intra_op.allow_spinning": "0"}),
        mode=launch.mode,
        model_opset=20,
        model_params=4_350_000,
        model_macs=4_100_000_000,
        input_shape="[1, 3, 256, 256]",
        input_sha256="1" * 64,
        runtime_sha256="2" * 64,
        runner_sha256="3" * 64,
        cores_asked="f0",
        cores_granted="f0",
        nodes_total=graph.nodes,
        nodes_on_provider=graph.on_provider,
        partitions_on_provider=graph.partitions,
        coverage_source="api",
        fallback_reasons=json.dumps(["9 ReduceMean: axes are not constant"]) if xnnpack else None,
        thermal_source="service",
        thermal_status_start=0,
        thermal_status_max=2 if heat > 0.75 else 0,
        temp_start_c=31 + 11 * heat,
        temp_max_c=32 + 11 * heat,
        battery_level_pct=81.0,
        charging=False,
        freq_cap_min_pct=70.0 if heat > 0.75 else 100.0,
        throttled=heat > 0.75,
        cooldown_ns=3_000_000_000,
        loadavg1_start=0.4,
    )


def _fail_one(rows: dict[str, list[Any]]) -> None:
    """Let the second launch of the second graph be lost on its first attempt."""
    second = next(run for run in rows["runs"] if run.block == 1 and run.kind == "fp32")
    lost = replace(
        second,
        run_id=f"{second.run_id}-lost",
        status="oom_killed",
        status_message="the low-memory killer ended it",
        signal=9,
        log_tail="lowmemorykiller: Kill 'ort_bench' (4711), adj 900\n<b>not a tag</b>",
    )
    rows["runs"] += [lost]
    rows["runs"] = [replace(run, attempt=2) if run is second else run for run in rows["runs"]]
