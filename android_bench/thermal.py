"""Launches start cool: wait, within a bound, and tell which ones were throttled all the same."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from android_bench.beside import beside
from android_bench.rows import TelemetryRow
from android_bench.sensors import Reading, Sensors

POLL_S = 5.0
POLLS = 10  # at least, within the bound
FRESH_NS = 2 * 10**9  # a reading is taken once between two launches that follow each other
# A glance costs a device a shell and a `cat`, while other cores compute. Every 2 s one inference of
# 10 ms in 200 has that beside it: not even the 99th percentile is of those. A launch of the default
# length, a second, has one in its middle.
FIRST_GLANCE_S, GLANCE_EVERY_S = 0.5, 2.0
CAP_STEP_PCT = 1.0  # a cap that moved by less is the same one, read in other units

OnWait = Callable[[str], None]


@dataclass(frozen=True)
class Start:
    """A device that was waited for.

    Attributes:
        reading: the last one before the launch.
        waited_ns: until it was cool.
        gave_up: it was not, within the bound.
    """

    reading: Reading
    waited_ns: int
    gave_up: bool


class Guard:
    """Watches one device over a session.

    A launch starts only where the thermal status is NONE and no core is capped, as far as that
    can be read. A cap that is there from the start and does not go away within the bound is how
    this device is (a saver mode, a vendor's default), and only a lower one counts from then on.
    """

    def __init__(
        self,
        sensors: Sensors,
        max_wait_s: float,
        *,
        on_wait: OnWait = lambda text: None,
        sleep: Callable[[float], None] = time.sleep,
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.sensors = sensors
        self._max_wait_ns = int(max_wait_s * 1e9)
        self._poll_s = min(POLL_S, max_wait_s / POLLS)
        self._on_wait, self._sleep, self._clock_ns = on_wait, sleep, clock_ns
        self._usual_cap_pct = 100.0
        self._settled = False
        self._last: Reading | None = None

    def wait(self, least_s: float = 0.0) -> Start:
        """Wait so long, then until the device is cool or the bound is reached."""
        began_ns = self._clock_ns()
        if least_s:
            self._sleep(least_s)
        reading = self._fresh() or self._read()
        while (why := self._hot(reading)) and self._clock_ns() - began_ns < self._max_wait_ns:
            self._on_wait(f"waiting for the device to cool ({why})")
            self._sleep(self._poll_s)
            reading = self._read()
        if why and not self._settled and not _is_warm(reading):
            self._usual_cap_pct, why = reading.cap_pct or 100.0, None
        self._settled = self._settled or not _is_warm(reading)
        return Start(reading, self._clock_ns() - began_ns, gave_up=why is not None)

    def glancing(
        self, first_s: float = FIRST_GLANCE_S, every_s: float = GLANCE_EVERY_S
    ) -> AbstractContextManager[list[Reading]]:
        """Glance at the clocks of the device's cores while the block runs; lend what was seen.

        The status and the battery change slowly, and asking for them wakes Android's services:
        they are read before and after. A device that shows nothing but those is left alone.
        """
        if not self.sensors.has_files:
            return nullcontext([])
        return beside(self.sensors.glance, first_s=first_s, every_s=every_s)

    def after(self) -> Reading:
        """Read the device right after a launch."""
        return self._read()

    def throttled(self, start: Start, later: Sequence[Reading]) -> str | None:
        """Say why a launch was throttled; None where it was not.

        Args:
            later: readings during the launch and after it.
        """
        return next(filter(None, map(self._hot, [start.reading, *later])), None)

    def _hot(self, reading: Reading) -> str | None:
        if _is_warm(reading):
            return f"thermal status {reading.thermal_status}"
        cap_pct = reading.cap_pct
        if cap_pct is not None and cap_pct < self._usual_cap_pct - CAP_STEP_PCT:
            return f"a core is capped to {cap_pct:.0f} % of its frequency"
        return None

    def _read(self) -> Reading:
        self._last = self.sensors.read()
        return self._last

    def _fresh(self) -> Reading | None:
        last = self._last
        return last if last and self._clock_ns() - last.at_ns < FRESH_NS else None


def conditions(
    sensors: Sensors, start: Start, later: Sequence[Reading], throttled: str | None
) -> dict[str, Any]:
    """Give the columns of `runs` that say under which conditions a launch ran.

    Args:
        later: as for `Guard.throttled`.
    """
    all_of_it = (start.reading, *later)
    known = sensors.heat_from != "none"
    return {
        "thermal_source": sensors.heat_from,
        "thermal_status_start": start.reading.thermal_status,
        "thermal_status_max": _most(one.thermal_status for one in all_of_it),
        "temp_start_c": start.reading.temp_c,
        "temp_max_c": _most(one.temp_c for one in all_of_it),
        "battery_temp_start_c": start.reading.battery_temp_c,
        "battery_level_pct": start.reading.battery_level_pct,
        "charging": start.reading.charging,
        "freq_cap_min_pct": min((one.cap_pct for one in all_of_it if one.cap_pct), default=None),
        "throttled": throttled is not None if known else None,
        "cooldown_ns": start.waited_ns,
        "loadavg1_start": start.reading.loadavg1,
    }


def telemetry_rows(run_id: str, reading: Reading, t_ns: int) -> list[TelemetryRow]:
    """Give a reading as rows.

    Args:
        t_ns: when it was read, on the device's monotonic clock.
    """
    of_kind: dict[str, dict[str, float | None]] = {
        "thermal_status": {"device": reading.thermal_status},
        "temp_c": {**reading.temps_c, "battery": reading.battery_temp_c},
        "freq_khz": dict(reading.freq_khz),
        "freq_cap_khz": dict(reading.freq_cap_khz),
        "battery_pct": {"battery": reading.battery_level_pct},
        "loadavg1": {"device": reading.loadavg1},
    }
    return [
        TelemetryRow(run_id, t_ns, metric, source, float(value))
        for metric, values in of_kind.items()
        for source, value in values.items()
        if value is not None
    ]


def _is_warm(reading: Reading) -> bool:
    return bool(reading.thermal_status)  # any status above NONE; unknown is not warm


def _most(values: Any) -> Any:
    return max((one for one in values if one is not None), default=None)
