import json
from pathlib import Path

import pytest

from deploy.artifact import (
    Artifact,
    artifact_path,
    current_line,
    find_artifact,
    finished,
    list_artifacts,
    read_artifact,
    sidecar_path,
    write_artifact,
)
from deploy.errors import ArtifactError
from deploy.files import file_sha256, temporary_beside


def make(
    folder: Path, model: str = "net", kind: str = "plain", parent: Artifact | None = None, **params
) -> Artifact:
    with temporary_beside(artifact_path(folder, model, kind)) as temporary:
        temporary.write_bytes(f"{model} {kind} {params} {parent and parent.sha256}".encode())
        return write_artifact(
            temporary,
            folder,
            model=model,
            kind=kind,
            parent=parent,
            params=params,
            versions={"onnx": "1"},
            fidelity={"psnr_db": 30.5},
        )


def test_an_artifact_reads_back_as_it_was_written(folder):
    written = make(folder, target="x86")
    assert read_artifact(written.path) == written
    assert written.target == "x86"


def test_the_sidecar_names_no_folder_of_the_machine(folder):
    text = sidecar_path(make(folder).path).read_text()
    assert str(folder) not in text


def test_a_model_file_without_sidecar_is_the_users_own(tmp_path):
    path = tmp_path / "theirs.v2.onnx"
    path.write_bytes(b"any")
    artifact = read_artifact(path)
    assert (artifact.kind, artifact.model, artifact.parent_sha256) == ("external", "theirs", None)
    assert artifact.sha256 == file_sha256(path)


def test_a_changed_model_file_is_refused(folder):
    artifact = make(folder)
    artifact.path.write_bytes(b"other bytes")
    with pytest.raises(ArtifactError, match="is not the file that"):
        read_artifact(artifact.path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"schema": 1}',
        '{"schema": 1, "odd": 2}',
        '{"schema": 1, "params": [], "tool_versions": {}, "fidelity": {}}',
    ],
)
def test_a_broken_sidecar_is_refused_by_name(folder, text):
    artifact = make(folder)
    sidecar_path(artifact.path).write_text(text)
    with pytest.raises(ArtifactError, match=r"net\.plain\.onnx\.json"):
        read_artifact(artifact.path)


def test_a_sidecar_of_a_later_schema_asks_for_an_update(folder):
    artifact = make(folder)
    sidecar = sidecar_path(artifact.path)
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "schema": 99}))
    with pytest.raises(ArtifactError, match=r"schema 99.*update"):
        read_artifact(artifact.path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"gone\.onnx"):
        read_artifact(tmp_path / "gone.onnx")


def test_a_stage_is_finished_only_for_the_same_parent_and_params(folder):
    parent = make(folder)
    child = make(folder, kind="fp32", parent=parent, opset=18)
    assert finished(folder, "net", "fp32", parent, {"opset": 18}) == child
    assert finished(folder, "net", "fp32", parent, {"opset": 17}) is None
    assert finished(folder, "net", "fp32", None, {"opset": 18}) is None
    assert finished(folder, "net", "int8", parent, {"opset": 18}) is None


def test_a_sidecar_left_alone_is_no_finished_stage(folder):
    artifact = make(folder)
    artifact.path.unlink()
    assert finished(folder, "net", "plain", None, {}) is None
    assert list_artifacts(folder) == []


def test_a_folder_lists_in_the_order_of_the_line(folder):
    for kind in ("int8-x86", "int8-opt-x86", "fp32", "plain"):
        make(folder, kind=kind)
    assert [one.kind for one in list_artifacts(folder)] == [
        "plain",
        "fp32",
        "int8-x86",
        "int8-opt-x86",
    ]


def test_finding_names_the_candidates_when_there_are_several(folder):
    make(folder, "a")
    make(folder, "b")
    with pytest.raises(ArtifactError, match=r"2 candidates.*a\.plain\.onnx.*b\.plain\.onnx"):
        find_artifact(folder, ["plain"], made_by="mofa-deploy export")


def test_finding_names_the_command_when_there_is_none(folder):
    with pytest.raises(ArtifactError, match="run `mofa-deploy export` first"):
        find_artifact(folder, ["plain"], made_by="mofa-deploy export")


def test_what_was_made_from_an_older_file_is_not_current(folder):
    old = make(folder, opset=17)
    stale = make(folder, kind="fp32", parent=old)
    stale_child = make(folder, kind="int8-x86", parent=stale)
    new = make(folder, opset=18)
    assert current_line([new, stale, stale_child]) == [new]


def test_a_line_without_its_head_is_current(folder):
    parent = make(folder)
    child = make(folder, kind="fp32", parent=parent)
    assert current_line([child]) == [child]


def test_a_line_that_starts_at_fp32_drops_what_was_made_from_an_older_one(folder):
    user = Artifact(folder / "net.onnx", "sha of the user's file", "external", "net")
    fp32 = make(folder, kind="fp32", parent=user)
    old = make(folder, kind="int8-x86", parent=fp32, crops=10)
    stale = make(folder, kind="int8-opt-x86", parent=old)
    new = make(folder, kind="int8-x86", parent=fp32, crops=20)
    assert current_line([fp32, new, stale]) == [fp32, new]


def test_a_damaged_file_of_another_kind_is_not_looked_at(folder):
    plain = make(folder)
    make(folder, kind="int8-x86", parent=plain).path.write_bytes(b"damaged")
    assert list_artifacts(folder, ["plain"]) == [plain]
    with pytest.raises(ArtifactError, match="int8-x86"):
        list_artifacts(folder)


def test_an_infinite_psnr_is_left_out_so_that_the_sidecar_is_json(folder):
    with temporary_beside(artifact_path(folder, "net", "fp32")) as temporary:
        temporary.write_bytes(b"model")
        artifact = write_artifact(
            temporary,
            folder,
            model="net",
            kind="fp32",
            parent=None,
            params={},
            versions={},
            fidelity={"psnr_vs_parent_db": float("inf"), "psnr_db": 30.0},
        )
    assert artifact.fidelity == {"psnr_vs_parent_db": None, "psnr_db": 30.0}
    assert "Infinity" not in sidecar_path(artifact.path).read_text()
