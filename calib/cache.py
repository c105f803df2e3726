"""Where statistics lie between runs: files named after all that decides what is in them.

A file never decides anything: one that is missing, broken or of anything else is not there.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from calib.statistics import STATISTICS_SCHEMA, Origin, Statistics, load_statistics
from deploy.errors import DataError
from deploy.files import file_sha256


def model_sha256(model: Path) -> str:
    """Give the sha256 of a model file, or where its weights lie in other files, of them all."""
    graph = onnx.load(model, load_external_data=False).graph
    beside = {
        ExternalDataInfo(tensor).location
        for tensor in graph.initializer
        if uses_external_data(tensor)
    }
    hashes = [
        file_sha256(path) for path in (model, *(model.parent / one for one in sorted(beside)))
    ]
    return hashes[0] if not beside else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def cache_path(cache: Path, origin: Origin, tensors: Sequence[str]) -> Path:
    """Give the file in the cache folder of these tensors' statistics, there or not."""
    key = json.dumps([STATISTICS_SCHEMA, asdict(origin), list(tensors)])
    return cache / f"statistics-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"


def load_started(
    path: Path, origin: Origin, tensors: Sequence[str], most: int
) -> Statistics | None:
    """Read statistics of the first crops of a set, or of all `most` of them; None without any."""
    try:
        statistics = load_statistics(path)
    except DataError:
        return None
    ours = statistics.origin == origin and list(statistics.tensors) == list(tensors)
    return statistics if ours and statistics.count <= most else None
