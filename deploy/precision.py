"""Which layers cost the most quality as integers, and the cheapest mix that keeps a bound."""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx
import pandas as pd

from deploy.errors import FidelityError
from deploy.float_layers import Layer, joined, layers_of
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

Build = Callable[[Recipe], onnx.ModelProto]  # the integer graph of a recipe
Judge = Callable[[onnx.ModelProto], float]  # dB, higher is better
Cost = Callable[[Recipe], float]  # of running its graph, such as `deploy.kernel_costs` estimates

MOST_LAYERS = 64  # judged one by one; of more, neighbours are judged together
MOST_RETURNED = 16  # parts of what went to float that are tried as integers again

COLUMNS = ("layer", "op", "cost", "db", "gain_db", "gain_per_cost")
TRIAL_COLUMNS = ("float_nodes", "preset", "cost", "db")


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
        lambda some: judge(build(_with(recipe, some))),
        lambda some: cost(_with(recipe, some)),
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
    search = _Search(
        bound_db, build, judge, lambda one: cost(one) - base_cost, lambda done: on_trial(done, most)
    )
    tables = [pd.DataFrame(columns=[*COLUMNS, "preset"])]
    for preset, layers in presets.items():
        row = _Row(search, replace(recipe, preset=preset))
        the_same = preset != recipe.preset and len(layers) == len(presets[recipe.preset])
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


class _Search:
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
        if recipe not in self._db:
            self._db[recipe] = self._judge(self._build(recipe))
            self._on_judged(len(self._db))
        return self._db[recipe]

    def meets(self, recipe: Recipe) -> bool:
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


class _Row:
    """Layers of one preset that go to float one behind the other."""

    def __init__(self, search: _Search, start: Recipe) -> None:
        self._search = search
        self._start = start

    def db_with(self, layers: Sequence[Layer]) -> float:
        """Judge the preset with these layers in float."""
        return self._search.db(_with(self._start, layers))

    def cost_with(self, layers: Sequence[Layer]) -> float:
        return self._search.cost(_with(self._start, layers))

    def meets(self, layers: Sequence[Layer]) -> bool:
        return self._search.meets(_with(self._start, layers))

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
