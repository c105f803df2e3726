import json
import subprocess
import sys

import pytest

from android_bench.adb import AdbDevice
from android_bench.adb_lease import state_folder

AWAKE = "stay_on_while_plugged_in"


@pytest.fixture
def phone(start_phone):
    return start_phone()


def awake(phone) -> str:
    path = phone.tree.locate(f"/settings/global/{AWAKE}")
    return path.read_text().strip() if path.exists() else "null"


def notes():
    return list((state_folder() / "phones").glob("*.json"))


def test_a_phone_stays_awake_while_it_is_measured_and_is_then_as_before(phone):
    device = AdbDevice(phone.serial)
    device.run(["true"], 10)
    assert awake(phone) == "7"
    device.remove()
    assert awake(phone) == "0"
    assert notes() == []


def test_a_setting_that_was_not_there_is_not_there_again(phone):
    phone.tree.locate(f"/settings/global/{AWAKE}").unlink()
    device = AdbDevice(phone.serial)
    device.run(["true"], 10)
    assert awake(phone) == "7"
    device.remove()
    assert awake(phone) == "null"


def test_nothing_is_touched_where_that_is_asked(phone):
    device = AdbDevice(phone.serial, touch=False)
    device.run(["true"], 10)
    assert awake(phone) == "0"
    device.remove()
    assert not any("settings" in command for command in phone.commands)


def test_a_question_touches_nothing(phone):
    device = AdbDevice(phone.serial)
    device.info()
    device.query(["getprop"])
    device.remove()
    assert awake(phone) == "0"


def test_the_note_is_there_before_the_change(phone):
    seen = []
    phone.when("settings put", lambda: seen.extend(json.loads(one.read_text()) for one in notes()))
    device = AdbDevice(phone.serial)
    device.run(["true"], 10)
    device.remove()
    assert seen[0]["before"] == {f"global/{AWAKE}": "0"}


def test_what_a_killed_session_left_changed_is_put_back_by_the_next_one(phone):
    died = (
        "import os, sys; from android_bench.adb import AdbDevice; "
        "AdbDevice(sys.argv[1]).run(['true'], 10); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", died, phone.serial], check=False)
    assert awake(phone) == "7"
    device = AdbDevice(phone.serial)
    device.run(["true"], 10)
    device.remove()
    assert awake(phone) == "0"
    assert notes() == []


def test_of_two_sessions_the_last_one_puts_back(phone):
    first, second = AdbDevice(phone.serial), AdbDevice(phone.serial)
    first.run(["true"], 10)
    second.run(["true"], 10)
    first.remove()
    assert awake(phone) == "7"
    second.remove()
    assert awake(phone) == "0"


def test_a_phone_that_is_gone_at_the_end_is_put_back_when_it_is_used_next(phone):
    device = AdbDevice(phone.serial)
    device.run(["true"], 10)
    phone.unplug()
    device.remove()
    phone.plug()
    assert awake(phone) == "7"
    after = AdbDevice(phone.serial)
    after.run(["true"], 10)
    after.remove()
    assert awake(phone) == "0"


def test_a_phone_without_settings_is_measured_all_the_same(phone):
    phone.tree.fail("settings", "not found")
    device = AdbDevice(phone.serial)
    assert device.run(["true"], 10).exit_code == 0
    device.remove()
