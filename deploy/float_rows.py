"""Rows of layers that go to float one behind the other, and every graph judged on the way."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx
import pandas as pd

from deploy.float_layers import Layer
from deploy.recipe import Recipe

Build = Callable[[Recipe], onnx.ModelProto]  # the integer graph of a recipe
Judge = Callable[[onnx.ModelProto], float]  # dB, higher is better
Cost = Callable[[Recipe], float]  # of running its graph, such as `deploy.kernel_costs` estimates

MOST_RETURNED = 16  # parts of what went to float that are tried as integers again
TRIAL_COLUMNS = ("float_nodes", "preset", "cost", "db")


@dataclass(frozen=True)
class Mix:
    """What a search for a mix of integers and float came to.

    Attributes:
        recipe: the cheapest found that meets the bound; where none does, the best one.
        db: what it was judged.
        trials: TRIAL_COLUMNS, a row for each graph judged, in order, those of the analysis too:
            how many nodes its recipe names to stay in float, and what it costs above the recipe
            given: below zero where float kernels are the faster ones.
        met: whether the bound is met.
        layers: `sensitivity` of each preset that was analysed, with its name as `preset`; empty
            where the recipe met the bound as it was.
    """

    recipe: Recipe
    db: float
    trials: pd.DataFrame
    met: bool
    layers: pd.DataFrame


def with_float(recipe: Recipe, layers: Iterable[Layer]) -> Recipe:
    """Give a recipe that keeps these layers in float too."""
    more = (name for layer in layers for name in layer.nodes)
    return replace(recipe, float_nodes=(*recipe.float_nodes, *more))


class Search:
    """Every graph judged so far, and the cheapest that meets the bound."""

    def __init__(
        self,
        bound_db: float,
        build: Build,
        judge: Judge,
        cost: Cost,
        on_judged: Callable[[int], None],
    ) -> None:
        self._bound_db = bound_db
        self._build = build
        self._judge = judge
        self.cost = cost
        self._on_judged = on_judged
        self._db: dict[Recipe, float] = {}

    @property
    def least_cost(self) -> float:
        """What the cheapest costs that meets the bound; infinite before there is one."""
        return min(map(self.cost, self._met()), default=math.inf)

    def db(self, recipe: Recipe) -> float:
        """Judge the graph of a recipe, unless it was judged already."""
        if recipe not in self._db:
            self._db[recipe] = self._judge(self._build(recipe))
            self._on_judged(len(self._db))
        return self._db[recipe]

    def meets(self, recipe: Recipe) -> bool:
        """Say whether the graph of a recipe meets the bound."""
        return self.db(recipe) >= self._bound_db

    def return_parts(self, presets: Mapping[str, Sequence[Layer]], asked_for: set[str]) -> None:
        """Judge the cheapest that meets the bound with parts of its float layers in integers.

        Args:
            asked_for: nodes that stay in float whatever comes of it.
        """
        met = self._met()
        if not met:
            return
        best = min(met, key=self.cost)
        in_float = set(best.float_nodes) - asked_for
        parts = [
            part
            for layer in presets[best.preset]
            if in_float.issuperset(layer.nodes)
            for part in layer.parts()
        ]
        for _ in range(MOST_RETURNED):
            fewer = [(_without(best, part), part) for part in parts]
            cheaper = [one for one in fewer if self.cost(one[0]) < self.cost(best)]
            if not cheaper:
                return
            recipe, part = min(cheaper, key=lambda one: self.cost(one[0]))
            parts.remove(part)
            if self.meets(recipe):
                best = recipe

    def _met(self) -> list[Recipe]:
        return [recipe for recipe, db in self._db.items() if db >= self._bound_db]

    def mix(self, layers: pd.DataFrame) -> Mix:
        """Give the cheapest that meets the bound, or the best; `layers` as in `Mix`."""
        met = self._met()
        if met:
            best = min(met, key=lambda recipe: (self.cost(recipe), -self._db[recipe]))
        else:
            best = max(
                self._db, key=lambda recipe: (_or_least(self._db[recipe]), -self.cost(recipe))
            )
        rows = [
            (len(recipe.float_nodes), recipe.preset, self.cost(recipe), db)
            for recipe, db in self._db.items()
        ]
        trials = pd.DataFrame(rows, columns=list(TRIAL_COLUMNS))
        return Mix(best, self._db[best], trials, bool(met), layers)


def _without(recipe: Recipe, part: Layer) -> Recipe:
    return replace(recipe, float_nodes=tuple(set(recipe.float_nodes) - set(part.nodes)))


def _or_least(db: float) -> float:
    return -math.inf if math.isnan(db) else db


def _worth(gain_db: float, cost: float) -> tuple[bool, float]:
    """Give what layers are ordered by: first what costs nothing, whatever it gained alone."""
    free, gain_db = cost <= 0, _or_least(gain_db)
    return free, gain_db if free else gain_db / cost


class Row:
    """Layers of one preset that go to float one behind the other."""

    def __init__(self, search: Search, start: Recipe) -> None:
        self._search = search
        self._start = start

    def db_with(self, layers: Sequence[Layer]) -> float:
        """Judge the preset with these layers in float."""
        return self._search.db(with_float(self._start, layers))

    def cost_with(self, layers: Sequence[Layer]) -> float:
        """Give the cost of the preset with these layers in float."""
        return self._search.cost(with_float(self._start, layers))

    def meets(self, layers: Sequence[Layer]) -> bool:
        """Say whether the preset with these layers in float meets the bound."""
        return self._search.meets(with_float(self._start, layers))

    def order(self, gains_db: Mapping[Layer, float]) -> list[Layer]:
        """Give the layers in the order in which they go to float."""
        row: list[Layer] = []
        left = list(gains_db)
        cost = self.cost_with(row)
        while left:
            dearer = {layer: self.cost_with([*row, layer]) - cost for layer in left}
            best = max(left, key=lambda layer: _worth(gains_db[layer], dearer[layer]))
            cost += dearer[best]
            row.append(best)
            left.remove(best)
        return row

    def shorten(self, layers: Sequence[Layer]) -> None:
        """Judge rows to find the shortest that meets the bound, cheaper than what does so far.

        Of the longer ones, the cheapest is judged too.
        """
        rows = [layers[:length] for length in range(1, len(layers) + 1)]
        rows = [row for row in rows if self.cost_with(row) < self._search.least_cost]
        if rows and self.meets(rows[-1]):
            shortest = bisect_left(rows, True, key=self.meets)
            self.meets(min(rows[shortest:], key=self.cost_with))
