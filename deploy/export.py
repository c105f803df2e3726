"""ModelSpec -> `plain`: what torch.onnx.export gives, simplified, checked against torch."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxsim
import torch
from torch import nn

from deploy.artifact import Artifact, artifact_path, finished, tool_versions, write_artifact
from deploy.errors import FidelityError, GraphError, UsageError
from deploy.fidelity import Probe, max_error, require_max_error
from deploy.files import file_sha256, temporary_beside
from deploy.inference import Run, open_run
from deploy.spec import ModelSpec
from deploy.zoo.checkpoint import load_checkpoint
from deploy.zoo.convert import convert, require_fixed_size
from deploy.zoo.sides import PaddedToMultiple, side_multiple, takes

# A pair that ONNX Runtime 1.17 and later load; LayerNormalization needs opset 17.
OPSET = 18
IR_VERSION = 8
MAX_ERROR = 1e-4  # of the range of the output
UNTRAINED_SEED = 0


def export(
    spec: ModelSpec,
    folder: Path,
    probe: Probe,
    *,
    dynamic: bool = False,
    pad: bool = False,
    force: bool = False,
) -> tuple[Artifact, bool]:
    """Export a network to ONNX with its weights inside the file.

    Args:
        probe: real images that torch and ONNX Runtime are compared on.
        dynamic: leave height and width open, in multiples of what the network needs.
        pad: let the graph pad and crop sides that the network does not take.

    Returns:
        The artifact, and whether it was made now (False: it was there already).

    Raises:
        CheckpointError: the checkpoint does not fit.
        UsageError: sides that the network does not take, without `pad`.
        UsageError: a conversion does not fit the network, or not an open size.
        GraphError: the network cannot be exported.
        FidelityError: ONNX Runtime and torch differ by more than MAX_ERROR. Nothing is written.
    """
    if dynamic:
        require_fixed_size(spec)
    params = {
        "source": spec.source,
        "weights_sha256": file_sha256(spec.checkpoint) if spec.checkpoint else None,
        "conversions": list(spec.conversions),
        "trained": spec.trained,
        "input_shape": list(spec.inputs[0].shape),
        "opset": OPSET,
        "dynamic": dynamic,
        "pad": pad,
        "pipeline": spec.pipeline.record(),
        "probe": probe.name,
    }
    there = None if force else finished(folder, spec.name, "plain", None, params)
    if there:
        return there, False
    network = _fitting_sides(build(spec), spec, pad)
    parameters = sum(one.numel() for one in network.parameters())
    with temporary_beside(artifact_path(folder, spec.name, "plain")) as temporary:
        model = _simplify(_to_onnx(network, spec, dynamic), spec)
        onnx.save(model, temporary)
        run = open_run(temporary)
        error = max_error(_torch_run(network), run, probe.crops, peak=spec.pipeline.peak)
        require_max_error(error, MAX_ERROR, f"{spec.name}: ONNX Runtime against torch")
        artifact = write_artifact(
            temporary,
            folder,
            model=spec.name,
            kind="plain",
            parent=None,
            params=params,
            versions=tool_versions("torch", "onnx", "onnxscript", "onnxsim", "onnxruntime"),
            fidelity={
                "max_error_vs_torch": error,
                "parameters": parameters,
                **probe.quality(run),
            },
        )
    return artifact, True


def build(spec: ModelSpec) -> nn.Module:
    """Give the network ready for inference: trained or seeded weights, then its conversions."""
    torch.manual_seed(UNTRAINED_SEED)
    network = spec.factory()
    if not isinstance(network, nn.Module):
        raise UsageError(f"{spec.source} gave a {type(network).__name__}", "return an nn.Module")
    if spec.checkpoint is not None:
        load_checkpoint(network, spec.checkpoint)
    return convert(network, spec).eval()


def _fitting_sides(network: nn.Module, spec: ModelSpec, pad: bool) -> nn.Module:
    """Give the network, or one that pads and crops if it does not take the wanted sides."""
    batch, channels, height, width = shape = spec.inputs[0].shape
    if takes(network, shape):
        return network
    multiple = side_multiple(network, shape)
    if multiple is None:  # sides are not what is wrong; the exporter says what is
        return network
    if pad:
        return PaddedToMultiple(network, multiple)
    nearest = [-(-side // multiple) * multiple for side in (height, width)]
    raise UsageError(
        f"{spec.name} takes sides that are multiples of {multiple}, not {height}x{width}",
        f"pass --shape {batch},{channels},{nearest[0]},{nearest[1]}, "
        "or --pad to pad and crop inside the graph",
    )


def _open_multiple(network: nn.Module, spec: ModelSpec) -> int:
    """Give what open sides are multiples of; a network that pads by itself says it, to spare it."""
    own = getattr(network, "side_multiple", None)
    return own or side_multiple(network, spec.inputs[0].shape) or 1


def _torch_run(network: nn.Module) -> Run:
    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            output = network(torch.from_numpy(batch))
        if not isinstance(output, torch.Tensor):
            given = f"a {type(output).__name__}, not one tensor"
            raise GraphError(f"{type(network).__name__} gives {given}", "return the image alone")
        return output.numpy()

    return run


def _to_onnx(network: nn.Module, spec: ModelSpec, dynamic: bool) -> onnx.ModelProto:
    example = torch.rand(spec.inputs[0].shape)
    shapes = None
    if dynamic:
        multiple = _open_multiple(network, spec)
        names = {2: "height_blocks", 3: "width_blocks"}
        sides = {
            axis: multiple * torch.export.Dim(name, min=1, max=1024) for axis, name in names.items()
        }
        shapes = (sides,)
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[tensor.name for tensor in spec.inputs],
                output_names=[tensor.name for tensor in spec.outputs],
                dynamic_shapes=shapes,
                external_data=False,
            )
    except Exception as error:  # torch's exporter fails in many types, all of them the network's
        raise GraphError(
            f"torch cannot export {spec.name} ({_first_cause(error)})", "see torch.onnx"
        ) from error
    assert program is not None  # it is None only for the other exporter
    return program.model_proto


def _first_cause(error: BaseException) -> str:
    """Say what the network did; what the exporter says about it is advice on itself."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's progress prints, and warnings that ask nothing of the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _simplify(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    with _quiet():
        # open dimensions need a size for the equality check
        shapes = {tensor.name: list(tensor.shape) for tensor in spec.inputs}
        simplified, equal = onnxsim.simplify(model, check_n=1, test_input_shapes=shapes)
    if not equal:
        raise FidelityError(
            f"onnxsim changed what {spec.name} computes", "report it to onnxsim with the network"
        )
    simplified.ir_version = IR_VERSION
    _strip_provenance(simplified)
    onnx.checker.check_model(simplified)
    return simplified


def _strip_provenance(model: onnx.ModelProto) -> None:
    """Drop torch's notes on each node: they hold stack traces and paths of its machine."""
    for entry in (*model.graph.node, *model.graph.input, *model.graph.output, model.graph):
        del entry.metadata_props[:]
        entry.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
    del model.metadata_props[:]
