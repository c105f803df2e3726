"""Numbers out of other tools' texts: finite, positive, in our units; or an error naming them."""

import math

from deploy.errors import RowsError

NS_PER = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}


def number(text: object, what: str, where: str) -> float:
    """Give a finite number, of a text or of JSON. Raises RowsError."""
    try:
        value = float(text)  # type: ignore[arg-type]  # what is neither is refused here
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(text, bool) or not math.isfinite(value):
        raise RowsError(
            f"{where}: {what} is {text!r}, not a number", "see whether its run ended well"
        )
    return value


def latency_ns(text: object, unit: str, what: str, where: str) -> int:
    """Give a time in whole nanoseconds, at least one. Raises RowsError for zero and below.

    Args:
        unit: one of `NS_PER`.
    """
    value = number(text, what, where)
    if unit not in NS_PER:
        raise RowsError(
            f"{where}: {what} has the unit {unit!r}", f"known units are {', '.join(NS_PER)}"
        )
    if value <= 0:
        raise RowsError(f"{where}: {what} is {value:g} {unit}", "see whether its run ended well")
    return max(round(value * NS_PER[unit]), 1)


def positive_or_none(value: float) -> int | None:
    """Give a count as an integer; zero and below mean that the tool could not tell."""
    return round(value) if value > 0 else None
