"""Choose a recipe on images, and keep the choice: the same question is not asked twice."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from calib.crops import CropSet, read_crops
from calib.stream import collect_statistics
from deploy.artifact import Artifact
from deploy.bias_correction import channel_means
from deploy.channel_balance import balance_channels, typical_limits
from deploy.codes import Range
from deploy.commands.progress import bar
from deploy.errors import UsageError
from deploy.fidelity import Probe, psnr_between_db
from deploy.files import unfinished
from deploy.inference import Run, open_run
from deploy.onnx_file import load_graph
from deploy.placement import Target, calibrated_tensors
from deploy.quantize import FloatGraph, float_model, input_range_of, integer_graph
from deploy.recipe import EQUALIZE, Recipe, recipe_of_record
from deploy.search import METHODS_TRIED, Judge, Score, Trial, count_trials, search_recipe

SEARCH_SCHEMA = 5  # 5: two thousandths of a dB of the picture decide
SEARCH_CROPS = 64  # that the equalized graph is calibrated on while it is only a candidate
LOSSLESS_DB = 120.0  # closer than float32 rounding: a window without a difference is no infinity
MEAN_CROPS = 16  # that the means for bias correction are taken of


@dataclass(frozen=True)
class Question:
    """What a recipe is chosen for.

    Attributes:
        crops: that the ranges come from.
        probe: that recipes are judged on.
        cache: folder of what may be deleted.
    """

    fp32: Artifact
    target: Target
    crops: CropSet
    probe: Probe
    cache: Path

    @property
    def input_range(self) -> Range | None:
        """Of the network's input, where it is an 8-bit image."""
        return input_range_of(self.probe.pipeline)


def calibrated(path: Path, crops: CropSet, cache: Path, what: str = "calibrating") -> FloatGraph:
    """Give a float graph with the statistics of its activations, cached."""
    graph = load_graph(path)
    tensors = calibrated_tensors(float_model(graph))
    with bar(what, len(crops.crops), "crops", memory=True) as on_crop:
        statistics = collect_statistics(path, crops, cache, tensors=tensors, on_crop=on_crop)
    return FloatGraph(path, statistics)


def with_means(base: FloatGraph, crops: CropSet) -> FloatGraph:
    """Give a float graph with what bias correction needs."""
    first = islice(read_crops(spread(crops, MEAN_CROPS)), MEAN_CROPS)
    return replace(base, means=channel_means(load_graph(base.path), first))


def spread(crops: CropSet, count: int) -> CropSet:
    """Give at most so many of a crop set, evenly spread over it."""
    step = max(1, len(crops.crops) // count)
    chosen = crops.crops[::step][:count]
    sha256 = hashlib.sha256(f"{crops.sha256} {step} {len(chosen)}".encode()).hexdigest()
    return replace(crops, crops=chosen, sha256=sha256)


def equalized_file(base: FloatGraph, way: str, crops: CropSet, cache: Path) -> Path | None:
    """Write the equalized form of a float graph; None where there is nothing to equalize.

    Args:
        way: of `deploy.recipe.EQUALIZE`.
    """
    graph = load_graph(base.path)
    limits = {
        name: (one.channel_least, one.channel_greatest)
        for name, one in base.statistics.tensors.items()
    }
    model = float_model(graph)
    if way == "typical":
        images = {name: limits[name] for name in sorted(_images(model) & set(limits))}
        limits |= typical_limits(graph, read_crops(spread(crops, MEAN_CROPS)), images)
    if not balance_channels(model, limits).applied:
        return None
    content = ir.to_proto(model).SerializeToString(deterministic=True)
    path = cache / f"equalized-{hashlib.sha256(content).hexdigest()[:16]}.onnx"
    if not path.exists():
        with unfinished(path) as temporary:
            temporary.write_bytes(content)
    return path


def _images(model: ir.Model) -> set[str]:
    values = [value for node in model.graph for value in node.outputs]
    ranked = [value for value in values if value.shape is not None]
    return {str(value.name) for value in ranked if len(value.shape) == 4}  # type: ignore[arg-type]


def choose_recipe(
    question: Question, start: Recipe, base: FloatGraph
) -> tuple[Recipe, list[dict[str, Any]]]:
    """Give the recipe that keeps most of the picture, and what was tried.

    Args:
        base: the fp32 graph, calibrated on all crops.
    """
    path = question.cache / f"search-{_key(question, start, base)}.json"
    known = _read(path)
    if known is not None:
        return known
    few = spread(question.crops, SEARCH_CROPS)
    bases = {"no": with_means(base, question.crops)}
    for way in EQUALIZE:
        path_of_way = _equalized(question, way, base) if way != "no" else None
        if path_of_way is not None:
            candidate = calibrated(path_of_way, few, question.cache, f"equalized ({way})")
            bases[way] = with_means(candidate, question.crops)

    def build(recipe: Recipe) -> onnx.ModelProto:
        return integer_graph(
            bases[recipe.equalize], question.target, recipe, input_range=question.input_range
        )

    ways = [way for way in bases if way != "no"]
    with bar("choosing a recipe", count_trials(METHODS_TRIED, ways), "recipes") as tried:
        recipe, trials = search_recipe(
            start,
            build,
            judge_of(question),
            equalize=ways,
            on_trial=lambda done, total: tried(done),
        )
    records = _records(trials)
    with unfinished(path) as temporary:
        temporary.write_text(json.dumps({"recipe": recipe.record(), "trials": records}) + "\n")
    return recipe, records


def _equalized(question: Question, way: str, base: FloatGraph) -> Path | None:
    return equalized_file(base, way, question.crops, question.cache)


def judge_of(question: Question) -> Judge:
    """Give the judge of integer graphs: by decibels, averaged over the question's images.

    The error pooled over all images would be that of the one that a graph treats worst.
    """
    probe, target = question.probe, question.target
    reference = _results(probe, open_run(question.fp32.path))
    peak = 1.0 if probe.pairs else probe.peak

    def judge(graph: onnx.ModelProto) -> Score:
        run = open_run(graph.SerializeToString(), level=target.level, config=target.config)
        results = _results(probe, run)
        close_db = [
            min(LOSSLESS_DB, psnr_between_db([one], [other], peak=peak))
            for one, other in zip(reference, results, strict=True)
        ]
        vs_fp32_db = float(np.mean(close_db))
        each_db = [
            psnr_between_db([pair.sharp], [result])
            for pair, result in zip(probe.pairs, results, strict=bool(probe.pairs))
        ]
        return Score(float(np.mean(each_db)) if each_db else vs_fp32_db, vs_fp32_db)

    return judge


def _results(probe: Probe, run: Run) -> list[np.ndarray]:
    """Give the restored images where there is a truth for them, else the network's outputs."""
    if probe.pairs:
        return [probe.restored(run, pair) for pair in probe.pairs]
    return probe.outputs(run)


def chosen_graph(question: Question, recipe: Recipe, base: FloatGraph) -> FloatGraph:
    """Give the float graph that a recipe starts from, calibrated on all crops."""
    if recipe.equalize != "no":
        path = _equalized(question, recipe.equalize, base)
        assert path is not None
        base = calibrated(path, question.crops, question.cache, "calibrating the equalized graph")
    return with_means(base, question.crops) if recipe.correct_bias else base


def _records(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    names = ("method", "equalize", "correct_bias")
    return [
        {
            **{name: getattr(trial.recipe, name) for name in names},
            **{name: round(value, 3) for name, value in asdict(trial.score).items()},
        }
        for trial in trials
    ]


def _key(question: Question, start: Recipe, base: FloatGraph) -> str:
    """Give a name for everything that the choice depends on."""
    windows = hashlib.sha256()
    for crop in question.probe.crops:
        windows.update(crop.tobytes())
    content = [
        SEARCH_SCHEMA,
        asdict(base.statistics.origin),
        sorted(base.statistics.tensors),
        question.target.name,
        start.record(),
        METHODS_TRIED,
        windows.hexdigest(),
        len(question.probe.pairs),
        question.probe.pipeline.record(),
        onnxruntime.__version__,
    ]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()[:16]


def _read(path: Path) -> tuple[Recipe, list[dict[str, Any]]] | None:
    """Read a choice that was kept; a cache never decides: None where it is missing or broken."""
    try:
        record = json.loads(path.read_text())
        return recipe_of_record(record["recipe"]), list(record["trials"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UsageError):
        return None
