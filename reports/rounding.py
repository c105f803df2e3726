"""Numbers as text. One rule: the half-width of an interval keeps two digits, the value as many."""

import math

DASH = "–"  # where there is no value

MAX_DECIMALS = 6  # a clock that counts nanoseconds says no more of a millisecond
_WITHOUT_WIDTH = 3  # decimals where all launches gave the same
_NO_WIDTH = 1e-12  # of the value: what arithmetic leaves of equal numbers


def decimals(half_width: float) -> int:
    """Give how many decimals a value deserves: up to the second digit that its interval moves."""
    return max(last_place(half_width), 0)


def last_place(half_width: float) -> int:
    """Give the place to round to: below zero where tens, hundreds, ... are the second digit."""
    if not 0 < half_width < math.inf:  # also NaN
        return _WITHOUT_WIDTH
    exponent = int(f"{half_width:.1e}".partition("e")[2])  # of the half-width as it would be shown
    return min(1 - exponent, MAX_DECIMALS)


def at_decimals(value: float, places: int) -> str:
    """Give a number with so many decimals; with fewer than none, whole tens, hundreds, ..."""
    return f"{round(value, places):.{max(places, 0)}f}"


def rounded(value: float, low: float, high: float, unit: str = "") -> tuple[str, str]:
    """Give a value and its interval, rounded as that allows; without a width, three digits.

    Returns:
        `value` and `[low, high]`; the latter is empty where an end is missing.
    """
    if math.isnan(value):
        return DASH, ""
    if math.isnan(low) or math.isnan(high):
        return f"{three_digits(value)}{unit}", ""
    if high - low <= _NO_WIDTH * abs(value):
        return f"{three_digits(value)}{unit}", f"[{three_digits(low)}, {three_digits(high)}]"
    places = last_place((high - low) / 2)
    ends = (at_decimals(end, places) for end in (low, high))
    return f"{at_decimals(value, places)}{unit}", f"[{', '.join(ends)}]"


def three_digits(value: float) -> str:
    """Give a number with three digits that count; whole numbers keep all of theirs."""
    if value == 0 or not math.isfinite(value):
        return fixed(value, 0)
    return f"{value:.{min(max(2 - math.floor(math.log10(abs(value))), 0), MAX_DECIMALS)}f}"


def with_interval(value: float, low: float, high: float, unit: str = "") -> str:
    """Give `value [low, high]` as `rounded` rounds them."""
    return " ".join(rounded(value, low, high, unit)).rstrip()


def fixed(value: float, places: int) -> str:
    """Give a number with a fixed count of decimals, a dash where it is missing."""
    if math.isnan(value):
        return DASH
    return "∞" if math.isinf(value) else f"{value:.{places}f}"
