"""Which layers cost the most quality as integers, and the cheapest mix that keeps a bound."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import pandas as pd

from deploy.errors import FidelityError
from deploy.float_layers import Layer, joined, layers_of
from deploy.recipe import Recipe

__all__ = [
    "Build",
    "Judge",
    "Layer",
    "Mix",
    "cheapest_mix",
    "layers_of",
    "most_judgements",
    "sensitivity",
    "unmet",
]

Build = Callable[[Recipe], onnx.ModelProto]  # the integer graph of a recipe
Judge = Callable[[onnx.ModelProto], float]  # dB, higher is better

MOST_LAYERS = 64  # judged one by one; of more, neighbours are judged together
MOST_RETURNED = 16  # parts of what went to float that are tried as integers again

COLUMNS = ("layer", "op", "cost", "db", "gain_db", "gain_per_cost")
TRIAL_COLUMNS = ("float_nodes", "preset", "cost", "db")


def sensitivity(
    recipe: Recipe,
    layers: Sequence[Layer],
    build: Build,
    judge: Judge,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    """Judge the graph with each layer alone in float.

    Takes one judgement a layer, and one of the recipe as it is.

    Args:
        layers: as `layers_of` gives them for this recipe.
        on_layer: told how many layers are judged, and of how many.

    Returns:
        COLUMNS, the greatest gain per cost first: `db` is that of the graph with this layer in
        float, `gain_db` what is above the recipe as it is (below zero where rounding errors had
        cancelled out), `gain_per_cost` in dB a multiply-add of `Layer.cost`.
    """
    return _gains(layers, lambda some: judge(build(_with(recipe, some))), on_layer)


def _gains(
    layers: Sequence[Layer],
    db_with: Callable[[Sequence[Layer]], float],
    on_layer: Callable[[int, int], None] = lambda done, total: None,
) -> pd.DataFrame:
    base_db = db_with([])
    rows = []
    on_layer(0, len(layers))
    for done, layer in enumerate(layers, start=1):
        db = db_with([layer])
        gain_db = db - base_db
        rows.append((layer.name, layer.op, layer.cost, db, gain_db, gain_db / layer.cost))
        on_layer(done, len(layers))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values("gain_per_cost", ascending=False, kind="stable", ignore_index=True)


def _with(recipe: Recipe, layers: Iterable[Layer]) -> Recipe:
    more = (name for layer in layers for name in layer.nodes)
    return replace(recipe, float_nodes=(*recipe.float_nodes, *more))


@dataclass(frozen=True)
class Mix:
    """What a search for a mix of integers and float came to.

    Attributes:
        recipe: the cheapest found that meets the bound; where none does, the best one.
        db: what it was judged.
        trials: TRIAL_COLUMNS, a row for each graph judged, in order, those of the analysis too:
            how many nodes its recipe names to stay in float, and what it costs in `Layer.cost`
            above the recipe given.
        met: whether the bound is met.
        layers: `sensitivity` of each preset that was analysed, with its name as `preset`; empty
            where the recipe met the bound as it was.
    """

    recipe: Recipe
    db: float
    trials: pd.DataFrame
    met: bool
    layers: pd.DataFrame


def cheapest_mix(
    recipe: Recipe,
    bound_db: float,
    layers_of_preset: Callable[[str], Sequence[Layer]],
    build: Build,
    judge: Judge,
    *,
    on_trial: Callable[[int, int], None] = lambda done, most: None,
) -> Mix:
    """Put as little in float as meets a bound.

    Of a preset, the layers go to float in the order of their gain per cost, as many as it takes:
    the shortest such row is found by bisection, since more float is nearly always better, and
    what is returned was judged to meet the bound itself. So it is with the recipe's preset, then,
    where that is `fast`, with `accurate`, if that can be cheaper than what was found. Of the
    cheapest, each part goes back to integers if the bound is met without it, the dearest first:
    of a layer of several operators often one was what mattered.

    Takes at most as many judgements as `most_judgements` says.

    Args:
        bound_db: the least that the judge has to give.
        layers_of_preset: the layers of a preset, as `layers_of`, without those that the recipe
            keeps in float.
        on_trial: told how many judgements are made, and how many there are at most.
    """
    presets = {name: list(layers_of_preset(name)) for name in (recipe.preset, "accurate")}
    most = most_judgements(*map(len, presets.values()))
    search = _Search(bound_db, build, judge, lambda done: on_trial(done, most))
    tables = [pd.DataFrame(columns=[*COLUMNS, "preset"])]
    for preset, layers in presets.items():
        row = _Row(search, replace(recipe, preset=preset), _dearer(layers, presets[recipe.preset]))
        the_same = preset != recipe.preset and row.cost == 0  # in a graph without residuals
        if the_same or row.cost >= search.cost or row.meets([]):
            break
        groups = {joined(group).name: group for group in _groups(layers)}
        table = _gains([joined(group) for group in groups.values()], row.db_with)
        tables.append(table.assign(preset=preset))
        row.shorten([layer for name in table["layer"] for layer in groups[name]])
    search.return_parts(presets, set(recipe.float_nodes))
    return search.mix(pd.concat(tables[1:] or tables, ignore_index=True))


def most_judgements(*layers: int) -> int:
    """Give how many graphs `cheapest_mix` judges at most, by how many layers each preset has.

    Of n layers: the preset as it is, each layer or group of layers alone, all of them, and
    ceil(log2(n)) to find the shortest row. Then the parts that may go back.
    """
    rows = [2 + min(count, MOST_LAYERS) + math.ceil(math.log2(max(count, 1))) for count in layers]
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


def _dearer(layers: Sequence[Layer], of_recipe: Sequence[Layer]) -> float:
    """Give what a preset with these layers costs above the recipe's: what it has in float."""
    integer = {name for layer in layers for name in layer.nodes}
    return sum(layer.cost for layer in of_recipe if not integer & set(layer.nodes))


def _groups(layers: Sequence[Layer]) -> list[Sequence[Layer]]:
    """Put neighbours together until there are no more than MOST_LAYERS groups."""
    size = max(1, math.ceil(len(layers) / MOST_LAYERS))
    return [layers[start : start + size] for start in range(0, len(layers), size)]


class _Search:
    """Every graph judged so far, and the cheapest that meets the bound."""

    def __init__(
        self, bound_db: float, build: Build, judge: Judge, on_judged: Callable[[int], None]
    ) -> None:
        self._bound_db = bound_db
        self._build = build
        self._judge = judge
        self._on_judged = on_judged
        self._db: dict[Recipe, float] = {}
        self._cost: dict[Recipe, float] = {}

    @property
    def cost(self) -> float:
        """What the cheapest costs that meets the bound; infinite before there is one."""
        return min((self._cost[recipe] for recipe in self._met()), default=math.inf)

    def db(self, recipe: Recipe, cost: float) -> float:
        if recipe not in self._db:
            self._db[recipe] = self._judge(self._build(recipe))
            self._cost[recipe] = cost
            self._on_judged(len(self._db))
        return self._db[recipe]

    def meets(self, recipe: Recipe, cost: float) -> bool:
        return self.db(recipe, cost) >= self._bound_db

    def return_parts(self, presets: Mapping[str, Sequence[Layer]], asked_for: set[str]) -> None:
        """Judge the cheapest that meets the bound with parts of its float layers in integers.

        Args:
            asked_for: nodes that stay in float whatever comes of it.
        """
        met = self._met()
        if not met:
            return
        best = min(met, key=lambda recipe: self._cost[recipe])
        in_float = set(best.float_nodes) - asked_for
        parts = [
            part
            for layer in presets[best.preset]
            if in_float.issuperset(layer.nodes)
            for part in layer.parts()
        ]
        parts.sort(key=lambda part: part.cost, reverse=True)
        for part in parts[:MOST_RETURNED]:
            fewer = replace(best, float_nodes=tuple(set(best.float_nodes) - set(part.nodes)))
            if self.meets(fewer, self._cost[best] - part.cost):
                best = fewer

    def _met(self) -> list[Recipe]:
        return [recipe for recipe, db in self._db.items() if db >= self._bound_db]

    def mix(self, layers: pd.DataFrame) -> Mix:
        met = self._met()
        if met:
            best = min(met, key=lambda recipe: (self._cost[recipe], -self._db[recipe]))
        else:
            best = max(
                self._db, key=lambda recipe: (_or_least(self._db[recipe]), -self._cost[recipe])
            )
        rows = [
            (len(recipe.float_nodes), recipe.preset, self._cost[recipe], db)
            for recipe, db in self._db.items()
        ]
        trials = pd.DataFrame(rows, columns=list(TRIAL_COLUMNS))
        return Mix(best, self._db[best], trials, bool(met), layers)


def _or_least(db: float) -> float:
    return -math.inf if math.isnan(db) else db


class _Row:
    """Layers of one preset that go to float one behind the other."""

    def __init__(self, search: _Search, start: Recipe, cost: float) -> None:
        self._search = search
        self._start = start
        self.cost = cost

    def db_with(self, layers: Sequence[Layer]) -> float:
        """Judge the preset with these layers in float."""
        return self._search.db(_with(self._start, layers), self._cost_with(layers))

    def meets(self, layers: Sequence[Layer]) -> bool:
        return self._search.meets(_with(self._start, layers), self._cost_with(layers))

    def shorten(self, layers: Sequence[Layer]) -> None:
        """Judge rows to find the shortest that meets the bound, cheaper than what does so far."""
        costs = np.cumsum([layer.cost for layer in layers])
        length = int(np.searchsorted(self.cost + costs, self._search.cost))
        if length and self.meets(layers[:length]):
            shorter = range(1, length)
            bisect_left(shorter, True, key=lambda count: self.meets(layers[:count]))

    def _cost_with(self, layers: Sequence[Layer]) -> float:
        return self.cost + sum(layer.cost for layer in layers)
