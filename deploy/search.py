"""Which recipe keeps most of the picture: range method, equalization and bias correction.

No range method is best for all networks. Clipping hard wins on PMRID and loses 3 dB on NAFNet, so
each is tried, and judged by what the whole graph makes of images. One thing is changed at a time:
the range method; equalization with the best of those; bias correction on the best of all.
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
    "percentile-98",
)
MOST_EQUALIZED = 3  # range methods that equalization is tried with: the best without it
# smaller differences do not decide: of the picture, and of how close the graph is to its float form
WORTH_DB, WORTH_VS_FP32_DB = 0.002, 0.2


@dataclass(frozen=True)
class Score:
    """How good an integer graph is.

    Attributes:
        db: PSNR against the truth; where there is none, against the float graph. Mean over images.
        vs_fp32_db: PSNR against the float graph, mean over images.
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


def count_trials(methods: Sequence[str], equalize: Sequence[str]) -> int:
    """Give how many recipes `search_recipe` judges."""
    return len(methods) + len(equalize) * min(MOST_EQUALIZED, len(methods)) + 1


def search_recipe(
    start: Recipe,
    build: Build,
    judge: Judge,
    *,
    methods: Sequence[str] = METHODS_TRIED,
    equalize: Sequence[str] = (),
    on_trial: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Recipe, list[Trial]]:
    """Give the best of `start` with other ranges, equalization and bias correction.

    Args:
        start: its preset and float nodes are kept.
        methods: range methods to try, the plainest first.
        equalize: ways to equalize that `build` can take, besides none.
        on_trial: told how many recipes are judged, and of how many.

    Returns:
        The recipe, and all trials in their order; see `best_of`.

    Raises:
        FidelityError: as `best_of`.
    """
    trials: list[Trial] = []
    total = count_trials(methods, equalize)

    def try_out(recipe: Recipe) -> None:
        trials.append(Trial(recipe, judge(build(recipe))))
        on_trial(len(trials), total)

    on_trial(0, total)
    for method in methods:
        try_out(replace(start, method=method, equalize="no", correct_bias=False))
    by_picture = sorted(trials, key=lambda one: np.nan_to_num(one.score.db, nan=-np.inf))
    best = [one.recipe for one in by_picture[::-1][:MOST_EQUALIZED]]
    for way in equalize:
        for recipe in best:
            try_out(replace(recipe, equalize=way))
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
