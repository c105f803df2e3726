import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from reports.stats import Change, holm, launches_needed, paired_change, unpaired_change

latency_ms = st.floats(0.01, 1e4)
pairs_ms = st.lists(st.tuples(latency_ms, latency_ms), min_size=3, max_size=12)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=20)
COMPARE = [paired_change, unpaired_change]
TRIALS = 4000


def ends(change: Change) -> np.ndarray:
    return np.array([change.log_ratio, change.low, change.high])


@pytest.mark.parametrize("compare", COMPARE)
@given(pairs=pairs_ms)
def test_a_change_turned_round_is_its_opposite(compare, pairs):
    old, new = np.array(pairs).T
    forth, back = compare(old, new), compare(new, old)
    opposite = -ends(back)[[0, 2, 1]]
    assert ends(forth) == pytest.approx(opposite, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("compare", COMPARE)
@given(pairs=pairs_ms, factor=st.sampled_from([1e-6, 1e-3, 1e3, 1e6]))
def test_a_change_does_not_depend_on_the_unit(compare, pairs, factor):
    old, new = np.array(pairs).T
    scaled = compare(factor * old, factor * new)
    assert ends(scaled) == pytest.approx(ends(compare(old, new)), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("compare", COMPARE)
@given(pairs=pairs_ms)
def test_a_change_lies_between_its_bounds(compare, pairs):
    old, new = np.array(pairs).T
    change = compare(old, new)
    assert change.low <= change.log_ratio <= change.high


@pytest.mark.parametrize("compare", COMPARE)
def test_many_comparisons_at_once_are_the_single_ones(compare):
    old, new = np.random.default_rng(1).lognormal(0, 0.02, (2, 5, 3, 8))
    together = compare(old, new)
    alone = compare(old[4, 2], new[4, 2])
    assert ends(together)[:, 4, 2] == pytest.approx(ends(alone))
    assert together.p_up[4, 2] == pytest.approx(alone.p_up)


@pytest.mark.parametrize("compare", COMPARE)
def test_the_lower_bound_holds_in_nineteen_of_twenty(compare):
    old, new = np.random.default_rng(0).lognormal(0, 0.02, (2, TRIALS, 8))
    held = np.mean(compare(old, 1.1 * new).low <= np.log(1.1))
    assert held == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / TRIALS))


@pytest.mark.parametrize("compare", COMPARE)
def test_equal_values_are_no_change(compare):
    change = compare([5.0] * 4, [5.0] * 4)
    assert ends(change).tolist() == [0, 0, 0]
    assert (change.p_up, change.p_down) == (1, 1)


@pytest.mark.parametrize("compare", COMPARE)
def test_a_change_without_any_noise_is_certain(compare):
    change = compare([64.0] * 4, [128.0] * 4)
    assert ends(change) == pytest.approx(np.log(2))
    assert change.p_up == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("compare", COMPARE)
@pytest.mark.parametrize("few", [1, 2])
def test_below_three_launches_nothing_is_ruled_out(compare, few):
    change = compare([1.0] * few, [2.0] * few)
    assert change.log_ratio == pytest.approx(np.log(2))
    assert (change.low, change.high, change.p_up) == (-np.inf, np.inf, 1)


def test_sides_of_other_lengths_are_compared():
    change = unpaired_change(np.geomspace(10, 11, 5), np.geomspace(20, 22, 9))
    assert change.log_ratio == pytest.approx(np.log(2))
    assert change.n == 5


def test_drift_cancels_within_pairs_and_not_between_sessions():
    drift = np.geomspace(1, 1.5, 8)
    assert paired_change(drift, 1.1 * drift).spread == pytest.approx(0, abs=1e-12)
    assert unpaired_change(drift, 1.1 * drift).spread > 0.1


@given(p_values)
def test_holm_lowers_no_p_value_and_raises_none_beyond_bonferroni(p):
    adjusted = holm(p)
    assert (adjusted >= np.array(p)).all()
    assert (adjusted <= np.minimum(len(p) * np.array(p), 1) + 1e-12).all()


@given(p_values)
def test_holm_keeps_the_order(p):
    order = np.argsort(p, kind="stable")
    assert (np.diff(holm(p)[order]) >= 0).all()


def test_holm_of_an_example_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_holm_adjusts_each_family_alone():
    both = holm([[0.01, 0.5], [0.04, 0.03]])
    assert both == pytest.approx(np.array([[0.02, 0.5], [0.06, 0.06]]))


def test_one_gate_of_a_hundred_finds_something_in_twelve_equal_cases():
    old, new = np.random.default_rng(0).lognormal(0, 0.02, (2, TRIALS, 12, 8))
    found = np.mean((holm(paired_change(old, new).p_up) <= 0.01).any(axis=-1))
    assert found <= 0.01 - ndtri(0.001) * np.sqrt(0.01 * 0.99 / TRIALS)


@settings(max_examples=20, deadline=None)
@given(st.floats(0.005, 0.1), st.floats(0.01, 0.1))
def test_more_noise_takes_more_launches(spread, margin):
    quiet, loud = launches_needed(spread, margin), launches_needed(2 * spread, margin)
    assert loud is None or quiet <= loud


def test_so_many_launches_do_suffice_four_times_in_five():
    needed = launches_needed(0.03, 0.02)
    rng = np.random.default_rng(0)
    new = np.exp(rng.normal(0.02, 0.03, (TRIALS, needed)))
    decided = np.mean(paired_change(np.ones_like(new), new).low > 0)
    assert decided == pytest.approx(0.8, abs=0.05)


@pytest.mark.parametrize("margin", [0.0, -0.01, 1e-9])
def test_what_lies_on_the_bound_is_never_decided(margin):
    assert launches_needed(0.03, margin) is None


def test_without_noise_the_fewest_launches_do():
    assert launches_needed(0.0, 0.01) == 3
