"""A model file and the sidecar that says where it came from. The only hand-off between stages.

`MODEL.KIND.onnx` stands beside `MODEL.KIND.onnx.json`. Both are written under temporary names and
renamed, the sidecar first, so a model file with its final name always has its sidecar; a sidecar
whose sha256 does not match its model is stale and refused.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from deploy.errors import ArtifactError, OutputError
from deploy.files import file_sha256, unfinished

SIDECAR_SCHEMA = 1  # 1: first version

# what a stage takes over from the artifact it starts from, so that it holds along the whole line
INHERITED = ("trained", "weights_sha256", "pipeline", "forms")

# plain -> fp32 -> int8-TARGET -> int8-opt-TARGET -> int8-opt-TARGET-ort; external: a user's file.
# fp32 also -> fp32-opt-TARGET, and the COMPARISONS.
STAGES = ("external", "plain", "fp32", "fp16", "int8", "int8-opt")

# what the line's own forms are compared with
COMPARISONS = ("fp16", "int8-dynamic")

_ORT = "-ort"  # at the end of a kind: in ONNX Runtime's own format, whose files end in .ort


@dataclass(frozen=True)
class Artifact:
    """A model file that a stage wrote, or one that the user brought.

    Attributes:
        path: the model file.
        sha256: of the model file's bytes.
        kind: a stage name, with the target it is made for where there is one (`int8-x86`).
        model: the network's name, the same along the whole line.
        parent_sha256: the artifact it was made from; None at the head of the line.
        params: what the stage was asked to do.
        tool_versions: of the libraries that did it.
        fidelity: what was measured when it was made; a missing figure is absent, never 0.
    """

    path: Path
    sha256: str
    kind: str
    model: str
    parent_sha256: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    tool_versions: Mapping[str, str] = field(default_factory=dict)
    fidelity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str | None:
        """The hardware it is made for, or None where any will do."""
        return self.params.get("target")


def inherited(parent: Artifact) -> dict[str, Any]:
    """Give the params that an artifact made from `parent` has too; None for what is not known."""
    return {name: parent.params.get(name) for name in INHERITED}


def artifact_path(folder: Path, model: str, kind: str) -> Path:
    """Give the file that holds one kind of one model."""
    if kind.endswith(_ORT):
        return folder / f"{model}.{kind.removesuffix(_ORT)}.ort"
    return folder / f"{model}.{kind}.onnx"


def tool_versions(*distributions: str) -> dict[str, str]:
    """Give the installed version of each distribution, and of this package."""
    return {name: metadata.version(name) for name in ("mofa-deploy", *distributions)}


def write_artifact(
    written: Path,
    folder: Path,
    *,
    model: str,
    kind: str,
    parent: Artifact | None,
    params: Mapping[str, Any],
    versions: Mapping[str, str],
    fidelity: Mapping[str, Any],
) -> Artifact:
    """Give a checked model file its sidecar and its final name.

    Args:
        written: the finished model, under the name that `temporary_beside` lent; moved.
        folder: where it goes, as `artifact_path` names it.

    Raises:
        OutputError: the name is that of the parent's own file.
    """
    final = artifact_path(folder, model, kind)
    if parent is not None and final.resolve() == parent.path.resolve():
        raise OutputError(f"{final} would replace what it is made from", "pass another --out")
    parent_sha256 = parent.sha256 if parent else None
    measured = {name: _finite(value) for name, value in fidelity.items()}
    artifact = Artifact(
        final, file_sha256(written), kind, model, parent_sha256, params, versions, measured
    )
    record = {"schema": SIDECAR_SCHEMA, **asdict(artifact), "path": final.name}
    with unfinished(sidecar_path(final)) as temporary:
        temporary.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    written.replace(final)
    return artifact


def _finite(value: Any) -> Any:
    """Give None for an infinite PSNR: JSON has no infinity, and a table no place for it."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sidecar_path(path: Path) -> Path:
    """Give the sidecar's path of a model file."""
    return path.with_name(path.name + ".json")


def read_artifact(path: Path) -> Artifact:
    """Read a model file's sidecar and check that it belongs to the file.

    A model file without a sidecar is the user's own: kind `external`, named after the file.

    Raises:
        ArtifactError: no such file, or a sidecar that is broken, newer or of other bytes.
    """
    if not path.is_file():
        raise ArtifactError(f"no model file at {path}", "check the path, or run the stage before")
    sidecar = sidecar_path(path)
    if not sidecar.exists():
        return Artifact(path, file_sha256(path), "external", path.name.split(".")[0])
    artifact = _read_sidecar(path)
    if artifact.sha256 != file_sha256(path):
        raise ArtifactError(
            f"{path} is not the file that {sidecar.name} describes",
            "run the stage again with --force",
        )
    return artifact


def _read_sidecar(path: Path) -> Artifact:
    sidecar = sidecar_path(path)
    try:
        record = json.loads(sidecar.read_text())
        schema = record.pop("schema")
        if schema > SIDECAR_SCHEMA:
            raise ArtifactError(
                f"{sidecar} has schema {schema}, this version reads up to {SIDECAR_SCHEMA}",
                "update mofa-deploy",
            )
        for field_name in ("params", "tool_versions", "fidelity"):
            if not isinstance(record[field_name], dict):
                raise TypeError(f"{field_name} is no object")
        return Artifact(**{**record, "path": path})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{sidecar} is not a sidecar ({error})", "delete it and run the stage again"
        ) from error


def finished(
    folder: Path, model: str, kind: str, parent: Artifact | None, params: Mapping[str, Any]
) -> Artifact | None:
    """Give the artifact that a stage would write, if it is there from the same inputs."""
    path = artifact_path(folder, model, kind)
    if not path.exists() or not sidecar_path(path).exists():
        return None
    try:
        there = read_artifact(path)
    except ArtifactError:
        return None
    same_params = json.loads(json.dumps(dict(params))) == dict(there.params)
    same_parent = there.parent_sha256 == (parent.sha256 if parent else None)
    return there if same_params and same_parent else None


def list_artifacts(folder: Path, kinds: Sequence[str] | None = None) -> list[Artifact]:
    """Give the artifacts in a folder, of these kinds or of all, in the order of the line."""
    models = sorted(path for form in ("*.onnx", "*.ort") for path in folder.glob(form))
    files = [path for path in models if sidecar_path(path).exists()]
    # only what is asked for is checked: a damaged file of another kind is nobody's business here
    wanted = [path for path in files if kinds is None or _read_sidecar(path).kind in kinds]
    matching = [read_artifact(path) for path in wanted]
    return sorted(matching, key=lambda one: (one.model, _place(one.kind), one.kind))


def _place(kind: str) -> int:
    stage = max((stage for stage in STAGES if kind.startswith(stage)), key=len, default="external")
    return STAGES.index(stage)


def find_artifact(folder: Path, kinds: Sequence[str], *, made_by: str) -> Artifact:
    """Give the one artifact of these kinds in a folder.

    Args:
        made_by: the command that makes such an artifact, for the error.

    Raises:
        ArtifactError: there is none, or more than one; the candidates are named.
    """
    candidates = list_artifacts(folder, kinds)
    if not candidates:
        raise ArtifactError(
            f"no {' or '.join(kinds)} artifact in {folder}",
            f"run `{made_by}` first, or name a file",
        )
    if len(candidates) > 1:
        names = ", ".join(str(one.path) for one in candidates)
        raise ArtifactError(f"{len(candidates)} candidates in {folder}: {names}", "name one")
    return candidates[0]


def current_line(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Leave out what was made from a file that has been made anew since."""
    kept: list[Artifact] = []
    heads: dict[str, str] = {}  # model -> the kind that its line starts with in this folder
    for one in artifacts:
        if one.kind in ("plain", "fp32"):
            heads.setdefault(one.model, one.kind)
    for one in artifacts:
        is_head = one.parent_sha256 is None or heads.get(one.model, one.kind) == one.kind
        if is_head or one.parent_sha256 in {parent.sha256 for parent in kept}:
            kept.append(one)
    return kept
