"""A model opened so that its activations come out with its output, in an optimized session.

Every wanted tensor becomes an output of the graph. ONNX Runtime still fuses whatever lies between
two of them and computes in its own layouts. That cost 6 to 30 % over plain inference and 1.4 times
the bytes of the tensors (NAFNet at 256x256, ONNX Runtime 1.31), where ReduceMin and ReduceMax
behind every tensor had doubled the time.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from deploy.errors import DataError, GraphError

FETCH_BYTES = 4 << 30  # of activations at a time; more takes one more inference for each such part
_ERRORS_ONLY = 3


class ExposedModel:
    """A float model with one float32 image input of a fixed shape.

    Attributes:
        path: of the model file.
        tensors: names of what is read, in the order of the graph.
    """

    def __init__(
        self, model: Path, tensors: Sequence[str] | None = None, *, fetch_bytes: int = FETCH_BYTES
    ) -> None:
        """Open a model file; nothing is written beside it, and weights may be in other files.

        Args:
            tensors: which to read; None is every float32 activation of rank 4.
            fetch_bytes: most bytes of activations in memory at a time. Where they are more, the
                model runs once for each part of them.

        Raises:
            GraphError: several inputs or another type, dynamic shapes, or no such tensor.
        """
        self.path = model
        # The weights stay in their files: the session reads them from there itself
        graph = onnx.load(model, load_external_data=False)
        self._input, self._shape = _image_input(graph, model)
        self.tensors = _chosen(graph, tensors, model, self._input)
        computed = [name for name in self.tensors if name != self._input]
        whole = _open(graph, computed, model)
        self._parts = [computed]
        self._sessions = [whole]
        if len(parts := _parts(whole, computed, fetch_bytes)) > 1:
            self._parts, self._sessions = parts, [_open(graph, part, model) for part in parts]

    def values(self, crop: np.ndarray, label: str) -> Iterator[tuple[list[str], list[np.ndarray]]]:
        """Give the values of `tensors`, part by part, in order; each part is freed for the next.

        Args:
            crop: float32 of the shape that the model takes.
            label: names the crop in errors.

        Raises:
            DataError: the crop is of another shape or type, or not finite.
        """
        self._require_fitting(crop, label)
        if self._input in self.tensors:
            yield [self._input], [crop]
        for names, session in zip(self._parts, self._sessions, strict=True):
            if names:
                yield names, session.run(names, {self._input: crop})

    def _require_fitting(self, crop: np.ndarray, label: str) -> None:
        if crop.shape != self._shape or crop.dtype != np.float32:
            raise DataError(
                f"{label} is {crop.dtype} {_text(crop.shape)}, "
                f"{self.path} takes float32 {_text(self._shape)}",
                "cut crops of that side, or export the model for this one",
            )
        if not np.isfinite(crop).all():
            raise DataError(f"{label} holds NaN or infinity", "remove its image")


def _image_input(graph: onnx.ModelProto, model: Path) -> tuple[str, tuple[int, ...]]:
    weights = {tensor.name for tensor in graph.graph.initializer}
    inputs = [value for value in graph.graph.input if value.name not in weights]
    kinds = [value.type.tensor_type.elem_type for value in inputs]
    if kinds != [onnx.TensorProto.FLOAT]:
        name_of = onnx.TensorProto.DataType.Name
        found = ", ".join(
            f"{value.name}: {name_of(kind).lower()}"
            for value, kind in zip(inputs, kinds, strict=True)
        )
        raise GraphError(f"{model} takes {found}", "calibration needs one float32 input")
    dimensions = inputs[0].type.tensor_type.shape.dim
    shape = tuple(one.dim_value for one in dimensions)
    if not all(shape):
        found = "x".join(str(one.dim_value or one.dim_param or "?") for one in dimensions)
        raise GraphError(
            f"{model} has dynamic shapes ({inputs[0].name}: {found})",
            "export it without --dynamic; calibration needs a static shape",
        )
    return inputs[0].name, shape


def _chosen(
    model: onnx.ModelProto, wanted: Sequence[str] | None, path: Path, image: str
) -> tuple[str, ...]:
    """Give the tensors to read in the order of the graph, the input first."""
    known = [image, *(name for node in model.graph.node for name in node.output if name)]
    if wanted is None:
        floats = _float_activations(model, image)
        return tuple(name for name in known if name in floats)
    if missing := sorted(set(wanted) - set(known)):
        raise GraphError(f"{path} computes no {missing[0]!r}", "name tensors of this very file")
    return tuple(name for name in known if name in set(wanted))


def _float_activations(model: onnx.ModelProto, image: str) -> set[str]:
    """Give the float32 tensors of rank 4 that the input has a part in."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    float_images = {
        value.name
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        and len(value.type.tensor_type.shape.dim) == 4
    }
    reached = {image}
    for node in model.graph.node:
        if reached.intersection(node.input):
            reached.update(node.output)
    return reached & float_images


def _open(
    graph: onnx.ModelProto, names: Sequence[str], model: Path
) -> onnxruntime.InferenceSession:
    exposed = onnx.ModelProto()
    exposed.CopyFrom(graph)
    own = {output.name for output in exposed.graph.output}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in own)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    # Threads that spin after a run would take the cores from the statistics
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(model.parent)
    )
    session = onnxruntime.InferenceSession(
        exposed.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    for output in session.get_outputs():
        if output.name in names and output.type != "tensor(float)":
            raise GraphError(
                f"{output.name} of {model} is {output.type}", "only float32 tensors have ranges"
            )
    return session


def _parts(
    session: onnxruntime.InferenceSession, names: list[str], fetch_bytes: int
) -> list[list[str]]:
    """Cut the names into runs of at most so many bytes, but for a tensor that is larger alone."""
    sizes = {
        output.name: 4 * int(np.prod([side for side in output.shape if isinstance(side, int)]))
        for output in session.get_outputs()
    }
    parts: list[list[str]] = [[]]
    left = fetch_bytes
    for name in names:
        if sizes[name] > left and parts[-1]:
            parts.append([])
            left = fetch_bytes
        parts[-1].append(name)
        left -= sizes[name]
    return parts


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
