"""What was tried, and how each candidate did: the rows of the table that a tuning ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from deploy.commands.tune_race import Out, Race
from deploy.tuning import Choice
from reports.rounding import with_interval
from reports.stats import Estimate, median_interval, paired_ratio

FLOAT = "float graph"  # compared with, and never chosen
NOTHING = Estimate(np.nan, np.nan, np.nan, 0)


@dataclass
class Tried:
    """A candidate.

    Attributes:
        name: what tells it from the default.
        choice: None of what is only compared with.
        vs_fp32_db: PSNR against the float graph; None where it was not made.
        drop_db: of PSNR on held-out images; None where it was not made in full, or has no truth.
        why: it is no longer launched, or is what was chosen.
    """

    name: str
    choice: Choice | None
    vs_fp32_db: float | None = None
    drop_db: float | None = None
    why: str = ""


@dataclass
class Ledger:
    """All candidates, and all blocks in which they were launched.

    Attributes:
        start: name of the candidate that all others are compared with.
        measured: (blocks, candidates), NaN where one was not launched.
        exact: values are counts.
    """

    start: str
    exact: bool = False
    tried: dict[str, Tried] = field(default_factory=dict)
    measured: pd.DataFrame = field(default_factory=pd.DataFrame)

    def add(self, one: Tried) -> None:
        """Keep a candidate; one that is there already stays as it is."""
        self.tried.setdefault(one.name, one)

    def keep(self, ended: Race) -> None:
        """Keep the launches of a race, and say of each candidate why it stopped."""
        self.measured = pd.concat([self.measured, ended.measured], ignore_index=True)
        for name, out in ended.out.items():
            self.tried[name].why = said_of(out, exact=self.exact)
        for name in ended.measured.columns:
            if name not in ended.out and name not in (self.start, FLOAT, ended.winner):
                self.tried[name].why = self.no_gain_over(ended.winner)

    def no_gain_over(self, name: str) -> str:
        """Say of a candidate that it is not shown to be better; of counts in no words of time."""
        if self.exact:
            return f"no fewer than {name}, or too little to tell"
        return f"not shown to be faster than {name}"

    def value(self, name: str) -> Estimate:
        """Give ms, or millions of instructions, with a 95 % interval where they vary."""
        if name not in self.measured:
            return NOTHING
        found = self.measured[name].dropna().to_numpy()
        if self.exact and len(found):
            return Estimate(found[-1], found[-1], found[-1], 1)  # counted once, and kept
        return median_interval(found)

    def counted(self, names: Sequence[str]) -> dict[str, float]:
        """Give what is known to the last digit of those candidates."""
        known = [name for name in names if self.exact and self.value(name).n]
        return {name: self.value(name).value for name in known}

    def ratio(self, name: str) -> Estimate:
        """Give the ratio to the start, of launches in the same blocks; below 1 is better."""
        if name not in self.measured:
            return NOTHING
        if name == self.start:
            return Estimate(1.0, 1.0, 1.0, int(self.measured[name].notna().sum()))
        both = self.measured[[name, self.start]].dropna()
        if self.exact and len(both):
            value = float(both[name].iloc[-1] / both[self.start].iloc[-1])
            return Estimate(value, value, value, len(both))
        return paired_ratio(both[name], both[self.start])

    def records(self) -> list[dict[str, Any]]:
        """Give a record a candidate, in the order they were tried; None where nothing is known."""
        unit = "instructions_m" if self.exact else "latency_ms"
        return [
            {
                "candidate": name,
                **(one.choice.record() if one.choice else {}),
                **_ends(unit, self.value(name)),
                "launches": self.value(name).n,
                **_ends("ratio", self.ratio(name)),
                "psnr_vs_fp32_db": _rounded(one.vs_fp32_db),
                "psnr_drop_db": _rounded(one.drop_db),
                "why": one.why,
            }
            for name, one in self.tried.items()
        ]


def said_of(out: Out, *, exact: bool) -> str:
    """Say in words why a candidate is out."""
    if not out.by:
        return "no launch ended well"
    ratio = as_text(out.ratio, exact=exact)
    after = "" if exact else f" after {out.launches} launches"
    return f"{ratio} of {out.by}{after}"


def as_text(ratio: Estimate, *, exact: bool) -> str:
    """Give a ratio with its interval, or an exact one with the digits that repeat."""
    if exact and np.isfinite(ratio.value):
        return f"x{ratio.value:.4f}"
    text = with_interval(ratio.value, ratio.low, ratio.high)
    return f"x{text}" if np.isfinite(ratio.value) else text


def _ends(name: str, value: Estimate) -> Mapping[str, float | None]:
    return {
        name: _rounded(value.value, 6),
        f"{name}_low": _rounded(value.low, 6),
        f"{name}_high": _rounded(value.high, 6),
    }


def _rounded(value: float | None, places: int = 3) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), places)
