from dataclasses import replace

import numpy as np
import onnx
import pytest

from deploy.commands.search import LOSSLESS_DB, choose_recipe, judge_of, spread
from deploy.quantize import integer_graph
from deploy.recipe import Recipe


def searches(question) -> list:
    return sorted(question.cache.glob("search-*.json"))


def test_closeness_is_the_mean_over_windows_in_decibels(question, base):
    graph = integer_graph(base, question.target, Recipe(method="minmax"))
    each = [
        judge_of(replace(question, probe=replace(question.probe, pairs=[pair])))(graph)
        for pair in question.probe.pairs
    ]
    both = judge_of(question)(graph)
    assert each[0].vs_fp32_db != pytest.approx(each[1].vs_fp32_db, abs=0.01)
    assert both.vs_fp32_db == pytest.approx(np.mean([one.vs_fp32_db for one in each]))
    assert both.db == pytest.approx(np.mean([one.db for one in each]))


def test_the_float_graph_itself_is_lossless_and_not_infinitely_good(question):
    score = judge_of(question)(onnx.load(question.fp32.path))
    assert score.vs_fp32_db == LOSSLESS_DB


def test_without_truth_both_scores_are_closeness_to_float(question, base):
    blind = replace(question, probe=replace(question.probe, pairs=()))
    score = judge_of(blind)(integer_graph(base, question.target, Recipe(method="minmax")))
    assert score.db == score.vs_fp32_db
    assert 20 < score.db < LOSSLESS_DB


@pytest.mark.slow
def test_a_choice_is_made_once_and_read_from_then_on(question, base):
    recipe, trials = choose_recipe(question, Recipe(), base)
    assert len(searches(question)) == 1
    gone = replace(base, path=question.cache / "gone.onnx")  # a second search would need it
    assert choose_recipe(question, Recipe(), gone) == (recipe, trials)


@pytest.mark.slow
def test_a_broken_choice_is_made_again(question, base):
    known = choose_recipe(question, Recipe(), base)
    (path,) = searches(question)
    path.write_text('{"recipe": {"preset": "unheard-of"}, "trials": []}')
    assert choose_recipe(question, Recipe(), base) == known


def test_a_spread_takes_from_everywhere_and_has_a_name_of_its_own(question):
    some = spread(question.crops, 3)
    assert [one.image for one in some.crops] == [one.image for one in question.crops.crops[::2]]
    assert some.sha256 != question.crops.sha256


def test_a_spread_of_more_than_there_is_takes_all(question):
    assert spread(question.crops, 100).crops == question.crops.crops
