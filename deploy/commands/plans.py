"""The plans of measured sessions: what the rows do not tell, and what changes what a time means."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from android_bench.session import SESSION_NAME

_MUST_MATCH = ("warmup", "seconds", "min_runs", "cooldown_s")

Unlike = Mapping[str, tuple[Any, Any]]  # field -> both values


def unlike_plans(one: Path, other: Path) -> Unlike:
    """Give the fields in which the plans of two sessions differ; none where one is not recorded."""
    plans = (_plan(one), _plan(other))
    shared = [name for name in _MUST_MATCH if all(name in plan for plan in plans)]
    both = {name: (plans[0][name], plans[1][name]) for name in shared}
    return {name: values for name, values in both.items() if values[0] != values[1]}


def _plan(session: Path) -> Mapping[str, Any]:
    """Give the plan of a session, or of the one in a folder; empty where it was not recorded."""
    records = [*session.glob(SESSION_NAME)] or [*session.glob(f"*/{SESSION_NAME}")]
    if len(records) != 1:
        return {}
    try:
        plan = json.loads(records[0].read_text()).get("plan", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return plan if isinstance(plan, dict) else {}
