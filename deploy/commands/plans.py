"""The plans of measured sessions: what the rows do not tell, and what changes what a time means."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from android_bench.session import SESSION_NAME

_MUST_MATCH = ("warmup", "seconds", "min_runs", "cooldown_s")

Unlike = Mapping[str, tuple[Any, Any]]  # field -> both values


def unlike_plans(*folders: Path) -> Unlike:
    """Give the fields in which the plans of sessions differ, with the first two values.

    What is not recorded differs from nothing.

    Args:
        folders: sessions, or folders of them.
    """
    plans = [_plan(record) for folder in folders for record in _records(folder)]
    values = {
        name: list(dict.fromkeys(plan[name] for plan in plans if name in plan))
        for name in _MUST_MATCH
    }
    return {name: (both[0], both[1]) for name, both in values.items() if len(both) > 1}


def metric_of(session: Path) -> str:
    """Give what a finished session measured: `latency`, or `instructions`.

    Raises:
        OSError, ValueError: its record is not there, or broken.
    """
    record = json.loads((session / SESSION_NAME).read_text())
    return str(record["plan"].get("metric", "latency"))


def _records(folder: Path) -> list[Path]:
    if not folder.is_dir():  # a result file of another tool
        return []
    return [*folder.glob(SESSION_NAME)] or sorted(folder.rglob(SESSION_NAME))


def _plan(record: Path) -> Mapping[str, Any]:
    """Give the plan in a session's record; empty where there is none."""
    try:
        plan = json.loads(record.read_text()).get("plan", {})
    except (OSError, ValueError, AttributeError):
        return {}
    if not isinstance(plan, dict):
        return {}
    return {name: value for name, value in plan.items() if isinstance(value, int | float)}
