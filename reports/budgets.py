"""What a gate tolerates: the metrics it judges, their budgets, and the file that changes them."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from deploy.errors import UsageError

OFF = "off"
PERCENT, DECIBEL, POINTS = "%", "dB", "points"


@dataclass(frozen=True)
class Metric:
    """One thing that a gate judges.

    Attributes:
        unit: of its budgets: % of the baseline, or what the values themselves are counted in.
        shown_in: unit of the values.
        higher_is_better: whether less of it is worse.
        repeats: it is the same in every launch, and is compared exactly.
    """

    unit: str
    shown_in: str
    higher_is_better: bool = False
    repeats: bool = True


METRICS = {
    "latency": Metric(PERCENT, "ms", repeats=False),
    "memory": Metric(PERCENT, "MiB", repeats=False),
    "psnr": Metric(DECIBEL, "dB", higher_is_better=True),
    "coverage": Metric(POINTS, "%", higher_is_better=True),
    "size": Metric(PERCENT, "MiB"),
    "instructions": Metric(PERCENT, "M"),
    "session_instructions": Metric(PERCENT, "M"),
}
# what a gate on counted instructions judges; the others are of devices with a clock
COUNTED = ("instructions", "session_instructions")
TIMED = tuple(name for name in METRICS if name not in COUNTED)


@dataclass(frozen=True)
class Budget:
    """How much worse a metric may get. In the metric's unit; % as a number, 2 for 2 %.

    Attributes:
        budget: a change for the worse up to this is no regression.
        rule_out: a pass says that a change beyond this is ruled out. None where nothing varies.
        between_sessions: added to both where the sides were measured in two sessions, for what
            happens to a device between them. None where nothing varies.
    """

    budget: float
    rule_out: float | None = None
    between_sessions: float | None = None


# 8 launches a side with 2 % of noise between launches rule 5 % out; see benchmarks/README.md
DEFAULTS = {
    "latency": Budget(2.0, 5.0, 3.0),
    "memory": Budget(2.0, 5.0, 3.0),
    "psnr": Budget(0.05),
    "coverage": Budget(0.0),
    "size": Budget(1.0),
    # counts repeat to 1e-4; docs/arm64.md
    "instructions": Budget(1.0),
    # longer names alone made it 1.6 % more; benchmarks/README.md
    "session_instructions": Budget(2.0),
}


@dataclass(frozen=True)
class Budgets:
    """The budgets of a gate.

    Attributes:
        of_metric: for every case; a metric that is not there is not judged.
        of_cases: (pattern, metric, budget or None for off) that go before them; the last that
            matches counts. Patterns are those of a shell, against the name of a case.
    """

    of_metric: Mapping[str, Budget]
    of_cases: tuple[tuple[str, str, Budget | None], ...] = ()

    def find(self, case: str, metric: str) -> Budget | None:
        """Give the budget of one metric of one case; None where it is not judged."""
        found = self.of_metric.get(metric)
        for pattern, of_metric, budget in self.of_cases:
            if of_metric == metric and fnmatchcase(case, pattern):
                found = budget
        return found


def default_budgets() -> Budgets:
    """Give the budgets that hold where no file says otherwise."""
    return Budgets(dict(DEFAULTS))


def read_budgets(path: Path) -> Budgets:
    """Read a budgets.toml; what it does not name keeps its default.

    Raises:
        UsageError: no such file, not TOML, or a metric, field or unit that there is not.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"no budget file at {path} ({error.strerror})", "check --budgets") from (
            error
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML ({error})", "docs/gate.md shows one") from error
    of_case = tables.pop("case", {})
    of_metric: dict[str, Budget] = dict(DEFAULTS)
    for metric, table in tables.items():
        budget = _budget(f"{path}: {metric}", metric, table)
        of_metric.pop(metric, None)
        if budget is not None:
            of_metric[metric] = budget
    return Budgets(of_metric, tuple(_of_cases(path, of_case, of_metric)))


def _of_cases(
    path: Path, tables: Any, of_metric: Mapping[str, Budget]
) -> list[tuple[str, str, Budget | None]]:
    found = []
    for pattern, metrics in _table(f"{path}: case", tables).items():
        for metric, table in _table(f"{path}: case.{pattern!r}", metrics).items():
            where = f"{path}: case.{pattern!r}.{metric}"
            found.append((pattern, metric, _budget(where, metric, table, of_metric.get(metric))))
    return found


def _budget(where: str, metric: str, table: Any, base: Budget | None = None) -> Budget | None:
    """Read one table over what it starts from; None for off."""
    if metric not in METRICS:
        raise UsageError(f"{where}: unknown metric {metric!r}", f"use one of {', '.join(METRICS)}")
    base = base or DEFAULTS[metric]
    fields = [name for name in ("budget", "rule_out", "between_sessions") if _has(base, name)]
    values: dict[str, float] = {}
    for name, value in _table(where, table).items():
        if name not in fields:
            raise UsageError(f"{where}: unknown field {name!r}", f"use {', '.join(fields)}")
        if name == "budget" and value == OFF:
            return None
        values[name] = _amount(f"{where}.{name}", value, METRICS[metric].unit)
    changed = replace(base, **values)
    if changed.rule_out is not None and changed.rule_out <= changed.budget:
        if "rule_out" in values:
            raise UsageError(
                f"{where}: rule_out {changed.rule_out:g} % is not above budget "
                f"{changed.budget:g} %",
                "a pass can rule out no less than what is tolerated",
            )
        changed = replace(changed, rule_out=changed.budget + _gap(base))
    return changed


def _has(base: Budget, name: str) -> bool:
    return getattr(base, name) is not None


def _gap(base: Budget) -> float:
    return (base.rule_out or 0.0) - base.budget


def _table(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where} is {value!r}, not a table", "docs/gate.md shows one")
    return value


def _amount(where: str, value: Any, unit: str) -> float:
    """Read `NUMBER UNIT`."""
    text = value if isinstance(value, str) else ""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(\S*)\s*", text)
    if match is None:
        raise UsageError(f"{where} is {value!r}", f'write it like "1.5 {unit}"')
    if match[2] != unit:
        raise UsageError(f"{where}: unknown unit {match[2]!r}", f"this metric is in {unit!r}")
    return float(match[1])
