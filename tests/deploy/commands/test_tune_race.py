"""Which candidate a race keeps: synthetic launches, with known truth and seeded chance."""

import numpy as np
import pandas as pd
import pytest

from deploy.commands.tune_race import FIRST_LAUNCHES, RACE_LEVEL, look_sizes, race

RACES = 200
SPREAD = 0.03  # of launches on a shared machine
# of RACES at 5 %: more than this many by chance less than once in a thousand
MOST_FALSE = 21


class Machine:
    """Gives ms of candidates, with noise of launches and a drift that all of a block share."""

    def __init__(self, true_ms, seed, spread=SPREAD):
        self.true_ms, self.spread = true_ms, spread
        self.chance = np.random.default_rng(seed)
        self.looks = []

    def __call__(self, names, launches):
        self.looks.append((tuple(names), launches))
        drift = self.chance.normal(0, 0.1, (launches, 1))
        noise = self.chance.normal(0, self.spread, (launches, len(names)))
        ms = np.array([self.true_ms[name] for name in names]) * np.exp(drift + noise)
        return pd.DataFrame(ms, columns=list(names))


def names_of(count):
    return [f"c{place}" for place in range(count)]


@pytest.mark.parametrize("launches", [1, 3, 4, 6, 16, 37])
def test_the_looks_add_up_to_the_launches_and_double(launches):
    sizes = look_sizes(launches)
    assert sum(sizes) == launches
    assert sizes[0] == min(FIRST_LAUNCHES, launches)
    assert all(size <= max(FIRST_LAUNCHES, sum(sizes[:at])) for at, size in enumerate(sizes))


@pytest.mark.parametrize("slower", [1.0, 1.005, 1.02, 1.1])
def test_the_fastest_is_dropped_by_chance_no_more_often_than_stated(slower):
    names = names_of(5)
    true_ms = dict.fromkeys(names, 10.0 * slower) | {"c3": 10.0}
    dropped = 0
    for seed in range(RACES):
        ended = race(names, "c0", Machine(true_ms, seed), 16)
        dropped += "c3" in ended.out
    assert dropped <= MOST_FALSE
    assert pytest.approx(0.05) == RACE_LEVEL


def test_of_equal_candidates_the_incumbent_stays():
    names = names_of(4)
    true_ms = dict.fromkeys(names, 10.0)
    taken = [race(names, "c0", Machine(true_ms, seed), 16).winner for seed in range(RACES)]
    assert sum(winner != "c0" for winner in taken) <= MOST_FALSE


def test_a_clearly_faster_candidate_is_found_and_the_rest_is_spared_launches():
    names = names_of(4)
    machine = Machine({"c0": 10.0, "c1": 13.0, "c2": 7.0, "c3": 16.0}, 1, spread=0.01)
    ended = race(names, "c0", machine, 16)
    assert ended.winner == "c2"
    assert machine.looks == [(tuple(names), FIRST_LAUNCHES)]
    assert {out.by for out in ended.out.values()} == {"c2"}


def test_a_slower_candidate_gets_no_more_launches_than_show_it():
    machine = Machine({"c0": 10.0, "c1": 10.0, "c2": 20.0}, 2)
    ended = race(names_of(3), "c0", machine, 16)
    assert ended.out["c2"].launches == FIRST_LAUNCHES
    assert ended.measured["c2"].notna().sum() == FIRST_LAUNCHES
    assert all("c2" not in names for names, _ in machine.looks[1:])
    assert ended.measured["c0"].notna().sum() == 16


def test_what_runs_along_is_launched_to_the_end_and_never_chosen():
    machine = Machine({"c0": 10.0, "c1": 10.0, "default": 1.0}, 3)
    ended = race(["c0", "c1"], "c0", machine, 8, along=["default"])
    assert ended.winner == "c0"
    assert all("default" in names for names, _ in machine.looks)
    assert "default" not in ended.out


def test_two_launches_show_nothing():
    ended = race(["c0", "c1"], "c0", Machine({"c0": 10.0, "c1": 1.0}, 4), 2)
    assert ended.winner == "c0"
    assert ended.out == {}


def test_a_candidate_whose_launches_fail_is_out_and_says_so():
    machine = Machine({"c0": 10.0, "c1": np.nan}, 5)
    ended = race(["c0", "c1"], "c0", machine, 16)
    assert ended.out["c1"].by == ""
    assert ended.winner == "c0"
    assert machine.looks == [(("c0", "c1"), FIRST_LAUNCHES)]


def test_counts_are_decided_by_one_launch_where_they_differ_by_enough_to_say_something():
    machine = Machine({"c0": 100.0, "c1": 100.3, "c2": 98.0, "c3": 98.2}, 6)
    machine.spread = 0.0
    ended = race(names_of(4), "c0", lambda names, n: machine(names, n).round(9), 16, exact=True)
    assert [launches for _, launches in machine.looks] == [1]
    assert ended.winner == "c2"
    assert set(ended.out) == {"c0", "c1"}  # c3 is within half a percent of c2


def test_counts_that_are_hardly_less_leave_the_incumbent():
    counts = pd.DataFrame({"c0": [100.0], "c1": [99.7]})
    assert (
        race(["c0", "c1"], "c0", lambda names, n: counts[list(names)], 1, exact=True).winner == "c0"
    )
