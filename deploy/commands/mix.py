"""Put in float what keeps the user's bounds on the dB lost, and show what each layer costs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pandas as pd

from deploy.commands.progress import bar, note
from deploy.commands.search import Question, judge_of
from deploy.commands.sensitivity import plot_sensitivity
from deploy.errors import FidelityError, UsageError
from deploy.files import unfinished
from deploy.inference import open_run
from deploy.kernel_costs import KERNELS, GraphCost
from deploy.onnx_file import load_graph
from deploy.placement import PRESETS, Placement
from deploy.precision import Layer, Mix, cheapest_mix, layers_of, most_judgements, unmet
from deploy.quantize import (
    MIN_PSNR_VS_FP32_DB,
    FloatGraph,
    float_model,
    integer_graph,
    placement_of,
)
from deploy.recipe import Recipe
from deploy.search import Score

# Of a drop that is allowed: other images may lose more than those that were searched on, of the
# raw demo photographs 1.4 times as much.
AIMED_SHARE = 0.6
# Of closeness to fp32: the held-out photographs of the demo were 0.4 dB farther off.
AIMED_ABOVE_DB = 1.0


@dataclass(frozen=True)
class Bounds:
    """What the user allows to be lost.

    Attributes:
        min_psnr_vs_fp32_db: of the integer graph's output against the float one's.
        max_psnr_drop_db: of PSNR against the truth; None: no bound.
    """

    min_psnr_vs_fp32_db: float = MIN_PSNR_VS_FP32_DB
    max_psnr_drop_db: float | None = None

    @property
    def ask_for_more(self) -> bool:
        """Whether there is something to search for, beyond what any sound graph has."""
        return self.min_psnr_vs_fp32_db > MIN_PSNR_VS_FP32_DB or self.max_psnr_drop_db is not None


@dataclass(frozen=True)
class _Goal:
    what: str
    least_db: float  # that the user asked for
    aim_db: float  # that is tried first, as high or higher
    of_score: Callable[[Score], float]


def meet_bounds(
    question: Question, recipe: Recipe, base: FloatGraph, bounds: Bounds, folder: Path
) -> Recipe:
    """Give the recipe with as much in float as the bounds need, judged on the question's images.

    Of an allowed drop AIMED_SHARE is aimed at, of closeness AIMED_ABOVE_DB more, and the bound
    itself where that cannot be had: the stage holds it on images that were not searched on. Leaves
    `NAME.sensitivity.PRESET.csv` and `.svg` in the folder where layers had to be judged.

    Raises:
        UsageError: a bound on the drop, and no truth to measure it against.
        FidelityError: a bound that no mix meets; it says the best reached.
    """
    model = question.fp32.model
    if bounds.min_psnr_vs_fp32_db > MIN_PSNR_VS_FP32_DB:
        goal = _Goal(
            f"{model} int8-{question.target.name}, PSNR against fp32",
            bounds.min_psnr_vs_fp32_db,
            bounds.min_psnr_vs_fp32_db + AIMED_ABOVE_DB,
            lambda score: score.vs_fp32_db,
        )
        recipe = _mixed(question, recipe, base, folder, goal)
    if bounds.max_psnr_drop_db is not None:
        if not question.probe.pairs:
            raise UsageError(
                f"--max-psnr-drop {bounds.max_psnr_drop_db:g} without images whose truth is known",
                "pass --search-on FOLDER with input/ and target/, or --min-psnr-vs-fp32",
            )
        drop_db = bounds.max_psnr_drop_db
        fp32_db = question.probe.quality(open_run(question.fp32.path))["psnr_db"]
        goal = _Goal(
            f"{model} int8-{question.target.name}, PSNR against the truth",
            fp32_db - drop_db,
            fp32_db - min(drop_db, AIMED_SHARE * drop_db),  # a gain is aimed at as it is
            lambda score: score.db,
        )
        recipe = _mixed(question, recipe, base, folder, goal)
    return recipe


def _mixed(
    question: Question, recipe: Recipe, base: FloatGraph, folder: Path, goal: _Goal
) -> Recipe:
    graph = float_model(load_graph(base.path))
    judge = judge_of(question)

    def build(one: Recipe) -> onnx.ModelProto:
        return integer_graph(base, question.target, one, input_range=question.input_range)

    def placement(preset: str) -> Placement:
        started = Recipe(preset=preset, method=recipe.method, float_nodes=recipe.float_nodes)
        return placement_of(graph, question.target, started, input_range=question.input_range)

    def layers_of_preset(preset: str) -> list[Layer]:
        return layers_of(graph, placement(preset))

    kernels = KERNELS[question.target.hardware]
    costs = {preset: GraphCost(graph, placement(preset), kernels) for preset in PRESETS}

    def search(bound_db: float) -> Mix:
        counts = [len(layers_of_preset(one)) for one in {recipe.preset, "accurate"}]
        with bar(f"meeting {bound_db:.2f} dB", most_judgements(*counts), "graphs") as judged:
            return cheapest_mix(
                recipe,
                bound_db,
                layers_of_preset,
                build,
                lambda made: goal.of_score(judge(made)),
                cost=lambda one: costs[one.preset].of(one.float_nodes),
                on_trial=lambda done, most: judged(done),
            )

    def has_integers(mix: Mix) -> bool:
        kept = placement_of(graph, question.target, mix.recipe, input_range=question.input_range)
        return bool(kept.integer)

    mix = search(goal.aim_db)
    asked_for = mix.met or mix.db >= goal.least_db  # may be met where more is not
    if asked_for and goal.aim_db > goal.least_db and not (mix.met and has_integers(mix)):
        mix = search(goal.least_db)
    if mix.met and not has_integers(mix):
        raise FidelityError(
            f"{goal.what}: no mix of integers and float reaches {goal.least_db:.2f} dB, "
            "float alone does",
            "ask for less, or use the fp32 model; nothing was written",
        )
    _write_layers(mix, folder / f"{question.fp32.model}.sensitivity", goal.what)
    if not mix.met:
        raise unmet(mix, goal.least_db, goal.what)
    return mix.recipe


def _write_layers(mix: Mix, path: Path, what: str) -> None:
    if mix.layers.empty:
        return
    for preset, table in mix.layers.groupby("preset", sort=False):
        name = path.with_name(f"{path.name}.{preset}")
        with unfinished(name.with_name(name.name + ".csv")) as temporary:
            pd.DataFrame(table).to_csv(temporary, index=False)
        plot_sensitivity(table, name.with_name(name.name + ".svg"), title=f"{what}, {preset}")
        if mix.met:
            note(f"what each layer costs: {name}.csv and .svg")
