"""Running a model so that each activation tells its least and greatest value.

ONNX Runtime's calibrator says which tensors count and puts a ReduceMin and a ReduceMax behind each.
Its `collect_data` is not used: it keeps the scalars of every crop until the end, drops NaN without
a word, and cannot say which crop was bad.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization.calibrate import MinMaxCalibrater

from deploy.errors import DataError, GraphError

_FETCHED_AT_ONCE = 16  # whole activations in memory while looking for the one that is not finite


class ActivationLimits:
    """A model file opened for calibration.

    Nothing is optimized in the session (ORT_DISABLE_ALL): the reductions behind each tensor keep
    anything from being fused, so higher levels were no faster (NAFNet-tiny, 256x256, CPU time per
    crop: 107 ms without, 105 ms with all), and the values are those of the file's own operators.

    Attributes:
        tensors: names of the float activations, the input and the output among them.
    """

    def __init__(self, model: Path) -> None:
        """Open a float ONNX file with one float32 input. Nothing is written beside it.

        Raises:
            GraphError: the model has several inputs, or one of another type.
        """
        self._model = model
        self._session, own = _open(model)
        self._input = _one_image_input(self._session, model)
        names = [output.name for output in self._session.get_outputs()]
        self._own_outputs = names[:own]
        self.tensors = tuple(name.removesuffix("_ReduceMin") for name in names[own::2])

    def of_crop(self, crop: np.ndarray, index: int) -> np.ndarray:
        """Give the least and greatest value of each of `tensors`: (tensors, 2) float32.

        Args:
            crop: of the shape that the model takes, float32.
            index: of the crop, for errors.

        Raises:
            DataError: the crop does not fit, or an activation is NaN or infinite on it. A NaN
                that the network swallows before its output, as MaxPool does, is not seen.
        """
        self._require_fitting(crop, index)
        outputs = self._session.run(None, {self._input.name: crop})
        own = len(self._own_outputs)
        limits = np.array(outputs[own:], np.float32).reshape(-1, 2)
        # The reductions skip NaN unless it comes first, so the network's output is looked at too
        if not all(np.isfinite(values).all() for values in (limits, *outputs[:own])):
            raise DataError(
                f"{self._first_not_finite(crop)} of {self._model} is NaN or infinite "
                f"on crop {index} (the first is 0)",
                "check the weights, or leave out that crop's image",
            )
        return limits

    def _require_fitting(self, crop: np.ndarray, index: int) -> None:
        wanted = self._input.shape
        fits = len(crop.shape) == len(wanted) and all(
            size == want or not isinstance(want, int)  # a name stands for any size
            for size, want in zip(crop.shape, wanted, strict=True)
        )
        if not fits or crop.dtype != np.float32:
            raise DataError(
                f"crop {index} is {crop.dtype} {_shape(crop.shape)}, "
                f"{self._model} takes float32 {_shape(wanted)}",
                "cut crops of that side, or export the model for this one",
            )
        if not np.isfinite(crop).all():
            raise DataError(f"crop {index} holds NaN or infinity", "remove its image")

    def _first_not_finite(self, crop: np.ndarray) -> str:
        """Name the first tensor, in the order of the graph, with a value that is not finite."""
        model = onnx.load(self._model)
        computed = [name for node in model.graph.node for name in node.output]
        names = [name for name in computed if name in self.tensors]
        inside = [name for name in names if name not in self._own_outputs]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside)
        session = _session(model.SerializeToString(), _unoptimized())
        for start in range(0, len(names), _FETCHED_AT_ONCE):
            fetched = names[start : start + _FETCHED_AT_ONCE]
            values = session.run(fetched, {self._input.name: crop})
            for name, value in zip(fetched, values, strict=True):
                if not np.isfinite(value).all():
                    return name
        return self._own_outputs[0]


def _open(model: Path) -> tuple[onnxruntime.InferenceSession, int]:
    """Give a session on the model with its reductions, and how many outputs are the model's own."""
    with TemporaryDirectory(prefix="calib-") as folder:
        # The calibrator writes beside the file it is given, and that folder may be read-only
        copy, augmented = Path(folder, "model.onnx"), Path(folder, "augmented.onnx")
        onnx.save(onnx.load(model), copy)
        calibrator = MinMaxCalibrater(copy, augmented_model_path=str(augmented))
        calibrator.augment_graph()
        options = _unoptimized()
        # The default order leaves the reductions to the end and every activation in memory:
        # 771 MiB where this takes 127 (NAFNet-tiny, 256x256, ONNX Runtime 1.31)
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
        return _session(str(augmented), options), calibrator.num_model_outputs


def _unoptimized() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def _session(
    model: str | bytes, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _one_image_input(session: onnxruntime.InferenceSession, model: Path) -> onnxruntime.NodeArg:
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{one.name}: {one.type}" for one in inputs)
        raise GraphError(f"{model} takes {found}", "calibration needs one float32 input")
    return inputs[0]


def _shape(shape: tuple[int | str, ...] | list[int | str]) -> str:
    return "x".join(str(size) for size in shape)
