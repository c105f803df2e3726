"""An optimized .onnx file -> the same graph in ONNX Runtime's own format, and what a build needs.

The format loads faster and is what a minimal build of ONNX Runtime takes. The graph is the one of
the .onnx file, operator by operator; the two give the same output. Its bytes are others each time:
ONNX Runtime writes its tables in no fixed order.
"""

import logging
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.tools.ort_format_model import create_config_from_models

from deploy.artifact import (
    Artifact,
    artifact_path,
    finished,
    inherited,
    tool_versions,
    write_artifact,
)
from deploy.errors import FidelityError, GraphError
from deploy.fidelity import Probe
from deploy.files import temporary_beside, unfinished
from deploy.inference import open_run, open_session
from deploy.onnx_file import ORT_SUFFIX
from deploy.placement import find_target
from deploy.reload import require_same_in_fresh_process

SAVE = {"session.save_model_format": "ORT"}
LOAD = {"session.load_model_format": "ORT"}  # for a name that does not end in .ort

# name of the file for `build.py --include_ops_by_config` -> whether it says types too, for
# `--enable_reduced_operator_type_support`; named as ONNX Runtime's own converter does
BUILD_CONFIGS = {
    "required_operators.config": False,
    "required_operators_and_types.config": True,
}


def to_ort_format(
    optimized: Artifact, folder: Path, probe: Probe, *, force: bool = False
) -> tuple[Artifact, bool]:
    """Save an optimized graph in ONNX Runtime's own format, with the configs of a reduced build.

    Args:
        optimized: what `deploy.optimize` made.

    Returns:
        The artifact, and whether it was made now. Two config files lie beside it.

    Raises:
        GraphError: the model is not an optimized .onnx file.
        FidelityError: the two files give different outputs, or a fresh process disagrees.
    """
    if (
        "-opt-" not in optimized.kind
        or optimized.target is None
        or optimized.path.suffix == ORT_SUFFIX
    ):
        raise GraphError(f"{optimized.path} is {optimized.kind}", "pass an optimized .onnx file")
    kind = f"{optimized.kind}-ort"
    final = artifact_path(folder, optimized.model, kind)
    configs = {name: final.with_suffix(f".{name}") for name in BUILD_CONFIGS}
    params = {
        **{name: optimized.params.get(name) for name in ("target", "level", "config")},
        "valid_for": {
            "onnxruntime": f">={onnxruntime.__version__}",
            "hardware": optimized.target,
        },
        "build_configs": [path.name for path in configs.values()],
        **inherited(optimized),
        "crops_sha256": optimized.params.get("crops_sha256"),
        "probe": probe.name,
    }
    there = None if force else finished(folder, optimized.model, kind, optimized, params)
    if there and all(path.is_file() for path in configs.values()):
        return there, False
    target = find_target(optimized.target)
    with temporary_beside(final) as temporary:
        # every rewrite of the graph is in the .onnx file already
        open_session(optimized.path, level="disable", config=SAVE, save_to=temporary)
        run = open_run(temporary, level=target.level, config={**target.config, **LOAD})
        # nor is a file of this format rewritten when it is loaded, as an .onnx one may be
        reference = open_run(optimized.path, level="disable", config=target.config)
        outputs = probe.outputs(run)
        same = map(np.array_equal, probe.outputs(reference), outputs)
        if not all(same):
            raise FidelityError(
                f"{optimized.path} gives another output in ONNX Runtime's format",
                "nothing was written; report the model to ONNX Runtime",
            )
        require_same_in_fresh_process(
            temporary,
            probe.crops[0],
            outputs[0],
            level=target.level,
            config={**target.config, **LOAD},
        )
        for name, path in configs.items():
            _write_config(temporary, path, final.name, with_types=BUILD_CONFIGS[name])
        artifact = write_artifact(
            temporary,
            folder,
            model=optimized.model,
            kind=kind,
            parent=optimized,
            params=params,
            versions=tool_versions("onnx", "onnxruntime"),
            fidelity=optimized.fidelity,  # the outputs are the same, number by number
        )
    return artifact, True


def _write_config(model: Path, path: Path, model_name: str, *, with_types: bool) -> None:
    """Write which operators a model needs, and of which types."""
    logging.getLogger("ort_format_model.utils").setLevel(logging.WARNING)
    with unfinished(path) as temporary:
        create_config_from_models([model], temporary, with_types)
        lines = temporary.read_text().splitlines()
        operators = [line for line in lines if line and not line.startswith("#")]
        temporary.write_text("\n".join([f"# Generated from {model_name}", *operators, ""]))
