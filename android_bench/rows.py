"""The rows that a measurement leaves: one dataclass a table, its fields the columns.

Raw values are integer nanoseconds and bytes. Missing is None, never 0 or -1. Nothing here is an
average: every summary is derived on reading. A column with a default came later than its schema;
older rows without it are read as if it were empty.

Schema history:
    1: runs, samples, memory_samples, devices
    2: telemetry and ops; what a phone adds to runs, memory_samples and devices
    3: counts; instructions of ops; what an emulated processor adds to devices
"""

from dataclasses import dataclass
from types import NoneType
from typing import get_args, get_type_hints

SCHEMA_VERSION = 3

STATUSES = (
    "ok",
    "timeout",
    "crash",  # ended by a signal, or with a code that the protocol does not know
    "load_error",
    "bad_output",  # what it printed is not the protocol
    "output_mismatch",  # it ran, and computed something else than this machine does
    "provider_fallback",  # the provider took no node, and that was asked to be an error
    "throttled",  # too hot, and too often redone
    "oom_killed",
    "device_lost",
    "unavailable",  # the device does not have the provider
    "skipped",
)
MODES = ("latency", "memory", "profile", "save", "check", "count")


@dataclass(frozen=True)
class RunRow:
    """One launch of one case: a fresh process that loads a model and runs it many times."""

    schema_version: int
    session_id: str
    run_id: str
    case_id: str
    block: int  # a block launches every case once
    order_in_block: int
    status: str  # one of STATUSES
    status_message: str | None
    exit_code: int | None
    started_at_utc: str  # ISO 8601
    duration_ns: int
    # what ran
    model: str
    kind: str
    target: str | None  # the hardware the file was made for; None: any
    model_sha256: str
    model_bytes: int
    calibration_sha256: str | None
    # how
    device_id: str
    provider: str
    intra_op_threads: int
    runtime: str | None
    runtime_version: str | None
    tool_version: str
    seed: int
    # what came out
    session_create_ns: int | None
    n_samples: int
    peak_rss_bytes: int | None  # the kernel's high-water mark of the whole launch
    peak_rss_reset: bool | None  # False: the mark includes the start of the process
    output_sha256: str | None
    # quality of the file itself, measured when it was made, on held-out images
    psnr_db: float | None
    ssim: float | None
    psnr_vs_fp32_db: float | None
    degraded_psnr_db: float | None
    degraded_ssim: float | None
    # what the runtime was asked to do with the graph
    graph_opt_level: str | None = None
    session_config: str | None = None  # JSON object of the entries that the case asked for
    fusion: str | None = None  # what of an optimized file runs in integers, in a sentence
    # since schema 2: what it was
    mode: str = "latency"  # one of MODES; summaries of latency take launches of that mode only
    attempt: int = 1  # a launch that was lost or throttled is taken again, under the next number
    signal: int | None = None
    log_tail: str | None = None  # the last lines of the runtime's log, where the launch failed
    model_opset: int | None = None
    model_params: int | None = None  # trained numbers of the network
    model_macs: int | None = None  # multiply-accumulates of one inference
    input_shape: str | None = None  # JSON array, (N, C, H, W)
    input_sha256: str | None = None
    runtime_sha256: str | None = None  # of the library that ran
    runner_sha256: str | None = None
    cores_asked: str | None = None  # hexadecimal mask of CPUs
    cores_granted: str | None = None
    # who computed it
    nodes_total: int | None = None  # of the graph as the runtime executes it
    nodes_on_provider: int | None = None  # those that the provider asked for took
    partitions_on_provider: int | None = None
    coverage_source: str | None = None  # api, profile or log
    fallback_reasons: str | None = None  # JSON array of sentences
    # whether it computed the right thing, against this machine's runtime on the same file
    output_checked: bool | None = None
    output_ok: bool | None = None
    output_max_abs_err: float | None = None  # of the output's own range
    output_vs_host_psnr_db: float | None = None
    # under which conditions
    thermal_source: str | None = None  # service, sysfs or none
    thermal_status_start: int | None = None  # 0 none ... 6 shutdown, as Android counts
    thermal_status_max: int | None = None
    temp_start_c: float | None = None
    temp_max_c: float | None = None
    battery_temp_start_c: float | None = None
    battery_level_pct: float | None = None
    charging: bool | None = None
    freq_cap_min_pct: float | None = None  # lowest scaling_max_freq over cpuinfo_max_freq
    throttled: bool | None = None
    cooldown_ns: int | None = None  # waited before this launch
    loadavg1_start: float | None = None
    # memory by Android's own names; peaks over the samples of a launch of mode `memory`
    memory_source: str | None = None  # smaps, meminfo or status
    memory_interval_ns: int | None = None  # between two samples
    peak_native_heap_bytes: int | None = None  # proportional share (PSS)
    peak_pss_bytes: int | None = None
    peak_sampled_rss_bytes: int | None = None
    peak_missed_bytes: int | None = None  # the kernel's high-water mark over the sampled peak
    # since schema 3: what Android itself counts, asked once that launch runs
    meminfo_native_heap_bytes: int | None = None  # proportional share, by `dumpsys meminfo`
    meminfo_diff_pct: float | None = None  # it over our own sum of that moment


@dataclass(frozen=True)
class SampleRow:
    """One inference."""

    run_id: str
    iteration: int
    phase: str  # first, warmup or steady
    t_start_ns: int  # monotonic clock of the device
    latency_ns: int


@dataclass(frozen=True)
class MemorySampleRow:
    """The process' memory at one moment: the end of a phase, or a tick of the sampler."""

    run_id: str
    t_ns: int
    phase: str  # baseline, loaded, first or steady
    rss_bytes: int
    rss_anon_bytes: int | None
    rss_file_bytes: int | None
    pss_bytes: int | None = None
    native_heap_bytes: int | None = None  # proportional share of Android's native heap
    swap_pss_bytes: int | None = None


@dataclass(frozen=True)
class TelemetryRow:
    """One reading of one sensor: just before a launch, while it ran, or right after it."""

    run_id: str
    t_ns: int  # monotonic clock of the device
    metric: str  # thermal_status, temp_c, freq_khz, freq_cap_khz, battery_pct, loadavg1
    source: str  # which sensor: cpu4, skin, battery
    value: float


@dataclass(frozen=True)
class OpRow:
    """One node of the graph as the runtime executes it, in a launch of mode `profile`."""

    run_id: str
    op_index: int  # order of execution
    node_name: str
    op_type: str
    provider: str
    is_partition: bool  # many nodes that the provider compiled into one
    calls: int
    total_ns: int | None  # None where instructions are counted in place of time
    # since schema 3
    instructions: int | None = None  # of one inference, on an emulated processor


@dataclass(frozen=True)
class CountRow:
    """What an emulated processor executed in one step of a launch of mode `count`.

    Instructions are never a time: no table, plot or sentence may mix the two.
    """

    run_id: str
    phase: str  # session, first, warmup or steady
    iteration: int | None  # None: the session is made
    instructions: int  # all of them
    simd: int  # on vector registers: computing, loading or storing; scalar floats among them
    loads: int
    stores: int
    moved_bytes: int  # by loads and stores, from and to the first cache
    dot: int  # SDOT, UDOT, USDOT and SUDOT
    mmla: int  # SMMLA, UMMLA, USMMLA and BFMMLA
    fmla: int  # vector FMLA
    branches: int


@dataclass(frozen=True)
class DeviceRow:
    """The device that a session ran on."""

    device_id: str  # hash of its serial, or of its host name
    name: str
    abi: str
    os: str
    cpu: str
    cpu_cores: int
    mem_total_bytes: int | None  # None: emulated, and this machine's says nothing of it
    is_phone: bool
    # since schema 2
    manufacturer: str | None = None
    model: str | None = None
    soc: str | None = None
    android_release: str | None = None
    sdk: int | None = None
    build_fingerprint: str | None = None
    kernel: str | None = None
    page_size_bytes: int | None = None
    cpu_max_freq_khz: str | None = None  # JSON array, one a core
    governor: str | None = None
    is_emulator: bool | None = None
    sensors: str | None = None  # JSON object: sensor -> available, denied or absent
    # since schema 3
    emulated_cpu: str | None = None  # a53, a76 or i8mm: this device counts, and has no clock
    counts_with: str | None = None  # JSON object: all that a count depends on besides the model


# table name -> its row type: the one list of tables
TABLES: dict[str, type] = {
    "runs": RunRow,
    "samples": SampleRow,
    "memory_samples": MemorySampleRow,
    "telemetry": TelemetryRow,
    "ops": OpRow,
    "counts": CountRow,
    "devices": DeviceRow,
}

_DTYPES = {int: "Int64", float: "Float64", str: "string", bool: "boolean"}


def column_dtypes(row_type: type) -> dict[str, str]:
    """Give each column of a table and its pandas dtype: nullable, so that an empty one keeps it."""
    return {name: _DTYPES[_present(hint)] for name, hint in get_type_hints(row_type).items()}


def _present(hint: type) -> type:
    """Give T of `T | None`."""
    return next((one for one in get_args(hint) if one is not NoneType), hint)
