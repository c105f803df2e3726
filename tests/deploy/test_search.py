import math
from dataclasses import replace

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import FidelityError
from deploy.recipe import Recipe
from deploy.search import (
    METHODS_TRIED,
    WORTH_DB,
    Score,
    Trial,
    best_of,
    count_trials,
    search_recipe,
)

METHODS = ("minmax", "mse", "percentile-99.9", "percentile-99")
START = Recipe(preset="accurate", float_nodes=("one",))


def build(recipe: Recipe) -> onnx.ModelProto:
    """A graph that remembers its recipe by its name."""
    model = onnx.ModelProto()
    model.producer_name = f"{recipe.method} {recipe.equalize} {recipe.correct_bias}"
    return model


def judge_by(scores: dict[str, float], default: float = 30.0):
    """Give the dB of a graph by the words in its name."""

    def judge(graph: onnx.ModelProto) -> Score:
        db = default + sum(db for word, db in scores.items() if word in graph.producer_name.split())
        return Score(db, db + 10)

    return judge


def test_the_best_range_method_is_found():
    found, _ = search_recipe(START, build, judge_by({"percentile-99": 1.0}), methods=METHODS)
    assert found == replace(START, method="percentile-99")


def test_equalization_and_bias_correction_are_taken_where_they_help():
    judge = judge_by({"mse": 1.0, "typical": 0.5, "True": 0.2})
    found, _ = search_recipe(START, build, judge, methods=METHODS, equalize=("whole", "typical"))
    assert found == replace(START, method="mse", equalize="typical", correct_bias=True)


def test_what_does_not_help_is_left_out():
    judge = judge_by({"mse": 1.0, "typical": -0.5, "whole": -0.1, "True": -0.2})
    found, _ = search_recipe(START, build, judge, methods=METHODS, equalize=("whole", "typical"))
    assert found == replace(START, method="mse")


def test_a_difference_that_is_not_worth_it_leaves_the_plainest():
    judge = judge_by({"mse": WORTH_DB / 3, "True": WORTH_DB / 3})
    found, _ = search_recipe(START, build, judge, methods=METHODS)
    assert found == replace(START, method="minmax")


def test_pictures_as_good_are_told_apart_by_the_float_graph():
    trials = [
        Trial(replace(START, method="minmax"), Score(30.000, 44)),
        Trial(replace(START, method="mse"), Score(30.002, 47)),
        Trial(replace(START, method="entropy"), Score(29.0, 60)),
    ]
    assert best_of(trials).recipe.method == "mse"


def test_a_graph_that_gives_no_numbers_is_never_taken():
    trials = [
        Trial(replace(START, method="minmax"), Score(math.nan, math.nan)),
        Trial(replace(START, method="mse"), Score(20.0, 20.0)),
    ]
    assert best_of(trials).recipe.method == "mse"


def test_no_graph_that_gives_numbers_is_an_error():
    with pytest.raises(FidelityError, match="no range method gives an integer graph"):
        best_of([Trial(START, Score(math.nan, math.nan))])


@given(
    st.lists(st.floats(20, 60), min_size=len(METHODS_TRIED), max_size=len(METHODS_TRIED)),
    st.floats(-2, 2),
)
def test_what_is_found_is_never_worse_than_any_trial_by_more_than_is_worth_it(scores, of_typical):
    judge = judge_by({**dict(zip(METHODS_TRIED, scores, strict=True)), "typical": of_typical})
    found, trials = search_recipe(START, build, judge, equalize=("typical",))
    (score,) = {one.score.db for one in trials if one.recipe == found}
    assert score >= max(one.score.db for one in trials) - WORTH_DB


def test_as_many_recipes_are_judged_as_were_announced():
    told = []
    ways = ("whole", "typical")
    search_recipe(
        START,
        build,
        judge_by({}),
        equalize=ways,
        on_trial=lambda done, total: told.append((done, total)),
    )
    total = count_trials(METHODS_TRIED, ways)
    assert told == [(done, total) for done in range(total + 1)]
