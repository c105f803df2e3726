from dataclasses import replace

import pandas as pd
import pytest

from deploy.commands.mix import Bounds, meet_bounds
from deploy.commands.search import judge_of
from deploy.errors import FidelityError, UsageError
from deploy.quantize import integer_graph
from deploy.recipe import Recipe

MINMAX = Recipe(method="minmax")


@pytest.fixture
def score(question, base):
    judge = judge_of(question)
    return lambda recipe: judge(integer_graph(base, question.target, recipe))


def test_bounds_that_every_sound_graph_meets_ask_for_nothing():
    assert not Bounds().ask_for_more
    assert Bounds(max_psnr_drop_db=0.1).ask_for_more
    assert Bounds(min_psnr_vs_fp32_db=40).ask_for_more


def test_a_bound_that_is_met_leaves_the_recipe(question, base, folder):
    assert meet_bounds(question, MINMAX, base, Bounds(21.0, 30.0), folder) == MINMAX


def test_a_bound_on_the_drop_needs_images_whose_truth_is_known(question, base, folder):
    blind = replace(question, probe=replace(question.probe, pairs=()))
    with pytest.raises(UsageError, match="--search-on FOLDER"):
        meet_bounds(blind, MINMAX, base, Bounds(max_psnr_drop_db=0.1), folder)


@pytest.mark.slow
def test_a_tighter_bound_puts_some_layers_in_float_and_shows_what_each_costs(
    question, base, folder, score
):
    folder.mkdir()
    least_db = score(MINMAX).vs_fp32_db + 1
    recipe = meet_bounds(question, MINMAX, base, Bounds(least_db), folder)
    assert recipe.float_nodes or recipe.preset == "accurate"
    assert score(recipe).vs_fp32_db >= least_db
    (table,) = folder.glob("small.sensitivity.fast.csv")
    assert {"layer", "gain_db"} <= set(pd.read_csv(table))
    assert table.with_suffix(".svg").read_text().lstrip().startswith("<")


@pytest.mark.slow
def test_a_bound_that_nothing_meets_says_the_best_reached(question, base, folder):
    folder.mkdir()
    with pytest.raises(FidelityError, match=r"the best of \d+ tried reaches \d+\.\d\d dB"):
        meet_bounds(question, MINMAX, base, Bounds(200.0), folder)


@pytest.mark.slow
def test_closeness_that_can_be_had_is_taken_where_more_that_is_aimed_at_cannot(
    question, base, folder, monkeypatch
):
    folder.mkdir()
    monkeypatch.setattr("deploy.commands.mix.AIMED_ABOVE_DB", 200.0)
    assert meet_bounds(question, MINMAX, base, Bounds(21.0), folder) == MINMAX


@pytest.mark.slow
def test_a_drop_that_can_be_kept_is_kept_where_the_smaller_one_aimed_at_cannot(
    question, base, folder, monkeypatch
):
    folder.mkdir()
    monkeypatch.setattr("deploy.commands.mix.AIMED_SHARE", -100.0)  # a gain that nothing gives
    recipe = meet_bounds(question, MINMAX, base, Bounds(max_psnr_drop_db=1.0), folder)
    assert recipe == MINMAX
