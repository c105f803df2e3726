"""Ten edits of the demo network that make it heavier, ten that do not, and the gate's word on each.

The list was written down before any of it was counted, and is not changed after: an edit that the
gate misses stays in it. Edits that add less than the gate's budget by their nature, such as a last
convolution in float, were left out from the start.
"""

import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import arm64_graph_edits as graphs
import numpy as np
import onnx
from arm64.nets import CALIBRATION_CROPS
from skimage.io import imsave

from deploy.artifact import artifact_path, read_artifact, write_artifact
from deploy.cli import run_app
from deploy.errors import GraphError
from deploy.fidelity import psnr_between_db
from deploy.files import temporary_beside
from deploy.inference import open_run
from deploy.onnx_file import image_input, load_graph
from deploy.optimize import save_optimized
from deploy.targets import TARGETS

MODEL, TARGET = "nafnet-tiny", "arm-cpu"
QUANTIZED, SAVED = f"int8-{TARGET}", f"int8-opt-{TARGET}"
KINDS = (QUANTIZED, SAVED)
PASSED, REGRESSION, INVALID = 0, 4, 5  # exit codes of the gate
_WITH_VERDICT = (PASSED, REGRESSION, INVALID)
DEEP = "a-folder-with-a-much-longer-path/" * 3
_QUANTIZE = ("--target", TARGET, "--method", "minmax", "--min-psnr-vs-fp32", "0")
_FEW = ("--crops", str(CALIBRATION_CROPS))
_SEED, _NOISE_PX = 11, 256
Words = tuple[str, ...]


@dataclass(frozen=True)
class Edit:
    """One change; exactly one of the fields after `worse` says what it is.

    Attributes:
        worse: it makes the network heavier, and the gate is to catch it.
        graph: changes the quantized graph in place.
        prepare: options with which the line is made anew from the exported graph.
        quantize: options with which it is made anew from the prepared graph.
        exported: the line is made anew from the network, in a deep folder.
        loaded: fields of the target that are other ones when the file is loaded.
        saved: the same, when the optimized file is saved.
        held_out: other photographs are its input.
        elsewhere: the same file, counted in a deep folder and another environment.
    """

    name: str
    what: str
    worse: bool
    graph: graphs.Edit | None = None
    prepare: Words = ()
    quantize: Words = ()
    exported: bool = False
    loaded: Mapping[str, Any] = field(default_factory=dict)
    saved: Mapping[str, Any] = field(default_factory=dict)
    held_out: bool = False
    elsewhere: bool = False

    @property
    def kind(self) -> str:
        """Which file of the line it changes."""
        return SAVED if self.saved else QUANTIZED


def _worse(name: str, what: str, **how: Any) -> Edit:
    return Edit(name, what, True, **how)


def _harmless(name: str, what: str, **how: Any) -> Edit:
    return Edit(name, what, False, **how)


EDITS = (
    _worse(
        "fusion-broken", "no Q and DQ between a 1x1 and a depthwise", graph=graphs.without_a_pair
    ),
    _worse(
        "option-off",
        "optimized file saved with qdqisint8allowed=0",
        saved={"config": {"session.qdqisint8allowed": "0"}},
    ),
    _worse("depth-to-space", "DepthToSpace for Split and Concat", prepare=("--shuffle", "dcr")),
    _worse("attention-broadcast", "factor not expanded to a row", prepare=("--attention", "keep")),
    _worse("wider-first", "first convolution 2 wider, 2 higher", graph=graphs.wider_first),
    _worse("layernorm-decomposed", "LayerNorm as exported", prepare=("--layernorm", "keep")),
    _worse("depthwise-12-20", "depthwise 32 in parts of 12, 20", graph=graphs.depthwise_in_parts),
    _worse("transposes", "a pair around a 1x1 convolution", graph=graphs.turned_around),
    _worse("float-island", "one depthwise convolution in float", graph=graphs.float_island),
    _worse("level-lower", "loaded at level basic", loaded={"level": "basic"}),
    _harmless("renamed", "a prefix before every name", graph=graphs.renamed),
    _harmless("initializers", "constants in another order", graph=graphs.initializers_reversed),
    _harmless("annotated", "producer, versions, doc strings", graph=graphs.annotated),
    _harmless("nodes-reordered", "another topological order", graph=graphs.nodes_reordered),
    _harmless("attributes", "attributes in another order", graph=graphs.attributes_reversed),
    _harmless("other-weights", "drawn from another seed", graph=graphs.other_weights),
    _harmless("other-calibration", "16 other crops", quantize=("--crops", "16", "--seed", "7")),
    _harmless("other-input", "noise in place of photographs", held_out=True),
    _harmless("elsewhere", "longer paths, 4 KB of environment", elsewhere=True),
    _harmless("exported-again", "the whole line anew, in another folder", exported=True),
)


@dataclass(frozen=True)
class Judged:
    """What the gate said to one edit.

    Attributes:
        steady_pct, session_pct: changes of the counts; None where it could not compare.
        exit_code, verdict: of the gate.
        output_db: this machine's output beside that of the unchanged file; inf: the same bits.
    """

    edit: Edit
    steady_pct: float | None
    session_pct: float | None
    exit_code: int
    verdict: str
    output_db: float

    @property
    def right(self) -> bool:
        """A regression caught, or a harmless edit passed."""
        return self.exit_code == (REGRESSION if self.edit.worse else PASSED)


def judge_edits(
    line: Path, folder: Path, edits: Sequence[Edit], *, again: bool
) -> Iterator[Judged]:
    """Take the line's files for baselines, and give what the gate says to each edit.

    Args:
        line: folder of the demo network's whole line.
        folder: for the edited files, the baselines and the counts.
        again: make and count what is there already anew.

    Raises:
        GraphError: a command fails; it says why itself.
    """
    baselines = {kind: folder / f"baseline-{kind}.json" for kind in {one.kind for one in edits}}
    for kind, baseline in baselines.items():
        gate(artifact_path(line, MODEL, kind), baseline, folder / "base", "--rebaseline")
    for edit in edits:
        own = folder / (DEEP if edit.elsewhere or edit.exported else "") / edit.name
        file = artifact_path(own, MODEL, edit.kind)
        if again or not file.is_file():
            make(edit, line, own)
        forced = ("--force",) if again else ()
        with targets_changed(edit.loaded), surroundings(own if edit.elsewhere else None):
            code, said = gate(file, baselines[edit.kind], own, *forced, *_images(edit, own))
        output_db = _between_db(artifact_path(line, MODEL, edit.kind), file)
        changes = {one["metric"]: one["change"] for one in said["findings"]}
        yield Judged(
            edit,
            changes.get("instructions"),
            changes.get("session_instructions"),
            code,
            said["verdict"],
            output_db,
        )


def gate(file: Path, baseline: Path, build: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Run the gate on one file; give its exit code and what it prints.

    Raises:
        GraphError: it does not get as far as a verdict.
    """
    words = ["gate", "--metric", "instructions", "--baseline", str(baseline), str(file)]
    code, said = _command(*words, "--out", str(build), "--json", *options)
    if code not in _WITH_VERDICT:
        raise GraphError(f"the gate on {file} ends with {code}", "see its own message above")
    return code, json.loads(said)


def make(edit: Edit, line: Path, folder: Path) -> None:
    """Write the edited file, with the name that it has in the line.

    Raises:
        GraphError: a stage of the line fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _share_photographs(line, folder)
    if edit.exported:
        shape = ",".join(map(str, _shape(artifact_path(line, MODEL, QUANTIZED))))
        _stage("export", "--model", MODEL, "--shape", shape, "--out", str(folder), "--force")
    if edit.exported or edit.prepare:
        plain = artifact_path(folder if edit.exported else line, MODEL, "plain")
        _stage("prepare", str(plain), "--out", str(folder), "--force", *edit.prepare)
    if edit.exported or edit.prepare or edit.quantize:
        fp32 = artifact_path(line if edit.quantize else folder, MODEL, "fp32")
        few = edit.quantize or _FEW
        _stage("quantize", str(fp32), "--out", str(folder), "--force", *_QUANTIZE, *few)
        return
    base = read_artifact(artifact_path(line, MODEL, edit.kind))
    with temporary_beside(artifact_path(folder, MODEL, edit.kind)) as temporary:
        if edit.saved:
            source = artifact_path(line, MODEL, QUANTIZED)
            save_optimized(source, replace(TARGETS[TARGET], **edit.saved), temporary)
        else:
            onnx.save(edited(onnx.load(base.path), edit.graph), temporary)
        write_artifact(
            temporary,
            folder,
            model=base.model,
            kind=base.kind,
            parent=None,
            params=base.params,
            versions=base.tool_versions,
            fidelity={},
        )


def edited(model: onnx.ModelProto, graph: graphs.Edit | None) -> onnx.ModelProto:
    """Give a changed graph, checked; the given one is used up."""
    if graph is not None:
        graph(model)
    onnx.checker.check_model(model, full_check=True)
    return model


@contextmanager
def targets_changed(fields: Mapping[str, Any]) -> Iterator[None]:
    """Let the project's target have other fields inside the block."""
    usual = TARGETS[TARGET]
    TARGETS[TARGET] = replace(usual, **fields)
    try:
        yield
    finally:
        TARGETS[TARGET] = usual


@contextmanager
def surroundings(folder: Path | None, filler_bytes: int = 4096) -> Iterator[None]:
    """Let temporary files lie in a folder, with more environment; None changes nothing."""
    if folder is None:
        yield
        return
    usual, there = tempfile.tempdir, folder / "temporary"
    there.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir, os.environ["FILLER"] = str(there), "x" * filler_bytes
    try:
        yield
    finally:
        tempfile.tempdir = usual
        del os.environ["FILLER"]


def _images(edit: Edit, folder: Path) -> Words:
    """Give the gate's options of images: noise, where the edit is another input."""
    if not edit.held_out:
        return ()
    draw = np.random.default_rng(_SEED)
    there = folder / "noise"
    for part in ("input", "target"):
        (there / part).mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 256, (_NOISE_PX, _NOISE_PX, 3), np.uint8)
        imsave(there / part / "noise.png", pixels, check_contrast=False)
    return ("--held-out", str(there))


def _share_photographs(line: Path, folder: Path) -> None:
    there = folder / "demo-data"
    if not there.exists() and (line / "demo-data").is_dir():
        there.symlink_to((line / "demo-data").resolve())


def _stage(*words: str) -> None:
    code, _ = _command(*words, "--json")
    if code != PASSED:
        raise GraphError(f"mofa-deploy {words[0]} ends with {code}", "see its own message above")


def _command(*words: str) -> tuple[int, str]:
    printed = io.StringIO()
    with redirect_stdout(printed):
        code = run_app(list(words))
    return code, printed.getvalue()


def _between_db(one: Path, other: Path) -> float:
    """Give the PSNR between what two files make of one image, without ONNX Runtime's fusions."""
    runs: list[Callable[[np.ndarray], np.ndarray]]
    runs = [open_run(file, level="disable") for file in (one, other)]
    image = np.random.default_rng(0).random(_shape(one), dtype=np.float32)
    return psnr_between_db(*([run(image)] for run in runs), peak=1.0)


def _shape(file: Path) -> tuple[int, ...]:
    return image_input(load_graph(file), file).shape
