"""`plain` -> `fp32`: the same function after exact graph rewrites, each checked right after."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import Sequential
from onnx_ir.passes.common import (
    LiftConstantsToInitializersPass,
    NameFixPass,
    RemoveUnusedNodesPass,
    ShapeInferencePass,
)

from calib.stream import stream_statistics
from deploy.artifact import (
    Artifact,
    artifact_path,
    finished,
    inherited,
    tool_versions,
    write_artifact,
)
from deploy.errors import GraphError
from deploy.fidelity import Probe, require_max_error
from deploy.files import temporary_beside
from deploy.inference import open_run
from deploy.onnx_file import any_image_input, load_graph
from deploy.rewrites.attention import use_row_attention
from deploy.rewrites.block_convolution import use_block_convolution
from deploy.rewrites.ends import use_padded_ends
from deploy.rewrites.fold_affine import fold_affines
from deploy.rewrites.forms import Forms
from deploy.rewrites.full_rank import use_full_rank
from deploy.rewrites.gate import use_gate_convolutions
from deploy.rewrites.global_pool import use_global_pool
from deploy.rewrites.layer_norm import use_layer_norm
from deploy.rewrites.outcome import Outcome
from deploy.rewrites.pads import use_conv_pads
from deploy.rewrites.pixel_shuffle import use_pixel_shuffle
from deploy.rewrites.row_convolution import use_row_convolution
from deploy.rewrites.transposed_convolution import use_shuffled_convolution

MAX_ERROR = 1e-4  # of the range of the output

Crops = Sequence[np.ndarray]  # real inputs, each (1, C, H, W) float32
Rewrite = Callable[[ir.Model, Forms, Crops], Outcome]

# in the order they are applied; each rewrites in place
REWRITES: dict[str, Rewrite] = {
    "pads": lambda model, forms, crops: use_conv_pads(model),
    "transposed_convolution": lambda model, forms, crops: use_shuffled_convolution(model),
    "global_pool": lambda model, forms, crops: use_global_pool(model),
    "layer_norm": lambda model, forms, crops: use_layer_norm(model, forms.layernorm, crops),
    "affine": lambda model, forms, crops: fold_affines(model),
    # after what is folded into convolutions: nothing folds through a shuffle
    "block_convolution": lambda model, forms, crops: use_block_convolution(model, forms.ends),
    "pixel_shuffle": lambda model, forms, crops: use_pixel_shuffle(model, forms.shuffle),
    "gate": lambda model, forms, crops: use_gate_convolutions(model, forms.gate),
    "attention": lambda model, forms, crops: use_row_attention(model, forms.attention),
    # behind what looks for convolutions right beside what reads them
    "row_convolution": lambda model, forms, crops: use_row_convolution(model, forms.ends),
    "ends": lambda model, forms, crops: use_padded_ends(model, forms.ends),
    "full_rank": lambda model, forms, crops: use_full_rank(model),
}


@dataclass(frozen=True)
class Step:
    """What one rewrite did; it is a record of the sidecar.

    Attributes:
        name: a key of REWRITES.
        applied: names of the nodes that were rewritten.
        skipped: node name -> why it was left as it is.
        forms: applied node name -> the form that it got and why.
        max_error: of the graph after it against plain, as a share of the output's range.
        undone: why all of it was taken back; None where it holds.
    """

    name: str
    applied: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)
    max_error: float | None = None
    undone: str | None = None


def prepare(
    plain: Artifact,
    folder: Path,
    probe: Probe,
    *,
    forms: Forms = Forms(),
    force: bool = False,
) -> tuple[Artifact, bool]:
    """Rewrite a graph exactly, for speed and for the stages that follow.

    A rewrite that does not load, or changes the output by more than MAX_ERROR of its range, is
    taken back; the others stay.

    Args:
        probe: real images that each rewrite is checked on.
        forms: which of several equal forms to write.

    Returns:
        The artifact, and whether it was made now. Its fidelity holds a Step a rewrite.

    Raises:
        GraphError: the file is no model that the stages can take.
    """
    params = {
        "rewrites": list(REWRITES),
        **inherited(plain),
        "forms": forms.record(),
        "probe": probe.name,
    }
    there = None if force else finished(folder, plain.model, "fp32", plain, params)
    if there:
        return there, False
    graph = load_graph(plain.path)
    any_image_input(graph, plain.path)
    expected = probe.outputs(open_run(plain.path))
    _require_finite(plain.path, probe, expected)
    model, steps = _rewrite(readable(graph), forms, expected, probe)
    with temporary_beside(artifact_path(folder, plain.model, "fp32")) as temporary:
        onnx.save(ir.to_proto(model), temporary)
        run = open_run(temporary)
        error = _error(expected, probe.outputs(run), probe)
        require_max_error(error, MAX_ERROR, f"{plain.model}: prepared against plain")
        artifact = write_artifact(
            temporary,
            folder,
            model=plain.model,
            kind="fp32",
            parent=plain,
            params=params,
            versions=tool_versions("onnx", "onnx-ir", "onnxruntime"),
            fidelity={
                "rewrites": [asdict(step) for step in steps],
                "max_error_vs_plain": error,
                **probe.quality(run),
            },
        )
    return artifact, True


def readable(graph: onnx.ModelProto) -> ir.Model:
    """Give a graph as rewrites read it: shapes known, constants as initializers, names unique."""
    model = ir.from_proto(graph)
    tidy = Sequential(
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        ShapeInferencePass(),
        NameFixPass(),
    )
    return tidy(model).model


def _require_finite(path: Path, probe: Probe, outputs: Sequence[np.ndarray]) -> None:
    """Let calibration say which tensor is not finite. Raises DataError."""
    for crop, output in zip(probe.crops, outputs, strict=True):
        if not np.isfinite(output).all():
            stream_statistics(path, [crop])


def _rewrite(
    model: ir.Model, forms: Forms, expected: Crops, probe: Probe
) -> tuple[ir.Model, list[Step]]:
    steps = []
    for name, rewrite in REWRITES.items():
        changed = model.clone()
        outcome = rewrite(changed, forms, probe.crops)
        record: dict[str, Any] = asdict(outcome)
        if not outcome.applied:
            steps.append(Step(name, **record))
            continue
        RemoveUnusedNodesPass()(changed)
        error, undone = _checked(changed, expected, probe)
        steps.append(Step(name, **record, max_error=error, undone=undone))
        if undone is None:
            model = changed
    return model, steps


def _checked(model: ir.Model, expected: Crops, probe: Probe) -> tuple[float | None, str | None]:
    """Give the error of a graph, and why it cannot stay; None where it can."""
    proto = ir.to_proto(model)
    try:
        onnx.checker.check_model(proto)
        got = probe.outputs(open_run(proto.SerializeToString()))
    except (onnx.checker.ValidationError, GraphError) as failure:
        return None, str(failure).strip().splitlines()[0]
    error = _error(expected, got, probe)
    if error <= MAX_ERROR:
        return error, None
    return error, f"max error {error:.2g} of the output's range is above {MAX_ERROR:.0e}"


def _error(expected: Crops, got: Crops, probe: Probe) -> float:
    """Give the greatest difference as a share of the output's range; NaN wins, as it should."""
    errors = [np.abs(a - b).max() for a, b in zip(expected, got, strict=True)]
    return float(np.max(errors)) / probe.peak
