"""Reading an ONNX file that may be anyone's: checks before a stage takes it.

The one place that opens .onnx files for editing. Files in ONNX Runtime's own format (.ort) are
read as the .onnx that ONNX Runtime makes of them.
"""

import math
import tempfile
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from deploy.errors import GraphError
from deploy.inference import open_session
from deploy.spec import TensorSpec

ORT_SUFFIX = ".ort"
MOST_BYTES = 2**31 - 1  # protobuf's limit on one message


def load_graph(path: Path) -> onnx.ModelProto:
    """Read a model with all its weights.

    External weights are read from the model's own folder only: a file that points elsewhere is
    refused before anything is opened.

    Raises:
        GraphError: the file is no valid ONNX model, has 2 GiB or more, or its weights lie outside
            its folder.
    """
    model = _read_graph(path)
    _check_external_data(model, path)
    _require_size(sum(map(_external_bytes, model.graph.initializer)), path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise GraphError(
            f"{path} is no valid ONNX model ({_first_line(error)})", "export it again"
        ) from error
    return model


def _read_graph(path: Path) -> onnx.ModelProto:
    if path.suffix == ORT_SUFFIX:
        return _read_ort_format(path)
    if path.is_file():
        _require_size(path.stat().st_size, path)
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf raises its own, undocumented types
        raise GraphError(
            f"{path} is no ONNX file ({_first_line(error)})", "export it again"
        ) from error
    if not model.graph.node:
        raise GraphError(f"{path} holds no graph", "export it again")
    return model


def _require_size(size_bytes: int, path: Path) -> None:
    if size_bytes > MOST_BYTES:
        raise GraphError(
            f"{path} holds {size_bytes / 2**30:.1f} GiB",
            "a graph with its weights must stay below 2 GiB; export a smaller network",
        )


def _external_bytes(tensor: onnx.TensorProto) -> int:
    if not uses_external_data(tensor):
        return 0
    return math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def _read_ort_format(path: Path) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "model.onnx")
        # such a file is run as it is, whatever the level; without the entry it is saved as it was
        as_onnx = {"session.save_model_format": "ONNX"}
        open_session(path, level="disable", config=as_onnx, save_to=saved)
        model = onnx.load(saved)
    model.graph.name = path.stem  # that format keeps none, and the checker wants one
    return model


def external_files(path: Path) -> list[Path]:
    """Give the files beside a model that hold weights of it, sorted.

    Raises:
        GraphError: the file is no ONNX model, or its weights lie outside its folder.
    """
    model = _read_graph(path)
    _check_external_data(model, path)
    tensors = [one for one in model.graph.initializer if uses_external_data(one)]
    return sorted({path.parent / ExternalDataInfo(tensor).location for tensor in tensors})


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_external_data(model: onnx.ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    for tensor in model.graph.initializer:
        if not uses_external_data(tensor):
            continue
        location = ExternalDataInfo(tensor).location
        target = (folder / location).resolve()
        if not target.is_relative_to(folder):
            raise GraphError(
                f"{path} keeps the weights {tensor.name!r} outside its folder, at {location!r}",
                "save the model with its weights inside the file",
            )
        if not target.is_file():
            raise GraphError(
                f"{path} needs its weights file {location!r}, which is not there",
                "put it beside the model",
            )


def image_input(model: onnx.ModelProto, path: Path) -> TensorSpec:
    """Give the model's one input: a static (N, C, H, W) float32 tensor.

    Raises:
        GraphError: several inputs, another type or rank, or a dimension that is not fixed.
    """
    spec = any_image_input(model, path)
    if 0 in spec.shape:
        raise GraphError(
            f"{path} has dynamic shapes ({spec.name}: {_shape_text(model)})",
            "export it without --dynamic; this stage needs a static shape",
        )
    return spec


def any_image_input(model: onnx.ModelProto, path: Path) -> TensorSpec:
    """Give the model's one input; a dimension that is not fixed is 0.

    Raises:
        GraphError: several inputs, another type or another rank.
    """
    initializers = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initializers]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise GraphError(
            f"{path} has {len(inputs)} inputs and {len(model.graph.output)} outputs",
            "an image-restoration model has one of each",
        )
    tensor = inputs[0].type.tensor_type
    shape = tuple(dim.dim_value for dim in tensor.shape.dim)
    if tensor.elem_type != onnx.TensorProto.FLOAT or len(shape) != 4:
        raise GraphError(
            f"{path} takes {onnx.TensorProto.DataType.Name(tensor.elem_type)} of rank {len(shape)}",
            "a float32 tensor (N, C, H, W) is needed",
        )
    return TensorSpec(inputs[0].name, shape)


def _shape_text(model: onnx.ModelProto) -> str:
    dims = model.graph.input[0].type.tensor_type.shape.dim
    return "x".join(str(dim.dim_value or dim.dim_param or "?") for dim in dims)
