"""The verb of the line's middle: calibrate, choose a recipe, quantize for each target."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from calib.report import outlier_crops
from deploy.artifact import list_artifacts
from deploy.commands.clipping import warn_of_clipping
from deploy.commands.images import calibration_crops, pipeline_of, probe_for_artifact
from deploy.commands.mix import Bounds, meet_bounds
from deploy.commands.progress import clock
from deploy.commands.search import Question, calibrated, choose_recipe, chosen_graph
from deploy.commands.search_images import held_back, search_probe
from deploy.commands.show import Made
from deploy.commands.stages import find_source, forms_of, prepare_from
from deploy.commands.tuned import tuned_forms
from deploy.errors import DataError
from deploy.onnx_file import image_input, load_graph
from deploy.placement import find_target
from deploy.quantize import quantize, require_quantizable
from deploy.recipe import DEFAULT_METHOD, Recipe
from deploy.tuning import Tuned

AUTO = "auto"  # a range method: the one that a search finds best


def quantize_model(
    source: Path | None,
    build: Path,
    *,
    targets: Sequence[str],
    data: Path | None,
    crops: int,
    seed: int,
    held_out: Path | None,
    bounds: Bounds,
    force: bool,
    preset: str = "fast",
    method: str = AUTO,
    search_on: Path | None = None,
    tuned: Tuned | None = None,
    into: Path | None = None,
) -> list[Made]:
    """Calibrate once, choose a recipe once, and quantize for each target.

    Prepares the graph first where needed. With a range method by name nothing is searched.

    Args:
        tuned: what a device chose; its forms are taken, else those that the graph was prepared in
            already.
        into: where the files go; None: `build`, where the cache is in any case.
    """
    wanted = [find_target(name) for name in targets]
    recipe = Recipe(preset, DEFAULT_METHOD if method == AUTO else method)
    has_plain = source is None and bool(list_artifacts(build, ("plain",)))
    kinds = ("plain",) if has_plain else ("fp32",)
    given = find_source(source, build, kinds, made_by="mofa-deploy export")
    forms = None if tuned is None else tuned_forms(tuned, given)
    into = into or build
    graph = load_graph(given.path)
    pipeline = pipeline_of(given)
    require_quantizable(graph, given.path)  # roughly: the stage looks at what prepare makes of it
    probe = probe_for_artifact(build, given, held_out)
    *_, height, width = image_input(graph, given.path).shape
    size = height, width
    # before any work: most bad folders show here
    judging = method == AUTO or bounds.ask_for_more
    back = held_back(build, data, pipeline) if judging and search_on is None else []
    choose = partial(calibration_crops, build, data, given, count=crops, size=size, seed=seed)
    try:
        chosen = choose(leave_out=back)
    except DataError:  # too few without those held back; anything else happens again
        back = []
        chosen = choose()
    results: list[Made] = []
    fp32 = given
    if given.kind in ("plain", "external"):
        results.append(prepare_from(given, into, probe, force, forms or forms_of(into, given)))
        fp32 = results[-1][0]
    cache = build / "calib"
    base = calibrated(fp32.path, chosen, cache)
    outliers = outlier_crops(base.statistics, chosen.crops)
    trials: list[dict[str, Any]] = []
    if method != AUTO:
        warn_of_clipping(Question(fp32, wanted[0], chosen, probe, cache), recipe, base)
    if judging:
        judged_on = search_probe(
            build, data, fp32, size, images=back, search_on=search_on, seed=seed
        )
        question = Question(fp32, wanted[0], chosen, judged_on, cache)
        if method == AUTO:
            recipe, trials = choose_recipe(question, recipe, base)
            base = chosen_graph(question, recipe, base)
        if bounds.ask_for_more:
            recipe = meet_bounds(question, recipe, base, bounds, into)
    for target in wanted:
        with clock(f"quantizing {fp32.model} for {target.name}") as count:
            results.append(
                quantize(
                    fp32,
                    base,
                    target,
                    into,
                    replace(probe, on_image=count),
                    recipe=recipe,
                    crops=chosen.record(),
                    outliers=outliers,
                    trials=trials,
                    min_psnr_vs_fp32_db=bounds.min_psnr_vs_fp32_db,
                    max_psnr_drop_db=bounds.max_psnr_drop_db,
                    force=force,
                )
            )
    return results
