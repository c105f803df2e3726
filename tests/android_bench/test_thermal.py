import time

import pytest

from android_bench.sensors import Reading
from android_bench.thermal import POLL_S, Guard, conditions, telemetry_rows
from deploy.errors import TransientDeviceError

SECOND_NS = 10**9
COOL = {"thermal_status": 0}
HOT = {"thermal_status": 2}


def capped(pct, **more):
    return {"freq_cap_khz": {"cpu0": 10 * pct}, "freq_max_khz": {"cpu0": 1000}, **more}


class Device:
    """A clock that only sleeping and reading move, and sensors that follow a script to its end."""

    heat_from = "service"
    has_files = True

    def __init__(self, *script):
        self.script = list(script)
        self.now_ns, self.slept_s, self.said = 0, 0.0, []

    def read(self):
        self.now_ns += SECOND_NS // 10
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return Reading(at_ns=self.now_ns, **said)

    def glance(self):
        return self.read()

    def sleep(self, seconds):
        self.slept_s += seconds
        self.now_ns += int(seconds * SECOND_NS)

    def guard(self, max_wait_s=100.0):
        return Guard(
            self,
            max_wait_s,
            on_wait=self.said.append,
            sleep=self.sleep,
            clock_ns=lambda: self.now_ns,
        )


def test_a_cool_device_is_not_waited_for():
    device = Device(COOL)
    start = device.guard().wait()
    assert (device.slept_s, start.gave_up) == (0, False)


def test_a_hot_device_is_waited_for_until_it_is_cool_and_that_is_told():
    device = Device(HOT, HOT, COOL)
    start = device.guard().wait()
    assert device.slept_s == 2 * POLL_S
    assert start.waited_ns == pytest.approx(2 * POLL_S * SECOND_NS, rel=0.1)
    assert not start.gave_up
    assert device.said == ["waiting for the device to cool (thermal status 2)"] * 2


def test_waiting_has_a_bound_and_the_launch_is_throttled_then():
    device = Device(HOT)
    guard = device.guard(max_wait_s=20)  # asked every 2 s
    start = guard.wait()
    assert start.gave_up
    assert device.slept_s == pytest.approx(20, abs=2)
    assert guard.throttled(start, [guard.after()]) == "thermal status 2"


def test_a_pause_that_is_asked_for_comes_first():
    device = Device(COOL)
    assert device.guard().wait(3.0).waited_ns >= 3 * SECOND_NS


@pytest.mark.parametrize("after", [HOT, capped(60)])
def test_what_got_hot_or_capped_under_way_is_throttled(after):
    guard = Device(capped(100, **COOL), after).guard()
    start = guard.wait()
    assert guard.throttled(start, [guard.after()]) is not None


def test_a_cap_that_was_there_only_in_the_middle_is_throttled():
    device = Device(capped(100, **COOL), capped(60), capped(100, **COOL))
    guard = device.guard()
    start = guard.wait()
    with guard.glancing(first_s=0.0, every_s=60.0) as seen:
        while not seen:
            time.sleep(0.001)
    later = [*seen, guard.after()]
    assert guard.throttled(start, later) == "a core is capped to 60 % of its frequency"
    assert conditions(device, start, later, "so")["freq_cap_min_pct"] == 60.0


def test_a_launch_shorter_than_the_first_glance_has_none():
    with Device(COOL).guard().glancing() as seen:
        pass
    assert seen == []


def test_a_device_that_shows_no_clocks_is_not_woken_for_a_glance():
    device = Device(COOL)
    device.has_files = False
    device.glance = lambda: pytest.fail("it was woken")
    with device.guard().glancing(first_s=0.0, every_s=0.001) as seen:
        time.sleep(0.05)  # what is looked for is that nothing happens
    assert seen == []


def test_a_device_that_is_gone_for_a_glance_is_glanced_at_again():
    device = Device(COOL)
    asked = []

    def gone_at_first():
        asked.append(None)
        if len(asked) == 1:
            raise TransientDeviceError("the phone is gone", "wait")
        return device.read()

    device.glance = gone_at_first
    with device.guard().glancing(first_s=0.0, every_s=0.001) as seen:
        while not seen:
            time.sleep(0.001)
    assert len(asked) > len(seen)


def test_a_cap_that_goes_away_is_waited_for():
    device = Device(capped(60), capped(100))
    start = device.guard().wait()
    assert (device.slept_s, start.reading.cap_pct) == (POLL_S, 100.0)


def test_a_cap_that_stays_from_the_start_is_how_the_device_is():
    device = Device(capped(60, **COOL))
    guard = device.guard(max_wait_s=20)
    start = guard.wait()
    assert not start.gave_up
    assert guard.throttled(start, [guard.after()]) is None
    slept_s = device.slept_s
    device.now_ns += 60 * SECOND_NS
    guard.wait()
    assert device.slept_s == slept_s


def test_how_a_device_is_shows_once_it_is_cool():
    device = Device(capped(60, **HOT))
    guard = device.guard(max_wait_s=20)
    assert guard.wait().gave_up
    device.script = [capped(60, **COOL)]
    device.now_ns += 60 * SECOND_NS
    assert not guard.wait().gave_up


def test_below_such_a_cap_it_is_throttled_all_the_same():
    device = Device(capped(60, **COOL))
    guard = device.guard(max_wait_s=0)
    start = guard.wait()
    device.script = [capped(40, **COOL)]
    assert guard.throttled(start, [guard.after()]) == "a core is capped to 40 % of its frequency"


def test_a_device_that_tells_nothing_is_never_waited_for():
    device = Device({})
    guard = device.guard()
    start = guard.wait()
    assert device.slept_s == 0
    assert guard.throttled(start, [guard.after()]) is None


def test_between_two_launches_that_follow_each_other_it_is_read_once():
    device = Device(COOL)
    guard = device.guard()
    guard.wait()
    after = guard.after()
    assert guard.wait().reading is after
    device.now_ns += 10 * SECOND_NS
    assert guard.wait().reading is not after


def test_conditions_hold_the_start_and_the_worst_of_both_ends():
    device = Device(
        capped(100, thermal_status=0, temps_c={"skin": 30.0}, loadavg1=0.5),
        capped(90, thermal_status=1, temps_c={"skin": 41.0}, loadavg1=2.0),
    )
    guard = device.guard()
    start = guard.wait()
    columns = conditions(device, start, [guard.after()], "thermal status 1")
    assert columns["thermal_source"] == "service"
    assert (columns["thermal_status_start"], columns["thermal_status_max"]) == (0, 1)
    assert (columns["temp_start_c"], columns["temp_max_c"]) == (30.0, 41.0)
    assert (columns["freq_cap_min_pct"], columns["loadavg1_start"]) == (90.0, 0.5)
    assert columns["throttled"] is True


def test_where_nothing_is_known_throttling_is_unknown_too():
    device = Device({})
    device.heat_from = "none"
    guard = device.guard()
    assert conditions(device, guard.wait(), [guard.after()], None)["throttled"] is None


def test_a_reading_is_a_row_for_each_sensor_that_told_something():
    reading = Reading(at_ns=1, temps_c={"skin": 30.5}, freq_cap_khz={"cpu4": 2800})
    rows = telemetry_rows("r", reading, 5)
    assert {(row.t_ns, row.metric, row.source, row.value) for row in rows} == {
        (5, "temp_c", "skin", 30.5),
        (5, "freq_cap_khz", "cpu4", 2800.0),
    }
