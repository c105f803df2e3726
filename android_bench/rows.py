"""The rows that a measurement leaves: one dataclass a table, its fields the columns.

Raw values are integer nanoseconds and bytes. Missing is None, never 0 or -1. Nothing here is an
average: every summary is derived on reading. A column with a default came later than its schema;
older rows without it are read as if it were empty.

Schema history:
    1: runs, samples, memory_samples, devices
"""

from dataclasses import dataclass
from types import NoneType
from typing import get_args, get_type_hints

SCHEMA_VERSION = 1

STATUSES = ("ok", "timeout", "crash", "load_error", "bad_output")


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
    """The process' memory at the end of one phase."""

    run_id: str
    t_ns: int
    phase: str  # baseline, loaded, first or steady
    rss_bytes: int
    rss_anon_bytes: int | None
    rss_file_bytes: int | None


@dataclass(frozen=True)
class DeviceRow:
    """The device that a session ran on."""

    device_id: str  # hash of its serial, or of its host name
    name: str
    abi: str
    os: str
    cpu: str
    cpu_cores: int
    mem_total_bytes: int
    is_phone: bool


# table name -> its row type: the one list of tables
TABLES: dict[str, type] = {
    "runs": RunRow,
    "samples": SampleRow,
    "memory_samples": MemorySampleRow,
    "devices": DeviceRow,
}

_DTYPES = {int: "Int64", float: "Float64", str: "string", bool: "boolean"}


def column_dtypes(row_type: type) -> dict[str, str]:
    """Give each column of a table and its pandas dtype: nullable, so that an empty one keeps it."""
    return {name: _DTYPES[_present(hint)] for name, hint in get_type_hints(row_type).items()}


def _present(hint: type) -> type:
    """Give T of `T | None`."""
    return next((one for one in get_args(hint) if one is not NoneType), hint)
