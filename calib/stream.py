"""Running a model over crops, one at a time, and keeping only what `Statistics` holds.

Memory is that of one crop's activations, however many crops there are. Interrupted at any moment,
it goes on at the crop where it stopped.
"""

import hashlib
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnxruntime

from calib.cache import cache_path, load_started, model_sha256
from calib.crops import Crop, CropSet, read_crops
from calib.exposed import FETCH_BYTES, ExposedModel
from calib.histogram import DEFAULT_BINS, FEWEST_BINS, MOST_BINS
from calib.statistics import Origin, Sampling, Statistics, TensorStatistics, tensor_statistics
from deploy.errors import DataError, UsageError

SAVE_EVERY_S = 5.0
_MOST_THREADS = 4


def collect_statistics(
    model: Path,
    crop_set: CropSet,
    cache: Path,
    *,
    tensors: Sequence[str] | None = None,
    bins: int = DEFAULT_BINS,
    sampling: Sampling = Sampling(),
    fetch_bytes: int = FETCH_BYTES,
    on_crop: Callable[[int], None] | None = None,
) -> Statistics:
    """Give a model's statistics over a crop set, from the cache folder as far as they are there.

    Args:
        model: a float ONNX file with one float32 image input of a fixed shape.
        cache: folder of files named after their content; anything in it may be deleted.
        tensors: which to read; None is every float32 activation of rank 4.
        bins: most of each histogram.
        fetch_bytes: as in `ExposedModel`.
        on_crop: called after each crop that is run, with the number done so far; those of an
            earlier, interrupted run count.

    Raises:
        DataError: as `read_crops`; an activation that is NaN or infinite, named with its crop;
            crops that all hold one value, or all the same picture.
        GraphError: as `ExposedModel`.
        UsageError: too few or too many bins.
        OutputError: the cache folder cannot be written.
    """
    exposed = ExposedModel(model, tensors, fetch_bytes=fetch_bytes)
    origin = _origin(model, crop_set.sha256, sampling, bins, fetch_bytes)
    path = cache_path(cache, origin, exposed.tensors)
    started = load_started(path, origin, exposed.tensors, most=len(crop_set.crops))
    with _Stream(exposed, origin, started) as stream:
        left = crop_set.crops[stream.count :]
        if left:
            with _saved(stream, path) as save_if_due:
                for crop, values in zip(
                    left, read_crops(replace(crop_set, crops=left)), strict=True
                ):
                    stream.add(values, _label(stream.count, crop))
                    save_if_due()
                    if on_crop:
                        on_crop(stream.count)
        return _varied(stream.statistics(), model)


def stream_statistics(
    model: Path,
    crops: Iterable[np.ndarray],
    *,
    tensors: Sequence[str] | None = None,
    bins: int = DEFAULT_BINS,
    sampling: Sampling = Sampling(),
    fetch_bytes: int = FETCH_BYTES,
) -> Statistics:
    """Give a model's statistics over arrays, without a cache; else as `collect_statistics`.

    Args:
        crops: each of the shape that the model takes. Read once, in order; the hash of their
            values stands in the result's origin.
    """
    exposed = ExposedModel(model, tensors, fetch_bytes=fetch_bytes)
    values_hash = hashlib.sha256()
    with _Stream(exposed, _origin(model, "", sampling, bins, fetch_bytes), None) as stream:
        for crop in crops:
            stream.add(crop, _label(stream.count))
            values_hash.update(crop.tobytes())
        if not stream.count:
            raise DataError(f"no crops to calibrate {model} on", "pass at least one")
        statistics = _varied(stream.statistics(), model)
    origin = replace(statistics.origin, crops_sha256=values_hash.hexdigest())
    return replace(statistics, origin=origin)


class _Stream:
    """Statistics that grow crop by crop; an interrupt never leaves half a crop in them."""

    def __init__(self, exposed: ExposedModel, origin: Origin, started: Statistics | None) -> None:
        self._exposed = exposed
        self._origin = origin
        # NumPy's reductions release Python's lock
        self._pool = ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1))
        self._rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        tensors: list[TensorStatistics] = []
        if started is not None:
            rows = (started.crop_least, started.crop_greatest, started.crop_input)
            self._rows = list(zip(*rows, strict=True))
            tensors = list(started.tensors.values())
        self._seen = (len(self._rows), tensors)  # replaced whole, once a crop is done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    @property
    def count(self) -> int:
        """How many crops were seen."""
        return self._seen[0]

    def add(self, crop: np.ndarray, label: str) -> None:
        """Run one crop. Raises DataError where it does not fit or gives what is not finite."""
        new: list[TensorStatistics] = []
        for names, arrays in self._exposed.values(crop, label):
            new += self._pool.map(self._of_one, arrays)
            del arrays  # before the next part is computed
            for name, one in zip(names, new[-len(names) :], strict=True):
                self._require_finite(name, one, label)
        least, greatest = (
            np.array([getattr(one, end) for one in new], np.float32)
            for end in ("least", "greatest")
        )
        image = np.array([crop.min(), crop.mean(dtype=np.float64), crop.max()], np.float64)
        count, before = self._seen
        merged = [old.merged(one) for old, one in zip(before, new, strict=True)] if count else new
        self._rows[count:] = [(least, greatest, image)]
        self._seen = (count + 1, merged)

    def statistics(self) -> Statistics:
        """Give those of all crops seen so far."""
        count, tensors = self._seen
        least, greatest, image = (np.array(one) for one in zip(*self._rows[:count], strict=True))
        by_name = dict(zip(self._exposed.tensors, tensors, strict=True))
        return Statistics(by_name, least, greatest, image, self._origin)

    def _of_one(self, values: np.ndarray) -> TensorStatistics:
        return tensor_statistics(values, self._origin.sampling, self._origin.bins)

    def _require_finite(self, name: str, one: TensorStatistics, label: str) -> None:
        if not np.isfinite([one.least, one.greatest]).all():
            raise DataError(
                f"{name} of {self._exposed.path} is NaN or infinite on {label}",
                "check the weights, or leave out that crop's image",
            )


@contextmanager
def _saved(stream: _Stream, path: Path) -> Iterator[Callable[[], None]]:
    """Save a stream when it ends, however it ends; lend a function that does so now and then."""
    saved_s = time.monotonic()

    def save() -> None:
        nonlocal saved_s
        stream.statistics().save(path)
        saved_s = time.monotonic()

    def save_if_due() -> None:
        if time.monotonic() - saved_s > SAVE_EVERY_S:
            save()

    try:
        yield save_if_due
    except DataError:
        raise  # these crops will never do: nothing to go on with
    except BaseException:
        if stream.count:
            save()
        raise
    save()


def _origin(
    model: Path, crops_sha256: str, sampling: Sampling, bins: int, fetch_bytes: int
) -> Origin:
    if not FEWEST_BINS <= bins <= MOST_BINS:
        raise UsageError(f"histograms of {bins} bins", f"pass {FEWEST_BINS} to {MOST_BINS}")
    return Origin(
        model_sha256=model_sha256(model),
        crops_sha256=crops_sha256,
        sampling=sampling,
        bins=bins,
        fetch_bytes=fetch_bytes,
        onnxruntime_version=onnxruntime.__version__,
        numpy_version=np.__version__,
        machine=platform.machine(),
    )


def _label(number: int, crop: Crop | None = None) -> str:
    where = f" ({crop.image} at row {crop.top}, column {crop.left})" if crop else ""
    return f"crop {number}{where}"


def _varied(statistics: Statistics, model: Path) -> Statistics:
    """Give statistics back, unless the crops they are of can tell nothing."""
    count = statistics.count
    least, _, greatest = statistics.crop_input.T
    if (least == greatest).all():
        raise DataError(
            f"each of the {count} crops for {model} holds one value, the first {least[0]:g}",
            "calibrate on images like those it will see",
        )
    rows = (statistics.crop_input, statistics.crop_least, statistics.crop_greatest)
    if count > 1 and all((one == one[0]).all() for one in rows):
        raise DataError(
            f"all {count} crops for {model} are the same picture",
            "calibrate on different images, or ask for one crop",
        )
    return statistics
