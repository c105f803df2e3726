"""What text of dumpsys and /sys becomes. The text was composed after AOSP, not recorded."""

import shlex

import pytest

from android_bench.device import Completed
from android_bench.sensor_text import MARK, HostSource, PhoneSource
from android_bench.sensors import Sensors, parse_battery, parse_temperatures
from deploy.errors import DeviceError, TransientDeviceError

SERVICE = """IsStatusOverride: false
Thermal Status: 1
Cached temperatures:
	Temperature{mValue=50.0, mType=3, mName=skin, mStatus=1}
HAL Ready: true
Current temperatures from HAL:
	Temperature{mValue=-99.9, mType=6, mName=pa, mStatus=0}
	Temperature{mValue=31.2, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
	Temperature{mValue=61.0, mType=0, mName=cpu0, mStatus=0}
Current cooling devices from HAL:
	CoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
"""
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  level: 43
  scale: 50
  temperature: 295
"""
CPU = "/sys/devices/system/cpu"


class Shell:
    """A phone that answers `dumpsys` and `cat` from a table; what is not in it is not there."""

    def __init__(self, services=None, files=None, denied=(), *, merged=False):
        self.services, self.files = services or {}, files or {}
        self.denied, self.merged = denied, merged
        self.asked = []

    def query(self, argv, timeout_s):
        self.asked.append(" ".join(argv))
        program, *names = argv
        if program == "sh":
            return self.answer_all(names[1])
        if program == "dumpsys":
            text = self.services.get(names[0], f"Can't find service: {names[0]}\n")
            return Completed(0, text, "", 1)
        if program == "ls":
            names = {path.removeprefix(f"{names[0]}/").split("/")[0] for path in self.files}
            return Completed(0, "\n".join(sorted(names)), "", 1)
        out = "".join(f"{self.files[name]}\n" for name in names if name in self.files)
        err = "".join(
            f"cat: {name}: {'Permission denied' if name in self.denied else 'No such file'}\n"
            for name in names
            if name not in self.files
        )
        return Completed(1 if err else 0, out + err * self.merged, err * (not self.merged), 1)

    def answer_all(self, script):
        """Answer several questions, one a line, as a shell would."""
        answers = [
            self.query(shlex.split(line.partition(" 2>&1;")[0]), 1) for line in script.splitlines()
        ]
        texts = (f"{one.stdout}{one.stderr}\n{MARK} {one.exit_code}\n" for one in answers)
        return Completed(0, "".join(texts), "", 1)


def frequencies(*cores):
    """Give the files of cores (most, cap, now), in kHz."""
    names = ("cpuinfo_max_freq", "scaling_max_freq", "scaling_cur_freq")
    return {
        f"{CPU}/cpu{core}/cpufreq/{name}": khz
        for core, of_core in enumerate(cores)
        for name, khz in zip(names, of_core, strict=True)
    }


def sensors(shell):
    return Sensors(PhoneSource(shell), clock_ns=lambda: 7)


def test_what_the_hardware_says_now_counts_before_what_is_remembered():
    assert parse_temperatures(SERVICE) == {"VIRTUAL-SKIN": (31.2, True), "cpu0": (61.0, False)}


def test_where_the_hardware_says_nothing_the_remembered_counts():
    text = SERVICE.partition("HAL Ready")[0]
    assert parse_temperatures(text) == {"skin": (50.0, True)}


def test_battery_is_read_with_its_scale_and_tenths_of_degrees():
    assert parse_battery(BATTERY) == {
        "battery_level_pct": 86.0,
        "battery_temp_c": 29.5,
        "charging": True,
    }


def test_a_battery_on_no_cable_does_not_charge():
    assert parse_battery(BATTERY.replace("true", "false"))["charging"] is False


def test_a_battery_that_was_set_by_hand_says_nothing():
    assert parse_battery("  (UPDATES STOPPED -- use 'reset' to restart)\n" + BATTERY) == {}


def test_a_whole_reading():
    files = frequencies((1800, 1800, 900), (2800, 2100, 2000)) | {"/proc/loadavg": "0.5 0.4 0.3"}
    read = sensors(Shell({"thermalservice": SERVICE, "battery": BATTERY}, files)).read()
    assert (read.at_ns, read.thermal_status, read.temp_c) == (7, 1, 31.2)
    assert (read.battery_level_pct, read.charging, read.loadavg1) == (86.0, True, 0.5)
    assert read.freq_khz == {"cpu0": 900, "cpu1": 2000}
    assert read.cap_pct == 75.0


def test_without_a_skin_sensor_the_hottest_one_counts():
    text = SERVICE.replace("mType=3", "mType=9").replace("SKIN", "BACK")
    assert sensors(Shell({"thermalservice": text})).read().temp_c == 61.0


def test_sensors_are_told_as_available_denied_or_absent():
    denied = tuple(frequencies((1, 1, 1)))
    states = sensors(Shell({"battery": BATTERY}, {f"{CPU}/cpu0/x": 1}, denied)).states
    assert states == {
        "thermal_status": "absent",
        "temperatures": "absent",
        "battery": "available",
        "freq_cap": "denied",
        "freq": "denied",
    }


@pytest.mark.parametrize(
    ("shell", "heat_from"),
    [
        (Shell({"thermalservice": SERVICE}), "service"),
        (Shell(files=frequencies((2, 2, 2))), "sysfs"),
        (Shell(), "none"),
    ],
)
def test_it_is_told_where_heat_is_known_from(shell, heat_from):
    assert sensors(shell).heat_from == heat_from


def test_a_service_that_refuses_is_denied():
    refused = Shell({"thermalservice": "Permission Denial: can't dump from uid=2000\n"})
    assert sensors(refused).states["thermal_status"] == "denied"


def test_an_overridden_status_is_refused_with_the_way_back():
    text = SERVICE.replace("false", "true")
    with pytest.raises(DeviceError, match="cmd thermalservice reset"):
        sensors(Shell({"thermalservice": text}))


@pytest.mark.parametrize("merged", [False, True])
def test_of_several_files_those_that_can_be_read_are_read_at_once(merged):
    files = frequencies((1800, 1800, 900), (2800, 2800, 2000))
    del files[f"{CPU}/cpu0/cpufreq/scaling_max_freq"]
    shell = Shell(files=files, merged=merged)
    read = sensors(shell).read()
    assert (read.freq_khz, read.freq_cap_khz) == ({"cpu0": 900, "cpu1": 2000}, {"cpu1": 2800})
    assert len([one for one in shell.asked if one.count("scaling_cur_freq") == 1]) == 0


def test_a_file_that_is_empty_shifts_no_other():
    files = frequencies((1800, 1800, 900), (2800, 2800, 2000))
    shell = Shell(files=files)
    watched = sensors(shell)
    real = shell.query

    def one_is_empty(argv, timeout_s):
        said = real(argv, timeout_s)
        path = f"{CPU}/cpu0/cpufreq/scaling_cur_freq"
        lost = said.stdout.replace("900\n", "") if path in argv else said.stdout
        return Completed(said.exit_code, lost, said.stderr, 1)

    shell.query = one_is_empty
    assert watched.read().freq_khz == {"cpu1": 2000}


def test_the_battery_is_asked_now_and_then_only():
    shell = Shell({"battery": BATTERY})
    now = [0]
    watched = Sensors(PhoneSource(shell), clock_ns=lambda: now[0])
    for now[0] in (1, 2, 3):
        watched.read()
    assert shell.asked.count("dumpsys battery") == 2  # once to find out, once to read


EVERYTHING = {
    "services": {"thermalservice": SERVICE, "battery": BATTERY},
    "files": frequencies((1800, 1800, 900)) | {"/proc/loadavg": "0.5 0.4 0.3"},
}


def test_a_reading_is_one_question():
    shell = Shell(**EVERYTHING)
    watched = sensors(shell)
    for services in ({"thermalservice", "battery"}, {"thermalservice"}):  # then too early for one
        shell.asked.clear()
        watched.read()
        question, *parts = shell.asked
        assert question.startswith("sh -c")
        assert {one.removeprefix("dumpsys ") for one in parts if "dumpsys" in one} == services
        assert [one.split()[0] for one in parts].count("cat") == 1


def test_a_glance_asks_the_files_alone_and_no_service():
    shell = Shell({"thermalservice": SERVICE, "battery": BATTERY}, frequencies((2000, 1500, 900)))
    sensors = Sensors(PhoneSource(shell))
    sensors.read()
    shell.asked.clear()
    seen = sensors.glance()
    assert not any("dumpsys" in question for question in shell.asked)
    assert (seen.freq_khz, seen.cap_pct) == ({"cpu0": 900}, 75.0)
    assert (seen.thermal_status, seen.battery_level_pct, seen.charging) == (None, None, None)


def test_a_phone_that_tells_by_services_alone_has_no_files_to_glance_at():
    assert not sensors(Shell({"thermalservice": SERVICE, "battery": BATTERY})).has_files
    assert sensors(Shell(files=frequencies((2000, 1500, 900)))).has_files


def test_where_one_question_for_all_hangs_they_are_asked_one_by_one():
    reading = sensors(Hanging("sh", **EVERYTHING)).read()
    assert reading == sensors(Shell(**EVERYTHING)).read()
    assert (reading.thermal_status, reading.battery_level_pct, reading.loadavg1) == (1, 86.0, 0.5)


class Hanging(Shell):
    """A phone on which some programs never end, or which is gone."""

    def __init__(self, *programs, **options):
        super().__init__(**options)
        self.programs = programs

    def query(self, argv, timeout_s):
        if argv[0] in self.programs:
            raise TransientDeviceError("no answer", "try again")
        return super().query(argv, timeout_s) if argv[0] != "true" else Completed(0, "", "", 1)


def test_a_service_that_never_answers_is_absent_and_the_files_are_read():
    files = frequencies((2000, 1500, 900))
    watched = sensors(Hanging("dumpsys", files=files))
    assert watched.states["thermal_status"] == "absent"
    assert watched.read().cap_pct == 75.0


def test_files_that_never_answer_are_absent():
    watched = sensors(Hanging("cat", services={"battery": BATTERY}, files=frequencies((2, 2, 2))))
    assert (watched.states["freq_cap"], watched.states["battery"]) == ("absent", "available")


def test_a_phone_that_is_gone_is_no_missing_sensor():
    with pytest.raises(TransientDeviceError):
        sensors(Hanging("dumpsys", "cat", "ls", "true"))


def host(tmp_path, files):
    for path, content in files.items():
        there = tmp_path / path.lstrip("/")
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(f"{content}\n")
    return Sensors(HostSource(tmp_path))


def test_this_machine_tells_by_its_files(tmp_path):
    zone = "/sys/class/thermal/thermal_zone0"
    files = frequencies((2000, 1500, 900)) | {f"{zone}/type": "x86_pkg", f"{zone}/temp": "47000"}
    read = host(tmp_path, files).read()
    assert (read.temps_c, read.cap_pct) == ({"x86_pkg": 47.0}, 75.0)


def test_a_machine_that_tells_nothing_is_no_failure(tmp_path):
    watched = host(tmp_path, {})
    assert set(watched.states.values()) == {"absent"}
    assert watched.read().temp_c is None


def test_the_sensors_of_this_very_machine_can_be_read():
    assert Sensors(HostSource()).read().at_ns > 0
