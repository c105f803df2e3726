"""Counts of earlier days, kept by all that they depend on: a count repeats, so it need not be."""

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from arm64.counts import Counts
from arm64.cpus import Cpu
from arm64.emulated import Counted, Job, count
from arm64.pieces import Pieces
from deploy.files import file_sha256, unfinished
from deploy.onnx_file import external_files


def count_once(job: Job, cpu: Cpu, pieces: Pieces, *, again: bool = False) -> Counted:
    """Count as `arm64.emulated.count`, or give what it counted of the same before.

    Args:
        again: count in any case.
    """
    path = pieces.cache / "counts" / f"{_key(job, cpu, pieces)}.json"
    if path.is_file() and not again:
        return _from_record(json.loads(path.read_text()), job.model)
    counted = count(job, cpu, pieces)
    with unfinished(path) as temporary:
        temporary.write_text(json.dumps(_record(counted), indent=1))
    return counted


def _key(job: Job, cpu: Cpu, pieces: Pieces) -> str:
    parts = {
        "model": [file_sha256(path) for path in (job.model, *external_files(job.model))],
        "suffix": job.model.suffix,
        "shape": job.shape,
        "level": job.level,
        "config": dict(job.config),
        "runs": job.runs,
        "cpu": asdict(cpu),
        **pieces.identity,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _record(counted: Counted) -> dict[str, Any]:
    record = {name: value for name, value in asdict(counted).items() if name != "model"}
    if math.isinf(counted.psnr_vs_host_db):
        record["psnr_vs_host_db"] = None  # JSON has no infinity
    return record


def _from_record(record: dict[str, Any], model: Path) -> Counted:
    psnr_db = record.pop("psnr_vs_host_db")
    return Counted(
        model=model,
        session=Counts(**record.pop("session")),
        runs=tuple(Counts(**run) for run in record.pop("runs")),
        psnr_vs_host_db=math.inf if psnr_db is None else psnr_db,
        **record,
    )
