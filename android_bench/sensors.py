"""What a device tells of its heat and its clocks: dumpsys and /sys text -> a `Reading`.

A sensor that cannot be read is left out and said to be so; nothing here ever fails for it.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from android_bench.sensor_text import ABSENT, AVAILABLE, DENIED, Source
from deploy.errors import DeviceError

THERMAL, BATTERY = "thermalservice", "battery"  # Android's names of services
SERVICE, SYSFS, NONE = "service", "sysfs", "none"  # where heat is known from
BATTERY_EVERY_NS = 30 * 10**9  # it changes slowly, and each question costs the phone some work

CPUS = "/sys/devices/system/cpu"
ZONES = "/sys/class/thermal"
LOADAVG = "/proc/loadavg"
SKIN_TYPE = "3"  # android.hardware.thermal TemperatureType::SKIN
CREDIBLE_C = (-40.0, 150.0)  # drivers say -99.9, or thousands, where they know nothing

_STATUS = re.compile(r"Thermal Status: (\d+)")
_TEMPERATURE = re.compile(
    r"Temperature\{mValue=(?P<value>[-\d.]+), mType=(?P<type>-?\d+), mName=(?P<name>[^,]*),"
)
_OVERRIDDEN = re.compile(r"IsStatusOverride: true")
_FAKE_BATTERY = "UPDATES STOPPED"  # after `dumpsys battery set`


@dataclass(frozen=True)
class Reading:
    """What is known of a device at one moment. Frequencies are by core: `cpu4`.

    Attributes:
        at_ns: when it was read, on this machine's monotonic clock.
        thermal_status: 0 none ... 6 shutdown, as Android counts.
        temps_c: by sensor.
        skin: names of those sensors that are of the skin.
        freq_cap_khz: the most that the kernel allows now.
        freq_max_khz: the most that the core can do.
    """

    at_ns: int
    thermal_status: int | None = None
    temps_c: Mapping[str, float] = field(default_factory=dict)
    skin: tuple[str, ...] = ()
    battery_temp_c: float | None = None
    battery_level_pct: float | None = None
    charging: bool | None = None
    freq_khz: Mapping[str, int] = field(default_factory=dict)
    freq_cap_khz: Mapping[str, int] = field(default_factory=dict)
    freq_max_khz: Mapping[str, int] = field(default_factory=dict)
    loadavg1: float | None = None

    @property
    def temp_c(self) -> float | None:
        """The hottest skin sensor, or the hottest of all where none is of the skin."""
        chosen = [self.temps_c[name] for name in self.skin] or list(self.temps_c.values())
        return max(chosen, default=None)

    @property
    def cap_pct(self) -> float | None:
        """The lowest frequency cap of any core, of the most that it can do."""
        both = self.freq_cap_khz.keys() & self.freq_max_khz.keys()
        return min(
            (100 * self.freq_cap_khz[one] / self.freq_max_khz[one] for one in both), default=None
        )


class Sensors:
    """The sensors of one device: probed when made, read as often as wanted.

    Attributes:
        states: of each kind of sensor, AVAILABLE, DENIED or ABSENT.
    """

    def __init__(self, source: Source, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        """Find out what can be read.

        Raises:
            DeviceError: the thermal status is a fake one, set by `cmd thermalservice`.
        """
        self._source = source
        self._clock_ns = clock_ns
        self._battery: tuple[int | None, dict[str, float]] = None, {}  # when it was asked last
        self.states: dict[str, str] = {}
        state, text = source.dump(THERMAL)
        if _OVERRIDDEN.search(text):
            raise DeviceError(
                "the thermal status of this device is overridden, so it says nothing",
                "run `adb shell cmd thermalservice reset`, then measure again",
            )
        has_status = _STATUS.search(text) is not None
        self.states["thermal_status"] = AVAILABLE if has_status else _unless(state)
        self.states["temperatures"] = AVAILABLE if parse_temperatures(text) else _unless(state)
        state, text = source.dump(BATTERY)
        self.states["battery"] = AVAILABLE if parse_battery(text) else _unless(state)
        self._zones = self._find_zones() if self.states["temperatures"] != AVAILABLE else {}
        self._find_cores()

    @property
    def heat_from(self) -> str:
        """Where heat is known from: `service`, `sysfs` or `none`."""
        if self.states["thermal_status"] == AVAILABLE:
            return SERVICE
        by_files = AVAILABLE in (self.states["freq_cap"], self.states["temperatures"])
        return SYSFS if by_files else NONE

    @property
    def max_freq_khz(self) -> list[int | None]:
        """The most that each core can do, in their order; None where it is not known."""
        return [self._max_khz.get(core) for core in self._cores]

    def read(self) -> Reading:
        """Read all that can be read."""
        at_ns = self._clock_ns()
        return self._read(at_ns, self._services(at_ns))

    @property
    def has_files(self) -> bool:
        """Whether a glance has anything to see: clocks, caps or temperatures."""
        return bool(self._zones or self._caps or self._now)

    def glance(self) -> Reading:
        """Read the kernel's files alone, for which no service of the device has to wake."""
        reading = self._read(self._clock_ns(), [])
        return replace(reading, battery_temp_c=None, battery_level_pct=None, charging=None)

    def _read(self, at_ns: int, services: Sequence[str]) -> Reading:
        paths = [*self._zones, *self._caps, *self._now, LOADAVG]
        dumped, told = self._source.gather(services, paths)
        if BATTERY in dumped:
            self._battery = at_ns, parse_battery(dumped[BATTERY][1])
        _, text = dumped.get(THERMAL, (ABSENT, ""))
        status = _STATUS.search(text)
        temperatures = parse_temperatures(text)
        files = _numbers(told)
        return Reading(
            at_ns=at_ns,
            thermal_status=int(status[1]) if status else None,
            temps_c={name: value for name, (value, _) in temperatures.items()}
            | {
                name: files[path] / 1000
                for path, name in self._zones.items()
                if path in files and _credible(files[path] / 1000)
            },
            skin=tuple(name for name, (_, is_skin) in temperatures.items() if is_skin),
            **self._battery[1],  # type: ignore[arg-type]
            freq_khz={core: int(files[path]) for path, core in self._now.items() if path in files},
            freq_cap_khz={
                core: int(files[path]) for path, core in self._caps.items() if path in files
            },
            freq_max_khz=self._max_khz,
            loadavg1=files.get(LOADAVG),
        )

    def _services(self, at_ns: int) -> list[str]:
        """Give the services that are to be asked now."""
        known_ns = self._battery[0]
        is_due = known_ns is None or at_ns - known_ns > BATTERY_EVERY_NS
        wanted = {THERMAL: self.states["thermal_status"], BATTERY: self.states["battery"]}
        return [
            name
            for name, state in wanted.items()
            if state == AVAILABLE and (name != BATTERY or is_due)
        ]

    def _find_zones(self) -> dict[str, str]:
        """Give the files of thermal zones that can be read, each with what it is of."""
        zones = [name for name in self._source.names(ZONES) if name.startswith("thermal_zone")]
        types = self._source.read([f"{ZONES}/{zone}/type" for zone in zones])
        temps = self._source.read([f"{ZONES}/{zone}/temp" for zone in zones])
        found = {}
        for zone in zones:
            state, value = temps[f"{ZONES}/{zone}/temp"]
            if state == AVAILABLE and _number(value) is not None:
                found[f"{ZONES}/{zone}/temp"] = types[f"{ZONES}/{zone}/type"][1] or zone
        if zones:
            self.states["temperatures"] = AVAILABLE if found else DENIED
        return found

    def _find_cores(self) -> None:
        names = [name for name in self._source.names(CPUS) if re.fullmatch(r"cpu\d+", name)]
        self._cores = sorted(names, key=lambda name: int(name.removeprefix("cpu")))
        self._max_khz = {
            core: int(value)
            for core, value in self._of_cores("cpuinfo_max_freq")[0].items()
            if value > 0
        }
        caps, self.states["freq_cap"] = self._of_cores("scaling_max_freq")
        now, self.states["freq"] = self._of_cores("scaling_cur_freq")
        self._caps = {_core_file(core, "scaling_max_freq"): core for core in caps}
        self._now = {_core_file(core, "scaling_cur_freq"): core for core in now}

    def _of_cores(self, name: str) -> tuple[dict[str, float], str]:
        """Give a number of each core that tells it, and whether any does."""
        answers = self._source.read([_core_file(core, name) for core in self._cores])
        numbers = {core: _number(answers[_core_file(core, name)][1]) for core in self._cores}
        found = {core: value for core, value in numbers.items() if value is not None}
        denied = any(state == DENIED for state, _ in answers.values())
        return found, AVAILABLE if found else DENIED if denied else ABSENT


def parse_temperatures(text: str) -> dict[str, tuple[float, bool]]:
    """Give each sensor of `dumpsys thermalservice`: its degrees, and whether it is of the skin.

    What the hardware says now counts before what the service remembers.
    """
    now = text.partition("Current temperatures from HAL:")[2] or text
    found = {}
    for one in _TEMPERATURE.finditer(now):
        value = _number(one["value"])
        if value is not None and _credible(value):
            is_skin = one["type"] == SKIN_TYPE or "skin" in one["name"].lower()
            found[one["name"]] = value, is_skin
    return found


def parse_battery(text: str) -> dict[str, float]:
    """Give what `dumpsys battery` tells, by the fields of `Reading`; nothing where it is a fake."""
    if _FAKE_BATTERY in text:
        return {}
    pairs = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in text.splitlines())
    }
    found: dict[str, float] = {}
    level, tenths = _number(pairs.get("level", "")), _number(pairs.get("temperature", ""))
    if level is not None:
        found["battery_level_pct"] = 100 * level / (_number(pairs.get("scale", "")) or 100)
    if tenths is not None and _credible(tenths / 10):
        found["battery_temp_c"] = tenths / 10
    powered = [value == "true" for key, value in pairs.items() if key.endswith(" powered")]
    if powered:
        found["charging"] = any(powered)
    return found


def _numbers(answers: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    numbers = {path: _number(value) for path, (_, value) in answers.items()}
    return {path: value for path, value in numbers.items() if value is not None}


def _core_file(core: str, name: str) -> str:
    return f"{CPUS}/{core}/cpufreq/{name}"


def _unless(state: str) -> str:
    """Give the state of a sensor that a service, itself in this state, does not tell of."""
    return ABSENT if state == AVAILABLE else state


def _credible(temp_c: float) -> bool:
    return CREDIBLE_C[0] <= temp_c <= CREDIBLE_C[1]


def _number(text: str) -> float | None:
    """Give the first word as a number."""
    try:
        return float(text.split(maxsplit=1)[0])
    except (IndexError, ValueError):
        return None
