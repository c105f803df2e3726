"""How often does the gate cry wolf, and how often does it see a slowdown? Simulated, both.

A launch is 50 iterations: log-latency = its own offset (sd 2 %) + AR(1) noise (sd 2 %, rho .6) +
spikes (3 % of the iterations, exponential, mean 30 %); "drift" slows the device down linearly by
5 % over the comparison. Launches come in the order in which `bench` makes them; the statistic and
the rule are those of `reports`, not a copy. The noise is assumed: gate_recorded.py has a real one.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats
from scipy.signal import lfilter

from android_bench.session import launch_order
from reports.budgets import DEFAULTS
from reports.rule import INCONCLUSIVE, REGRESSION, decide, log_budget
from reports.stats import Change, holm, paired_change, unpaired_change

ITERATIONS = 50
OFFSET_SD = ITERATION_SD = 0.02
RHO = 0.6
SPIKES, SPIKE_MEAN = 0.03, 0.3
DRIFT = 0.05
LAUNCHES = 8
CASES = 12
CHUNK = 100  # trials at a time: bounds the memory

BUDGET = DEFAULTS["latency"]


@dataclass(frozen=True)
class Noise:
    """Log-latencies without drift or effect, and when each launch happened.

    Attributes:
        interleaved: (trials, cases, 2 arms, launches).
        moments: (cases, 2 arms, launches), 0 to 1 over the session of both arms.
    """

    interleaved: np.ndarray
    moments: np.ndarray


def noise(
    rng: np.random.Generator, trials: int, cases: int, launches: int, offset_sd: float = OFFSET_SD
) -> Noise:
    """Draw the launches of so many gates."""
    shape = (cases, 2, launches)
    drawn = [launch_medians(rng, (CHUNK, *shape), offset_sd) for _ in range(trials // CHUNK)]
    return Noise(np.concatenate(drawn), moments(cases, launches))


def launch_medians(
    rng: np.random.Generator, shape: tuple[int, ...], offset_sd: float
) -> np.ndarray:
    """Give the log of each launch's median iteration."""
    white = rng.standard_normal((*shape, ITERATIONS), dtype=np.float32)
    white[..., 1:] *= np.sqrt(1 - RHO**2)
    iterations = ITERATION_SD * lfilter([1.0], [1.0, -RHO], white, axis=-1)
    spiked = rng.random(iterations.shape, dtype=np.float32) < SPIKES
    iterations[spiked] += rng.exponential(SPIKE_MEAN, int(spiked.sum()))
    return np.median(iterations, axis=-1) + rng.normal(0, offset_sd, shape)


def moments(cases: int, launches: int) -> np.ndarray:
    """Give when `bench` launches each arm of each case, as a share of the session."""
    order = launch_order(2 * cases, launches, seed=0)
    times = np.empty((2 * cases, launches))
    for place, slot in enumerate(order):
        times[slot.case, slot.block] = place / (len(order) - 1)
    return times.reshape(2, cases, launches).swapaxes(0, 1)


def sequential(cases: int, launches: int) -> np.ndarray:
    """Give when the arms are launched if each has a session of its own, one after the other."""
    alone = moments(cases, launches)[:, 0]
    return np.stack([alone / 2, 0.5 + alone / 2], axis=1)


def compared(drawn: Noise, effect: float, drift: float, *, slowed: int, paired: bool) -> Change:
    """Compare the arms, the first `slowed` cases of the second slower by `effect`."""
    cases, _, launches = drawn.moments.shape
    when = drawn.moments if paired else sequential(cases, launches)
    logs = drawn.interleaved + np.log1p(drift) * when
    logs[:, :slowed, 1] += np.log1p(effect)
    values = np.exp(logs)
    compare = paired_change if paired else unpaired_change
    return compare(values[:, :, 0], values[:, :, 1])


Rule = Callable[[Change], np.ndarray]  # -> (trials, cases) of bool: regression


def the_rule(change: Change) -> np.ndarray:
    """Say what the gate says of interleaved launches."""
    return _regressions(change, BUDGET.budget, BUDGET.rule_out)


def the_rule_over_sessions(change: Change) -> np.ndarray:
    """Say what the gate says of two sessions."""
    allowance = BUDGET.between_sessions
    return _regressions(change, BUDGET.budget + allowance, BUDGET.rule_out + allowance)


def _regressions(change: Change, budget: float, rule_out: float) -> np.ndarray:
    return decide(change, log_budget(budget), log_budget(rule_out)) == REGRESSION


def again(change: Change) -> np.ndarray:
    """Say what a second session of one suspected case says: a gate of one comparison."""
    arrays = ("log_ratio", "low", "high", "p_up", "p_down", "spread")
    alone = replace(change, **{name: getattr(change, name)[..., None] for name in arrays})
    return the_rule(alone)[..., 0]


def above_zero(change: Change) -> np.ndarray:
    """Significant, however small."""
    return change.low > 0


def interval_only(change: Change) -> np.ndarray:
    """Lower bound above the budget, no correction for many cases."""
    return change.low > log_budget(BUDGET.budget)


def holm_on_the_budget(change: Change) -> np.ndarray:
    """Holm at 5 % on the test of the budget itself."""
    with np.errstate(divide="ignore", invalid="ignore"):
        shifted = (change.log_ratio - log_budget(BUDGET.budget)) / (
            change.spread / np.sqrt(change.n)
        )
    return holm(stats.t.sf(shifted, change.n - 1)) <= 0.05


GATE = "**interleaved: the gate**"
RULES: dict[str, tuple[Rule, bool]] = {
    "interleaved: lower bound > 0": (above_zero, True),
    "interleaved: lower bound > 2 %": (interval_only, True),
    "interleaved: Holm at 5 % on > 2 %": (holm_on_the_budget, True),
    GATE: (the_rule, True),
    "two sessions: lower bound > 2 %": (interval_only, False),
    "**two sessions: the gate**": (the_rule_over_sessions, False),
}


def first_cases(drawn: Noise, cases: int) -> Noise:
    """Give the same launches as a gate of fewer cases, in that gate's own order."""
    launches = drawn.moments.shape[-1]
    return Noise(drawn.interleaved[:, :cases], moments(cases, launches))


def rates(rule: Rule, drawn: Noise, *, paired: bool) -> list[float]:
    """Give shares of gates in %: any alarm without and with drift; the slowed case found at +5 %
    and +10 %, without and with drift."""
    alarms = [
        rule(compared(drawn, 0.0, drift, slowed=0, paired=paired)).any(axis=-1).mean()
        for drift in (0.0, DRIFT)
    ]
    found = [
        rule(compared(drawn, effect, drift, slowed=1, paired=paired))[:, 0].mean()
        for effect in (0.05, 0.10)
        for drift in (0.0, DRIFT)
    ]
    return [100 * float(share) for share in (*alarms, *found)]


def rule_table(drawn: Noise) -> Iterator[str]:
    """Give the table of the rules as lines of Markdown."""
    shares = [f"{what} | with drift" for what in ("false alarm", "+5 % found", "+10 % found")]
    yield f"| comparisons | rule | {' | '.join(shares)} |"
    yield "|---:|---|" + "---:|" * 6
    for cases in (1, CASES, 2 * CASES):
        fewer = first_cases(drawn, cases)
        rules = RULES if cases <= CASES else {GATE: RULES[GATE]}
        for name, (rule, paired) in rules.items():
            cells = " | ".join(f"{rate:.2f} %" for rate in rates(rule, fewer, paired=paired))
            yield f"| {cases} | {name} | {cells} |"


def noise_table(rng: np.random.Generator, trials: int) -> Iterator[str]:
    """Give false alarms of 12 cases by how much launches differ, as lines of Markdown."""
    chosen = {name: rule for name, (rule, paired) in RULES.items() if paired}
    more = ["confirmed by a second session", "+10 % found", "confirmed", "undecided at no change"]
    yield f"| launch noise | {' | '.join([*chosen, *more])} |"
    yield "|---:|" + "---:|" * (len(chosen) + 4)
    for offset_sd in (0.005, 0.01, 0.02, 0.04, 0.08):
        twice = [noise(rng, trials, CASES, LAUNCHES, offset_sd) for _ in range(2)]
        still = [compared(one, 0.0, DRIFT, slowed=0, paired=True) for one in twice]
        slow = [compared(one, 0.1, DRIFT, slowed=1, paired=True) for one in twice]
        verdicts = decide(still[0], log_budget(BUDGET.budget), log_budget(BUDGET.rule_out))
        shares = [
            *(rule(still[0]).any(axis=-1).mean() for rule in chosen.values()),
            (the_rule(still[0]) & again(still[1])).any(axis=-1).mean(),
            the_rule(slow[0])[:, 0].mean(),
            (the_rule(slow[0]) & again(slow[1]))[:, 0].mean(),
            (verdicts == INCONCLUSIVE).any(axis=-1).mean(),
        ]
        cells = " | ".join(f"{100 * float(share):.2f} %" for share in shares)
        yield f"| {offset_sd:.1%} | {cells} |"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    print(f"{arguments.trials} gates a row, {LAUNCHES} launches a side.\n")
    print("\n".join(rule_table(noise(rng, arguments.trials, 2 * CASES, LAUNCHES))), end="\n\n")
    print("\n".join(noise_table(rng, arguments.trials)))


if __name__ == "__main__":
    main()
