"""Rows in; tables, plots, verdicts out. Imports itself, `android_bench.rows`, deploy's leaves.

import reports
frames = reports.load("build/bench")  # runs, samples, memory, telemetry, ops, counts, devices
frames.summary                           # one row a case
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.frame import Frames as Frames
    from reports.frame import load as load

__all__ = ["Frames", "load"]


def __getattr__(name: str) -> Any:
    """Give `load` or `Frames`; pandas is loaded then and not before."""
    if name in __all__:
        from reports import frame

        return getattr(frame, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
