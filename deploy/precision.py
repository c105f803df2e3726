"""Which layers cost the most quality as integers, and the cheapest mix that keeps a bound."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from deploy.errors import FidelityError
from deploy.float_layers import Layer, joined, layers_of
from deploy.float_rows import MOST_RETURNED, Build, Cost, Judge, Mix, Row, Search, with_float
from deploy.recipe import Recipe

__all__ = [
    "Build",
    "Cost",
    "Judge",
    "Layer",
    "Mix",
    "cheapest_mix",
    "layers_of",
    "most_judgements",
    "sensitivity",
    "unmet",
]

MOST_LAYERS = 64  # judged one by one; of more, neighbours are judged together

COLUMNS = ("layer", "op", "cost", "db", "gain_db", "gain_per_cost")


def sensitivity(
    recipe: Recipe,
    layers: Sequence[Layer],
    build: Build,
    judge: Judge,
    *,
    cost: Cost,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Judge the graph with each layer alone in float.

    Takes one judgement a layer, and one of the recipe as it is.

    Args:
        layers: as `layers_of` gives them for this recipe.
        on_layer: told how many layers are judged, and of how many.

    Returns:
        COLUMNS, the greatest gain per cost first: `cost` and `gain_db` are those of this layer in
        float above the recipe as it is, `db` what the graph is judged then. Both can be below
        zero: float kernels can be the faster ones, and rounding errors can cancel out.
        `gain_per_cost` is infinite for a gain that costs nothing.
    """
    return _gains(
        layers,
        lambda some: judge(build(with_float(recipe, some))),
        lambda some: cost(with_float(recipe, some)),
        on_layer,
    )


def _gains(
    layers: Sequence[Layer],
    db_with: Callable[[Sequence[Layer]], float],
    cost_with: Callable[[Sequence[Layer]], float],
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    base_db, base_cost = db_with([]), cost_with([])
    rows = []
    on_layer(0, len(layers))
    for done, layer in enumerate(layers, start=1):
        db, cost = db_with([layer]), cost_with([layer]) - base_cost
        gain_db = db - base_db
        rows.append((layer.name, layer.op, cost, db, gain_db, _gain_per_cost(gain_db, cost)))
        on_layer(done, len(layers))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    by = ["gain_per_cost", "gain_db"]
    return table.sort_values(by, ascending=False, kind="stable", ignore_index=True)


def _gain_per_cost(gain_db: float, cost: float) -> float:
    if cost > 0:
        return gain_db / cost
    return math.inf if gain_db > 0 else 0.0


def cheapest_mix(
    recipe: Recipe,
    bound_db: float,
    layers_of_preset: Callable[[str], Sequence[Layer]],
    build: Build,
    judge: Judge,
    *,
    cost: Cost,
    on_trial: Callable[[int, int], None] = lambda done, most: None,
) -> Mix:
    """Find the cheapest graph that meets a bound, with as little in float as that takes.

    Of a preset, the layers go to float one behind the other: at each step one that costs nothing
    beside those that are in float already, else the one of the greatest gain per cost. More float
    is nearly always better, so bisection finds the shortest such row that meets the bound. A longer
    one may be cheaper, where its float kernels are the faster ones: then that is judged too. What
    is returned was judged to meet the bound itself. So it is with the recipe's preset, then, where
    that is `fast`, with `accurate`, if that can be cheaper than what was found. Of the cheapest,
    each part goes back to integers if that is cheaper and the bound is met without it, the dearest
    first: of a layer of several operators often one was what mattered.

    Takes at most as many judgements as `most_judgements` says.

    Args:
        bound_db: the least that the judge has to give.
        layers_of_preset: the layers of a preset, as `layers_of`, without those that the recipe
            keeps in float.
        cost: of recipes that differ from this one in their preset and float nodes.
        on_trial: told how many judgements are made, and how many there are at most.
    """
    presets = {name: list(layers_of_preset(name)) for name in (recipe.preset, "accurate")}
    most = most_judgements(*map(len, presets.values()))
    base_cost = cost(recipe)
    search = Search(
        bound_db, build, judge, lambda one: cost(one) - base_cost, lambda done: on_trial(done, most)
    )
    tables = [pd.DataFrame(columns=[*COLUMNS, "preset"])]
    for preset, layers in presets.items():
        row = Row(search, replace(recipe, preset=preset))
        the_same = preset != recipe.preset and layers == presets[recipe.preset]
        if the_same or row.cost_with([]) >= search.least_cost or row.meets([]):
            break
        groups = {joined(group).name: group for group in _groups(layers)}
        table = _gains([joined(group) for group in groups.values()], row.db_with, row.cost_with)
        tables.append(table.assign(preset=preset))
        gains_db = {
            layer: gain_db / len(groups[name])
            for name, gain_db in zip(table["layer"], table["gain_db"], strict=True)
            for layer in groups[name]
        }
        row.shorten(row.order(gains_db))
    search.return_parts(presets, set(recipe.float_nodes))
    return search.mix(pd.concat(tables[1:] or tables, ignore_index=True))


def most_judgements(*layers: int) -> int:
    """Give how many graphs `cheapest_mix` judges at most, by how many layers each preset has.

    Of n layers: the preset as it is, each layer or group of layers alone, the longest row,
    ceil(log2(n)) to find the shortest, and a cheaper one. Then the parts that may go back.
    """
    rows = [3 + min(count, MOST_LAYERS) + math.ceil(math.log2(max(count, 1))) for count in layers]
    return sum(rows) + MOST_RETURNED


def unmet(mix: Mix, bound_db: float, what: str) -> FidelityError:
    """Give the error that says what is missing.

    Args:
        mix: of `cheapest_mix`, where it did not meet the bound.
        what: what was judged, such as `nafnet-tiny int8-x86, PSNR against fp32`.
    """
    count = len(mix.recipe.float_nodes)
    nodes = "no node" if count == 0 else "1 node" if count == 1 else f"{count} nodes"
    return FidelityError(
        f"{what}: no mix of integers and float reaches {bound_db:.2f} dB; the best of "
        f"{len(mix.trials)} tried reaches {mix.db:.2f} dB, preset {mix.recipe.preset} with "
        f"{nodes} kept in float",
        "ask for no more than that, or use the fp32 model; nothing was written",
    )


def _groups(layers: Sequence[Layer]) -> list[Sequence[Layer]]:
    """Put neighbours together until there are no more than MOST_LAYERS groups."""
    size = max(1, math.ceil(len(layers) / MOST_LAYERS))
    return [layers[start : start + size] for start in range(0, len(layers), size)]
