"""Running a model file on this machine's ONNX Runtime, for checks. Never for timing."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from deploy.errors import GraphError, OutputError

# (1, C, H, W) float32 -> (1, C', H', W') float32
Run = Callable[[np.ndarray], np.ndarray]

LEVELS = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_ERRORS_ONLY = 3


def open_session(
    model: Path | bytes,
    *,
    level: str = "all",
    config: Mapping[str, str] | None = None,
    save_to: Path | None = None,
    disabled_optimizers: Sequence[str] = (),
) -> onnxruntime.InferenceSession:
    """Open a CPU session on a model file or its bytes.

    Args:
        level: a key of LEVELS.
        config: session config entries, such as `session.qdqisint8allowed`.
        save_to: where ONNX Runtime writes the optimized graph, if anywhere.
        disabled_optimizers: names of graph transformers to leave out.

    Raises:
        GraphError: ONNX Runtime does not load the model.
        OutputError: it cannot write to `save_to`.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.log_severity_level = _ERRORS_ONLY
    for key, value in (config or {}).items():
        options.add_session_config_entry(key, value)
    if save_to is not None:
        options.optimized_model_filepath = str(save_to)
    source = model if isinstance(model, bytes) else str(model)
    try:
        return onnxruntime.InferenceSession(
            source,
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(disabled_optimizers) or None,
        )
    except Exception as error:  # the binding raises a dozen unrelated types
        name = "the model" if isinstance(model, bytes) else str(model)
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if save_to is not None and "serialization failed" in reason:  # it gives no errno
            raise OutputError(
                f"ONNX Runtime cannot write {save_to}",
                "free some space there, or pass another --out",
            ) from error
        raise GraphError(
            f"ONNX Runtime {onnxruntime.__version__} does not load {name} ({reason})",
            "export it again, or use the ONNX Runtime it was made for",
        ) from error


def open_run(model: Path | bytes, **options: object) -> Run:
    """Give a model as a function of one image batch; options as in `open_session`."""
    session = open_session(model, **options)  # type: ignore[arg-type]
    (inputs,) = session.get_inputs()
    return lambda batch: session.run(None, {inputs.name: batch})[0]
