"""The least and greatest value of every activation over a set of crops, and their cache file."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

from calib.activations import ActivationLimits
from calib.crops import CropSet, read_crops
from deploy.errors import DataError
from deploy.files import file_sha256, unfinished

RANGES_SCHEMA = 1  # 1: first version
METHOD = "minmax"


@dataclass(frozen=True)
class Ranges:
    """What the activations of one model file were, over one set of crops.

    Attributes:
        limits: tensor name -> (least, greatest) value, each exactly a float32; sorted by name.
        count: of the crops.
        crops_sha256: of the crops, as `collect_ranges` was given it or made it.
        model_sha256: of the model file's bytes.
        onnxruntime_version: that computed the activations.
        method: how ranges were made of values.
    """

    limits: Mapping[str, tuple[float, float]]
    count: int
    crops_sha256: str
    model_sha256: str
    onnxruntime_version: str = onnxruntime.__version__
    method: str = METHOD

    def to_tensors_data(self) -> TensorsData:
        """Give the form that onnxruntime.quantization's quantizers take."""
        return TensorsData(
            CalibrationMethod.MinMax,
            {
                name: (np.array([least], np.float32), np.array([greatest], np.float32))
                for name, (least, greatest) in self.limits.items()
            },
        )

    def save(self, path: Path) -> None:
        """Write a JSON file that `load_ranges` reads. Raises OutputError."""
        record = {"schema": RANGES_SCHEMA, **asdict(self)}
        with unfinished(path) as temporary:
            temporary.write_text(json.dumps(record) + "\n")


def load_ranges(path: Path, *, model_sha256: str, crops_sha256: str) -> Ranges | None:
    """Read ranges that were saved, if they are those of this model, these crops, this runtime.

    A cache never decides: None where the file is missing, broken, or of anything else.
    """
    try:
        record = json.loads(path.read_text())
        schema = record.pop("schema")
        limits = {name: (least, greatest) for name, (least, greatest) in record["limits"].items()}
        ranges = Ranges(**{**record, "limits": limits})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    expected = (RANGES_SCHEMA, model_sha256, crops_sha256, onnxruntime.__version__, METHOD)
    found = (
        schema,
        ranges.model_sha256,
        ranges.crops_sha256,
        ranges.onnxruntime_version,
        ranges.method,
    )
    return ranges if found == expected else None


def cached_ranges(
    model: Path,
    crop_set: CropSet,
    cache: Path,
    *,
    on_crop: Callable[[int], None] | None = None,
) -> Ranges:
    """Give a model's ranges over a crop set, from the cache folder where they are there already.

    Args:
        cache: folder of files named after their content; anything in it may be deleted.
        on_crop: as `collect_ranges`; not called where the ranges come from the cache.

    Raises:
        DataError, GraphError: as `read_crops` and `collect_ranges`.
        OutputError: the cache folder cannot be written.
    """
    model_sha256 = file_sha256(model)
    key = "\n".join((model_sha256, crop_set.sha256, onnxruntime.__version__, METHOD))
    path = cache / f"ranges-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    ranges = load_ranges(path, model_sha256=model_sha256, crops_sha256=crop_set.sha256)
    if ranges is None:
        crops = read_crops(crop_set)
        ranges = collect_ranges(model, crops, crops_sha256=crop_set.sha256, on_crop=on_crop)
        ranges.save(path)
    return ranges


def collect_ranges(
    model: Path,
    crops: Iterable[np.ndarray],
    *,
    crops_sha256: str | None = None,
    on_crop: Callable[[int], None] | None = None,
) -> Ranges:
    """Run a model over crops and give the least and greatest value of each of its activations.

    The result does not depend on the order of the crops. One crop is in memory at a time, with
    its activations as the runtime needs them and two numbers a tensor.

    Args:
        model: a float ONNX file with one float32 input; nothing is written beside it.
        crops: each of the shape that the model takes. Read once, in order.
        crops_sha256: of the crops, such as `CropSet.sha256`; None takes that of their values.
        on_crop: called after each crop with the number done so far.

    Raises:
        DataError: no crops, or one that `ActivationLimits.of_crop` refuses.
        GraphError: the model has several inputs, or one of another type.
    """
    activations = ActivationLimits(model)
    limits = np.full((len(activations.tensors), 2), (np.inf, -np.inf), np.float32)
    values_hash, count = hashlib.sha256(), 0
    for count, crop in enumerate(crops, start=1):
        least, greatest = activations.of_crop(crop, index=count - 1).T
        limits = np.stack(
            [np.minimum(limits[:, 0], least), np.maximum(limits[:, 1], greatest)], axis=1
        )
        if crops_sha256 is None:
            values_hash.update(crop.tobytes())
        if on_crop:
            on_crop(count)
    if count == 0:
        raise DataError(f"no crops to calibrate {model} on", "pass at least one")
    by_name = sorted(zip(activations.tensors, limits.tolist(), strict=True))
    return Ranges(
        limits={name: (least, greatest) for name, (least, greatest) in by_name},
        count=count,
        crops_sha256=crops_sha256 or values_hash.hexdigest(),
        model_sha256=file_sha256(model),
    )
