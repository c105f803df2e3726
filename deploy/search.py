"""Which recipe keeps most of the picture: range method, equalization and bias correction.

No range method is best for all networks. Clipping hard wins on PMRID and loses 3 dB on NAFNet, so
each is tried, and judged by what the whole graph makes of images. One thing is changed at a time:
the range method without and with equalization, then bias correction on the best.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from deploy.errors import FidelityError
from deploy.recipe import Recipe

# by rising share of values that are cut off: with equal results the earlier one is taken
METHODS_TRIED = (
    "minmax",
    "mse",
    "entropy",
    "percentile-99.999",
    "percentile-99.99",
    "percentile-99.9",
    "percentile-99.5",
    "percentile-99",
)
# smaller differences do not decide: of the picture, and of how close the graph is to its float form
WORTH_DB, WORTH_VS_FP32_DB = 0.01, 0.2


@dataclass(frozen=True)
class Score:
    """How good an integer graph is.

    Attributes:
        db: PSNR against the truth; where there is none, against the float graph.
        vs_fp32_db: PSNR against the float graph.
    """

    db: float
    vs_fp32_db: float


Build = Callable[[Recipe], onnx.ModelProto]  # the integer graph of a recipe
Judge = Callable[[onnx.ModelProto], Score]


@dataclass(frozen=True)
class Trial:
    """A recipe that was built and judged."""

    recipe: Recipe
    score: Score


def count_trials(methods: Sequence[str], equalizable: bool) -> int:
    """Give how many recipes `search_recipe` judges."""
    return len(methods) * (2 if equalizable else 1) + 1


def search_recipe(
    start: Recipe,
    build: Build,
    judge: Judge,
    *,
    methods: Sequence[str] = METHODS_TRIED,
    equalizable: bool = True,
    on_trial: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Recipe, list[Trial]]:
    """Give the best of `start` with other ranges, equalization and bias correction.

    Args:
        start: its preset and float nodes are kept.
        methods: range methods to try, the plainest first.
        equalizable: False where `build` cannot take an equalizing recipe.
        on_trial: told how many recipes are judged, and of how many.

    Returns:
        The recipe, and all trials in their order; see `best_of`.

    Raises:
        FidelityError: as `best_of`.
    """
    trials: list[Trial] = []
    total = count_trials(methods, equalizable)

    def try_out(recipe: Recipe) -> None:
        trials.append(Trial(recipe, judge(build(recipe))))
        on_trial(len(trials), total)

    on_trial(0, total)
    for equalize in (False, True)[: 1 + equalizable]:
        for method in methods:
            try_out(replace(start, method=method, equalize=equalize, correct_bias=False))
    try_out(replace(best_of(trials).recipe, correct_bias=True))
    return best_of(trials).recipe, trials


def best_of(trials: Sequence[Trial]) -> Trial:
    """Give the best picture; of those as good, the one closest to float; of those, the first.

    Raises:
        FidelityError: no graph gives numbers.
    """
    known = [one for one in trials if np.isfinite([one.score.db, one.score.vs_fp32_db]).all()]
    if not known:
        raise FidelityError(
            "no range method gives an integer graph whose output is finite",
            "look at the fp32 model's own output on these images",
        )
    most_db = max(one.score.db for one in known)
    good = [one for one in known if one.score.db >= most_db - WORTH_DB]
    most_vs_fp32_db = max(one.score.vs_fp32_db for one in good)
    return next(one for one in good if one.score.vs_fp32_db >= most_vs_fp32_db - WORTH_VS_FP32_DB)
