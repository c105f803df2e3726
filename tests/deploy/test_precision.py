import math

import numpy as np
import onnx
import pytest
from float_graphs import X86, conv_weights, float_graph
from hypothesis import given
from hypothesis import strategies as st

from calib.photographs import degraded_pair
from calib.statistics import Statistics
from calib.stream import stream_statistics
from calib.thresholds import ranges
from deploy.commands.stages import model_spec
from deploy.export import export
from deploy.fidelity import Probe, psnr_between_db, tiles
from deploy.float_layers import MOST_CONVOLUTIONS
from deploy.inference import open_run
from deploy.kernel_costs import X86 as X86_KERNELS
from deploy.kernel_costs import GraphCost
from deploy.placement import TARGETS, place
from deploy.precision import (
    MOST_LAYERS,
    Layer,
    cheapest_mix,
    layers_of,
    most_judgements,
    sensitivity,
    unmet,
)
from deploy.prepare import prepare
from deploy.qdq import write_qdq
from deploy.quantize import float_model
from deploy.recipe import Recipe

SIDE_PX = 64


class Network:
    """Layers that each add noise of their own while they are integer; as PSNR of the sum.

    The model of a recipe is its float nodes: what is judged is what the search put in float.
    """

    def __init__(self, noise, costs, in_accurate=(), floor=0.0):
        self.noise = {f"n{place}": one for place, one in enumerate(noise)}
        self.layers = [Layer(f"n{place}", (f"n{place}",), "Conv") for place in range(len(costs))]
        self.costs = {f"n{place}": cost for place, cost in enumerate(costs)}
        self.in_accurate = {f"n{place}" for place in in_accurate}  # float by the preset
        self.floor = floor
        self.judged = []

    def of_preset(self, preset):
        there = self.in_accurate if preset == "accurate" else ()
        return [layer for layer in self.layers if layer.name not in there]

    def build(self, recipe):
        there = self.in_accurate if recipe.preset == "accurate" else set()
        return there | set(recipe.float_nodes)

    def judge(self, in_float):
        self.judged.append(in_float)
        power = self.floor + sum(one for name, one in self.noise.items() if name not in in_float)
        return math.inf if power == 0 else -10 * math.log10(power)

    def cost(self, recipe):
        return sum(self.costs[name] for name in self.build(recipe))

    def mix(self, bound_db, recipe=Recipe()):
        return cheapest_mix(
            recipe, bound_db, self.of_preset, self.build, self.judge, cost=self.cost
        )


@st.composite
def networks(draw):
    count = draw(st.integers(1, 12))
    noise = draw(st.lists(st.floats(1e-7, 1e-3), min_size=count, max_size=count))
    costs = draw(st.lists(st.floats(1, 1e3), min_size=count, max_size=count))
    in_accurate = draw(st.sets(st.integers(0, count - 1)))
    return Network(noise, costs, in_accurate, draw(st.sampled_from([0.0, 1e-6])))


BOUNDS_DB = st.floats(20, 80)


@given(networks(), BOUNDS_DB)
def test_a_bound_is_met_where_all_in_float_meets_it(network, bound_db):
    everything = network.judge(set(network.noise))
    mix = network.mix(bound_db)
    assert mix.met == (everything >= bound_db)
    assert mix.db == network.judge(network.build(mix.recipe))
    assert mix.met == (mix.db >= bound_db)


@given(networks(), BOUNDS_DB)
def test_a_mix_is_never_judged_worse_than_the_recipe_as_it_was_where_that_misses(network, bound_db):
    before = network.judge(set())
    assert network.mix(bound_db).db >= min(before, bound_db)


@given(networks(), BOUNDS_DB)
def test_no_graph_judged_that_meets_the_bound_is_cheaper(network, bound_db):
    mix = network.mix(bound_db)
    tried = mix.trials[mix.trials["db"] >= bound_db]
    if mix.met:
        assert network.cost(mix.recipe) == pytest.approx(tried["cost"].min())
        assert network.cost(mix.recipe) <= sum(network.costs.values()) * (1 + 1e-9)


@given(networks(), BOUNDS_DB)
def test_judgements_are_bounded_and_none_is_made_twice(network, bound_db):
    told = []
    mix = cheapest_mix(
        Recipe(),
        bound_db,
        network.of_preset,
        network.build,
        network.judge,
        cost=network.cost,
        on_trial=lambda done, most: told.append((done, most)),
    )
    counts = (len(network.of_preset(preset)) for preset in ("fast", "accurate"))
    most = most_judgements(*counts)
    assert told == [(done, most) for done in range(1, len(network.judged) + 1)]
    assert len(mix.trials) == len(network.judged) <= most


def test_a_recipe_that_meets_the_bound_is_judged_once_and_kept():
    network = Network([1e-5, 1e-4], [1, 1])
    mix = network.mix(30)
    assert (mix.recipe, len(network.judged), mix.layers.empty) == (Recipe(), 1, True)


def test_the_layer_that_gains_most_for_its_cost_goes_first():
    mix = Network([1e-4, 1e-4, 1e-6], [100, 1, 1]).mix(39)
    assert mix.recipe.float_nodes == ("n1",)


def test_the_accurate_preset_is_taken_where_it_is_cheaper_than_layers_of_fast():
    network = Network([1e-4, 1e-4, 2e-5], [1, 1, 0.1], in_accurate=(0, 1))
    assert network.mix(46).recipe == Recipe("accurate")


def test_layers_go_to_float_beyond_the_accurate_preset():
    network = Network([1e-4, 1e-4, 1e-4], [1, 1, 1], in_accurate=(0,))
    mix = network.mix(math.inf, Recipe("accurate"))
    assert (mix.recipe, mix.db) == (Recipe("accurate", float_nodes=("n1", "n2")), math.inf)


def test_nodes_that_the_recipe_keeps_in_float_stay_there():
    network = Network([1e-4, 1e-4, 1e-4], [1, 1, 1])
    network.of_preset = lambda preset: network.layers[1:]
    assert "n0" in network.mix(39, Recipe(float_nodes=("n0",))).recipe.float_nodes


def test_of_a_layer_only_the_nodes_that_matter_stay_in_float():
    network = Network([1e-4, 1e-8, 1e-8, 1e-5], [1, 5, 3, 2])
    first = Layer("n0 to n2", ("n0", "n1", "n2"), "3 Conv")
    network.of_preset = lambda preset: [first, network.layers[3]]
    mix = network.mix(45)
    assert mix.recipe.float_nodes == ("n0",)
    assert mix.trials["cost"].iloc[-1] == 1.0


def test_float_that_is_faster_goes_with_the_layer_that_makes_it_so():
    network = Network([1e-4, 1e-4, 1e-9], [10, 10, 10])
    together = {("n0", "n2"): -50}  # that is dear alone, and free beside its neighbour
    network.cost = lambda recipe: (
        sum(network.costs[name] for name in recipe.float_nodes)
        + (together[("n0", "n2")] if {"n0", "n2"} <= set(recipe.float_nodes) else 0)
    )
    mix = network.mix(39)
    assert mix.recipe.float_nodes == ("n0", "n2")
    assert mix.trials["cost"].min() == -30


def test_what_costs_nothing_in_float_goes_before_what_gains():
    network = Network([1e-4, 1e-4, 1e-4], [5, -1, 1])
    assert network.mix(36.9).recipe.float_nodes == ("n1",)
    assert network.mix(39).recipe.float_nodes == ("n1", "n2")


def test_a_recipe_that_meets_the_bound_is_kept_where_float_would_be_faster():
    assert Network([1e-5], [-1]).mix(30).recipe == Recipe()


def test_many_layers_are_judged_in_groups_and_mixed_one_by_one():
    count = 3 * MOST_LAYERS
    network = Network([1e-8] * (count - 1) + [1e-2], [1] * count)
    mix = network.mix(40)
    assert mix.met
    assert f"n{count - 1}" in mix.recipe.float_nodes
    assert len(mix.layers) == MOST_LAYERS
    assert len(network.judged) <= most_judgements(count)


def test_a_judge_without_a_number_meets_nothing():
    network = Network([1.0], [1])
    network.judge = lambda _: math.nan
    assert not network.mix(30).met


def test_a_bound_that_cannot_be_met_is_refused_with_the_best_reached():
    mix = Network([1e-4, 1e-4], [1, 1], floor=1e-5).mix(60)
    line = str(unmet(mix, 60, "tiny int8-x86"))
    assert "tiny int8-x86: no mix of integers and float reaches 60.00 dB" in line
    assert "reaches 50.00 dB, preset fast with 2 nodes kept in float" in line
    assert "\n" not in line


def test_sensitivity_has_a_row_a_layer_the_most_for_its_cost_first():
    network = Network([1e-5, 1e-4, 1e-4], [1, 10, 1])
    told = []
    table = sensitivity(
        Recipe(),
        network.layers,
        network.build,
        network.judge,
        cost=network.cost,
        on_layer=lambda *done: told.append(done),
    )
    assert list(table["layer"]) == ["n2", "n1", "n0"]
    assert table["gain_db"][0] == pytest.approx(10 * math.log10(2.1e-4 / 1.1e-4))
    assert told[-1] == (3, 3)


def layers(body, **arrays):
    model = float_graph(body, **arrays)
    return layers_of(model, place(model, X86))


def test_sums_that_hand_on_one_value_are_one_layer_and_each_branch_is_another():
    body = """s = Conv(x, w0)  a = Conv(s, w1)  t = Add(s, a)  b = Conv(t, w2)  g = Mul(b, b)
              c = Conv(g, w3)  u = Add(t, c)  y = Conv(u, w4)"""
    found = layers(body, **conv_weights("w0", "w1", "w2", "w3", "w4"))
    assert [(one.name, one.op) for one in found] == [
        ("t to u", "2 Add"),
        ("y", "Conv"),
        ("s to a", "2 Conv"),
        ("b to c", "2 Conv, Mul"),
    ]


def test_a_chain_of_convolutions_is_cut():
    count = MOST_CONVOLUTIONS + 2
    body = "a0 = Conv(x, w) "
    body += " ".join(f"a{place} = Conv(a{place - 1}, w)" for place in range(1, count))
    found = layers(body + f" y = Conv(a{count - 1}, w)", **conv_weights("w"))
    assert [len(one.nodes) for one in found] == [1, MOST_CONVOLUTIONS, 2]


def test_what_is_in_float_already_is_no_layer():
    model = float_graph("a = Conv(x, w) y = Conv(a, v)", **conv_weights("w", "v"))
    found = layers_of(model, place(model, X86, float_nodes=["y"]))
    assert [one.nodes for one in found] == [("a",)]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Give the trained demo network as float graph, and a way to judge its recipes."""
    folder = tmp_path_factory.mktemp("demo")
    size = (SIDE_PX, SIDE_PX)
    spec = model_spec("nafnet-tiny", None, (1, 3, *size))
    crops = tiles(degraded_pair("chelsea", 0)[0], size)[40:44]
    fp32, _ = prepare(export(spec, folder, Probe("c", crops))[0], folder, Probe("c", crops))
    images = tiles(degraded_pair("astronaut", 0)[0], size)[::16]
    return Demo(onnx.load(fp32.path), stream_statistics(fp32.path, images), crops)


class Demo:
    def __init__(self, graph: onnx.ModelProto, statistics: Statistics, crops: list[np.ndarray]):
        self.target = TARGETS["x86"]
        self.model = float_model(graph)
        self.ranges = ranges(statistics, "mse")
        self.crops = crops
        self.truth = self.outputs(graph)

    def outputs(self, graph):
        run = open_run(graph.SerializeToString(), config=self.target.config)
        return [run(crop) for crop in self.crops]

    def place(self, recipe):
        return place(self.model, self.target, preset=recipe.preset, float_nodes=recipe.float_nodes)

    def build(self, recipe):
        return write_qdq(self.model, self.place(recipe), self.ranges, self.target)

    def cost(self, recipe):
        return GraphCost(self.model, self.place(recipe), X86_KERNELS).of(())

    def judge(self, graph):
        return psnr_between_db(self.truth, self.outputs(graph))


@pytest.mark.slow
def test_the_stream_of_full_resolution_gains_the_most_on_the_demo_network(demo):
    found = layers_of(demo.model, demo.place(Recipe()))
    table = sensitivity(Recipe(), found[:5], demo.build, demo.judge, cost=demo.cost)
    table = table.set_index("layer")
    streams = [one for one in found if one.op.endswith("Add")]
    assert table["gain_db"].idxmax() == streams[0].name
    assert table["gain_db"][streams[0].name] > 0.5
    assert table["gain_db"][found[len(streams)].name] > 0  # the last convolution


@pytest.mark.slow
def test_all_layers_in_float_give_the_float_graph_of_the_demo_network(demo):
    names = [name for one in layers_of(demo.model, demo.place(Recipe())) for name in one.nodes]
    assert demo.judge(demo.build(Recipe(float_nodes=tuple(names)))) > 100
