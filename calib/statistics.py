"""What activations were over a set of crops: exact limits, histograms, and where they came from.

One saved set serves every range method, so that ranges can be chosen again without running the
network again.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from calib.histogram import Histogram, empty_histogram
from deploy.errors import DataError
from deploy.files import unfinished

STATISTICS_SCHEMA = 2  # 1: JSON of ranges; 2: limits per channel and per crop, histograms


@dataclass(frozen=True)
class Sampling:
    """Which values of a tensor a histogram counts; limits are always of all values.

    Seen as a matrix of its last axis, a tensor gives every fifth row, and of that every third
    column, from one that moves on with each row. Strides of two and four would meet the same phase
    of every shuffled pixel, and never some channels where the last axis is the channels.

    Attributes:
        rows: one of so many rows.
        columns: one of so many columns.
        whole_up_to: tensors of at most so many values are counted whole.
    """

    rows: int = 5
    columns: int = 3
    whole_up_to: int = 1 << 14

    def of(self, values: np.ndarray) -> list[np.ndarray]:
        """Give the parts of a tensor that are counted, as views."""
        step = self.rows * self.columns
        if values.size <= self.whole_up_to or step == 1 or values.ndim == 0:
            return [values]
        matrix = values.reshape(-1, values.shape[-1])
        return [
            matrix[self.rows * phase :: step, phase :: self.columns]
            for phase in range(self.columns)
        ]


EVERY_VALUE = Sampling(rows=1, columns=1)


@dataclass(frozen=True)
class Origin:
    """What statistics are of. Only those of the same origin, but for the crops, can be merged.

    Attributes:
        model_sha256: of the model file, and of the files with its weights.
        crops_sha256: of the crops, see `CropSet.sha256`.
        sampling: of the histograms.
        bins: the most a histogram has.
        fetch_bytes: of activations at a time; what lies between two outputs may be fused.
        onnxruntime_version: that computed the activations.
        numpy_version: that counted them.
        machine: the processor's architecture; kernels round differently on another.
    """

    model_sha256: str
    crops_sha256: str
    sampling: Sampling
    bins: int
    fetch_bytes: int
    onnxruntime_version: str
    numpy_version: str
    machine: str


@dataclass(frozen=True)
class TensorStatistics:
    """What one tensor held over all crops.

    Attributes:
        channel_least: (C,) float32, of axis 1 where the rank is 4; (1,) elsewhere.
        channel_greatest: as `channel_least`.
        histogram: of a sample; its range is that of all values, and zero.
    """

    channel_least: np.ndarray
    channel_greatest: np.ndarray
    histogram: Histogram

    @property
    def least(self) -> float:
        """Of all values; exactly a float32."""
        return float(self.channel_least.min())

    @property
    def greatest(self) -> float:
        """Of all values; exactly a float32."""
        return float(self.channel_greatest.max())

    def merged(self, other: "TensorStatistics") -> "TensorStatistics":
        """Give the statistics of the values of both."""
        return TensorStatistics(
            np.minimum(self.channel_least, other.channel_least),
            np.maximum(self.channel_greatest, other.channel_greatest),
            self.histogram.merged(other.histogram),
        )


def tensor_statistics(values: np.ndarray, sampling: Sampling, bins: int) -> TensorStatistics:
    """Give the statistics of one array; where a value is not finite, a limit is not either.

    Args:
        values: float32, contiguous, of rank 1 or more.
    """
    by_channel = values.reshape(
        (values.shape[0], values.shape[1], -1) if values.ndim == 4 else (1, 1, -1)
    )
    least, greatest = by_channel.min(axis=2).min(axis=0), by_channel.max(axis=2).max(axis=0)
    low, high = float(least.min()), float(greatest.max())
    histogram = empty_histogram(bins)
    if np.isfinite(low) and np.isfinite(high):
        histogram = histogram.plus(sampling.of(values), least=low, greatest=high)
    return TensorStatistics(least, greatest, histogram)


@dataclass(frozen=True)
class Statistics:
    """What the activations of one model were over crops.

    Attributes:
        tensors: by name, in the order of the graph.
        crop_least: (crops, tensors) float32, in the order of the crops and of `tensors`.
        crop_greatest: as `crop_least`.
        crop_input: (crops, 3) float64: least value, mean and greatest value of the network's input.
    """

    tensors: Mapping[str, TensorStatistics]
    crop_least: np.ndarray
    crop_greatest: np.ndarray
    crop_input: np.ndarray
    origin: Origin

    @property
    def count(self) -> int:
        """How many crops were seen."""
        return len(self.crop_input)

    def save(self, path: Path) -> None:
        """Write an .npz that `load_statistics` reads, in one step. Raises OutputError."""
        with unfinished(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **_arrays(self))


def load_statistics(path: Path) -> Statistics:
    """Read what `Statistics.save` wrote.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return _from_arrays(arrays)
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} holds no statistics ({error})", "calibrate again") from error


def merge_statistics(parts: Sequence[Statistics]) -> Statistics:
    """Give the statistics of the crops of all parts, in their order.

    Only the rows of the crops, and the hash of them, tell that there were parts.

    Raises:
        DataError: there are none, or they are of different models, tensors, bins or versions.
    """
    if not parts:
        raise DataError("no statistics to merge", "pass at least one")
    first = parts[0]
    for part in parts[1:]:
        _require_alike(first, part)
    tensors = dict(first.tensors)
    for part in parts[1:]:
        tensors = {name: one.merged(part.tensors[name]) for name, one in tensors.items()}
    hashes = "\n".join(part.origin.crops_sha256 for part in parts)
    crops_sha256 = hashlib.sha256(hashes.encode()).hexdigest()
    return Statistics(
        tensors,
        np.concatenate([part.crop_least for part in parts]),
        np.concatenate([part.crop_greatest for part in parts]),
        np.concatenate([part.crop_input for part in parts]),
        replace(first.origin, crops_sha256=crops_sha256),
    )


def _require_alike(first: Statistics, other: Statistics) -> None:
    if list(first.tensors) != list(other.tensors):
        raise DataError("statistics of different tensors", "merge those of one model only")
    for name, value in vars(first.origin).items():
        found = vars(other.origin)[name]
        if name != "crops_sha256" and found != value:
            raise DataError(
                f"statistics differ in {name}: {value} and {found}",
                "collect all parts from one model in one way",
            )


def _arrays(statistics: Statistics) -> dict[str, np.ndarray]:
    """Give what the file holds: flat arrays, and JSON for what is no array."""
    tensors = list(statistics.tensors.values())
    histograms = [one.histogram for one in tensors]
    record = {
        "schema": STATISTICS_SCHEMA,
        "tensors": list(statistics.tensors),
        "origin": asdict(statistics.origin),
    }
    return {
        "record": np.array(json.dumps(record)),
        "channels": np.array([len(one.channel_least) for one in tensors]),
        "channel_least": _joined([one.channel_least for one in tensors], np.float32),
        "channel_greatest": _joined([one.channel_greatest for one in tensors], np.float32),
        "range": np.array([(one.least, one.greatest) for one in histograms], np.float32),
        "counts": _joined([one.counts for one in histograms], np.int64),
        "crop_least": statistics.crop_least,
        "crop_greatest": statistics.crop_greatest,
        "crop_input": statistics.crop_input,
    }


def _joined(arrays: list[np.ndarray], dtype: npt.DTypeLike) -> np.ndarray:
    return np.concatenate([np.empty(0, dtype), *arrays])


def _from_arrays(arrays: Mapping[str, np.ndarray]) -> Statistics:
    record = json.loads(str(arrays["record"]))
    if record["schema"] != STATISTICS_SCHEMA:
        raise ValueError(f"schema {record['schema']}")
    origin = record["origin"]
    origin = Origin(**{**origin, "sampling": Sampling(**origin["sampling"])})
    names, channels = record["tensors"], arrays["channels"]
    limits = [_split(arrays[f"channel_{end}"], channels.tolist()) for end in ("least", "greatest")]
    histograms = _histograms(arrays["range"], arrays["counts"], origin.bins)
    tensors = {
        name: TensorStatistics(least, greatest, histogram)
        for name, least, greatest, histogram in zip(names, *limits, histograms, strict=True)
    }
    least, greatest, image = (arrays[f"crop_{what}"] for what in ("least", "greatest", "input"))
    if not (least.shape == greatest.shape == (len(image), len(names)) and image.shape[1:] == (3,)):
        raise ValueError("rows of crops that do not fit the tensors")
    return Statistics(tensors, least, greatest, image, origin)


def _histograms(ranges: np.ndarray, counts: np.ndarray, bins: int) -> list[Histogram]:
    """Give the histograms of their ranges, which say where each one's counts begin and end."""
    empty = empty_histogram(bins)
    histograms = [empty.widened(*ends) for ends in ranges.tolist()]
    parts = _split(counts, [len(one.counts) for one in histograms])
    for histogram, part in zip(histograms, parts, strict=True):
        histogram.counts[:] = part
    return histograms


def _split(joined: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    if sum(lengths) != len(joined):
        raise ValueError("arrays that do not fit each other")
    return np.split(joined, np.cumsum(lengths)[:-1])
