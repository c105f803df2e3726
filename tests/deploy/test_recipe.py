import json

import pytest

from deploy.errors import UsageError
from deploy.recipe import Recipe, recipe_of_record

RECIPE = Recipe("accurate", "percentile-99.9", equalize="typical", float_nodes=("b", "a", "b"))


def test_a_record_goes_through_json_and_back():
    assert recipe_of_record(json.loads(json.dumps(RECIPE.record()))) == RECIPE


def test_the_order_of_nodes_makes_no_other_recipe():
    assert RECIPE.float_nodes == ("a", "b")


@pytest.mark.parametrize(
    "method", ["minmax", "mse", "entropy", "percentile-100", "percentile-99.99"]
)
def test_every_range_method_is_known(method):
    assert Recipe(method=method).method == method


@pytest.mark.parametrize(
    "method", ["", "kl", "percentile-P", "percentile-", "percentile-50", "percentile-101"]
)
def test_an_unknown_range_method_lists_all(method):
    with pytest.raises(UsageError, match=r"unknown range method .*: use one of minmax, perc"):
        Recipe(method=method)


def test_an_unknown_preset_lists_all():
    with pytest.raises(UsageError, match="unknown preset 'best': use one of fast, accurate"):
        Recipe("best")


def test_a_record_of_something_else_is_refused():
    with pytest.raises(UsageError, match="no recipe"):
        recipe_of_record({"bits": 4})
