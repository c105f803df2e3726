import json

import pytest

from android_bench.adb import AdbDevice
from android_bench.device import Completed
from android_bench.phone_info import _count, parse_properties, read_info
from deploy.errors import DeviceError


def test_a_phone_says_what_it_is(start_phone):
    phone = start_phone()
    info = AdbDevice(phone.serial).info()
    assert info.name == "Example Phone 14"
    assert info.is_phone
    assert (info.abi, info.os, info.cpu, info.cpu_cores) == (
        "arm64-v8a",
        "Android 14",
        "Example SOC8000",
        2,
    )
    assert info.mem_total_bytes == 7724356 * 1024
    assert (info.manufacturer, info.model, info.soc) == ("Example", "Phone 14", "Example SOC8000")
    assert (info.android_release, info.sdk) == ("14", 34)
    assert info.build_fingerprint == "example/phone/phone:14/AP1A.240505.004/1:user/release-keys"
    assert json.loads(info.cpu_max_freq_khz) == [1804800, 2841600]
    assert info.governor == "schedutil"
    assert info.is_emulator is False
    assert info.page_size_bytes % 4096 == 0


@pytest.mark.parametrize("profile", ["android7", "adbd2015"])
def test_an_old_phone_says_what_it_can(start_phone, profile):
    info = AdbDevice(start_phone(profile).serial).info()
    assert (info.sdk, info.android_release, info.soc) == (24, "7.0", "example")
    assert info.page_size_bytes % 4096 == 0  # from smaps: its toybox has no getconf
    assert json.loads(info.cpu_max_freq_khz) == [1804800, 2841600]


def test_neither_its_serial_nor_its_serial_number_is_told(start_phone):
    phone = start_phone()
    number = phone.tree.properties()["ro.serialno"]
    told = str(AdbDevice(phone.serial).info())
    assert phone.serial not in told
    assert number not in told


def test_a_phone_is_the_same_one_on_another_address(start_phone):
    first, second = start_phone(), start_phone()
    second.tree.set_properties(first.tree.properties())
    ids = {AdbDevice(phone.serial).info().device_id for phone in (first, second)}
    assert len(ids) == 1


def test_two_phones_of_one_model_are_two(start_phone):
    assert len({AdbDevice(start_phone().serial).info().device_id for _ in range(2)}) == 2


def test_it_is_asked_once(start_phone):
    phone = start_phone()
    device = AdbDevice(phone.serial)
    device.info()
    commands = len(phone.commands)
    device.info()
    assert len(phone.commands) == commands


def test_a_phone_that_tells_nothing_is_still_one():
    info = read_info("R5", lambda command: Completed(0, "", "", 1))
    assert (info.name, info.abi, info.cpu_cores) == ("an Android device", "", 1)
    assert (info.sdk, info.governor, info.cpu_max_freq_khz, info.kernel) == (None,) * 4


def test_an_emulator_is_called_one():
    def shell(command):
        return Completed(0, "[ro.kernel.qemu]: [1]\n" if command == "getprop" else "", "", 1)

    assert read_info("emulator-5554", shell).is_emulator


def test_an_absent_phone_is_an_error(private_adb):
    with pytest.raises(DeviceError, match="there is no phone R5"):
        AdbDevice("R5").info()


@pytest.mark.parametrize(("text", "cores"), [("0-7", 8), ("0-3,6", 5), ("0", 1), ("", 0)])
def test_cores_are_counted(text, cores):
    assert _count(text) == cores


def test_properties_with_brackets_and_line_ends_of_a_terminal_are_read():
    text = "[a.b]: [x [y] z]\r\n[empty]: []\r\n"
    assert parse_properties(text) == {"a.b": "x [y] z"}
