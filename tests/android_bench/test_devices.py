import socket
import threading
import time

import pytest

from android_bench.adb import AdbDevice
from android_bench.arm64 import EmulatedArm
from android_bench.devices import (
    ADB_CODES,
    ADB_INTERFACE,
    find_device,
    find_devices,
    find_timed_device,
    has_phone_on_usb,
    list_devices,
)
from android_bench.host import HostDevice
from deploy.errors import DeviceError, UsageError

PHONES = "R58M\tdevice product:a model:SM_G991B device:o1s\n0123\tunauthorized usb:1-1\n"


@pytest.fixture
def usb(tmp_path, monkeypatch):
    """What hangs on USB: nothing, whatever hangs there."""
    monkeypatch.setattr("android_bench.devices.USB_DEVICES", tmp_path / "usb")
    return tmp_path / "usb"


@pytest.fixture
def no_adb_program(tmp_path, usb, monkeypatch):
    """An adb program that leaves a mark where it is started."""
    mark = tmp_path / "adb-was-started"
    program = tmp_path / "adb"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(program))
    return mark


@pytest.fixture
def adb_server(no_adb_program, monkeypatch):
    """Give a function that lets a server on loopback answer each request with these bytes."""
    listening = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("ANDROID_ADB_SERVER_HOST", "127.0.0.1")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(listening.getsockname()[1]))
    threads = []

    def serve(answer):
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # closed: the test is over
                return
            with connection:
                length = connection.recv(4)
                if length:
                    connection.recv(int(length, 16))
                    connection.sendall(answer)

    def answer_with(answer):
        threads.append(threading.Thread(target=serve, args=[answer]))
        threads[0].start()

    yield answer_with
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for thread in threads:
        thread.join()


@pytest.fixture
def no_server(no_adb_program, monkeypatch):
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    monkeypatch.setenv("ANDROID_ADB_SERVER_HOST", "127.0.0.1")
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    return no_adb_program


def plug_in(usb, codes):
    (usb / "1-2:1.0").mkdir(parents=True)
    for name, code in zip(ADB_INTERFACE, codes, strict=True):
        (usb / "1-2:1.0" / name).write_text(f"{code}\n")


def okay(text):
    return b"OKAY" + f"{len(text):04x}{text}".encode()


def test_host_is_this_machine():
    assert isinstance(find_device("host"), HostDevice)


def test_the_emulated_core_is_found_without_starting_a_server(no_server):
    (found,) = find_devices("arm64", cpu="a53")
    assert isinstance(found, EmulatedArm)
    assert found.cpu.name == "a53"
    assert not no_server.exists()


def test_the_emulated_core_is_none_that_takes_times():
    with pytest.raises(UsageError, match="arm64 counts instructions, and this command takes times"):
        find_timed_device("arm64")
    assert isinstance(find_timed_device("host"), HostDevice)


def test_without_a_server_there_is_what_is_here_and_none_is_started(no_server):
    assert [one.name for one in list_devices()] == ["host", "arm64"]
    assert not no_server.exists()


def test_the_host_is_found_without_starting_a_server(no_server):
    assert isinstance(find_devices("host,host")[0], HostDevice)
    assert not no_server.exists()


def test_phones_are_listed_with_their_state_and_whether_they_can_be_measured(adb_server):
    adb_server(okay(PHONES))
    listed = list_devices()
    assert [(one.name, one.state, one.measurable) for one in listed[2:]] == [
        ("R58M", "ready", True),
        ("0123", "unauthorized", False),
    ]
    assert listed[2].description == "SM G991B"


def test_a_phone_is_found_by_its_serial(start_phone):
    phone = start_phone()
    found = find_device(phone.serial)
    assert isinstance(found, AdbDevice)
    assert found.serial == phone.serial


def test_an_unknown_device_is_an_error_that_names_it_and_what_there_is(start_phone):
    phone = start_phone()
    with pytest.raises(UsageError) as refused:
        find_device("hots")
    assert str(refused.value) == (
        f"no device 'hots', there is: host, arm64, {phone.serial}: pass --device host"
    )


@pytest.mark.parametrize(
    ("codes", "phone"), [(("ff", "42", "01"), True), (("08", "06", "50"), False)]
)
def test_a_phone_on_usb_is_known_by_its_interface_for_adb(tmp_path, codes, phone):
    plug_in(tmp_path, codes)
    assert has_phone_on_usb(tmp_path) is phone


def test_a_phone_on_usb_is_listed_by_a_server_that_is_started_for_it(no_server, usb):
    plug_in(usb, ADB_CODES)
    list_devices()
    assert no_server.exists()


def test_where_nothing_is_known_of_usb_no_phone_is(tmp_path):
    assert not has_phone_on_usb(tmp_path / "none")


def test_no_name_is_an_error():
    with pytest.raises(UsageError, match="no device is named"):
        find_devices(" , ")


def test_several_devices_are_found_by_their_names_each_once(start_phone):
    first, second = start_phone(), start_phone("android7")
    found = find_devices(f"{second.serial}, host,{first.serial},{second.serial}")
    assert [getattr(one, "serial", "host") for one in found] == [
        second.serial,
        "host",
        first.serial,
    ]


def test_all_is_every_phone_that_is_ready(start_phone):
    first, second, third = (start_phone() for _ in range(3))
    second.become("recovery")
    ready = sorted([first.serial, third.serial])
    assert [one.serial for one in find_devices("all")] == ready


def test_a_phone_that_all_leaves_out_is_told_with_what_to_do(start_phone):
    ready, locked, recovering = (start_phone() for _ in range(3))
    locked.become(authorized=False)
    recovering.become("recovery")
    told = []
    assert [one.serial for one in find_devices("all", on_left_out=told.append)] == [ready.serial]
    assert sorted(told) == sorted(
        [
            f"left out: {locked.serial} is unauthorized: "
            "unlock its screen and allow this computer to debug it",
            f"left out: {recovering.serial} is in recovery mode: "
            "leave the recovery: run `adb reboot`",
        ]
    )


def test_a_phone_that_is_not_asked_for_is_not_told_of(start_phone):
    phone, locked = start_phone(), start_phone()
    locked.become(authorized=False)
    told = []
    find_devices(phone.serial, on_left_out=told.append)
    assert told == []


def test_phone_is_the_only_one_that_is_ready(start_phone):
    locked, phone = start_phone(), start_phone()
    locked.become(authorized=False)
    assert find_device("phone").serial == phone.serial


def test_phone_where_there_are_two_is_an_error_that_names_both(start_phone):
    both = ", ".join(sorted([start_phone().serial, start_phone().serial]))
    with pytest.raises(UsageError, match=f"2 phones: {both}: name one"):
        find_device("phone")


def test_all_is_no_single_device(start_phone):
    start_phone(), start_phone()
    with pytest.raises(UsageError, match="'all' is 2 devices: name one of them"):
        find_device("all")


def test_all_where_no_phone_is_ready_says_what_to_do_about_the_one_there_is(start_phone):
    phone = start_phone()
    phone.become(authorized=False)
    with pytest.raises(DeviceError, match="unauthorized: unlock its screen"):
        find_devices("all")


def test_all_where_there_is_no_phone_says_so(private_adb):
    with pytest.raises(DeviceError, match="there is no phone: plug one in"):
        find_devices("all")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"OKAYzzzz", b"OKAY", b""])
def test_another_service_on_that_port_is_no_list_of_phones(adb_server, answer):
    adb_server(answer)
    assert [one.name for one in list_devices()] == ["host", "arm64"]


def test_a_server_that_does_not_answer_is_soon_left_alone(no_server, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(silent.getsockname()[1]))
        start = time.monotonic()
        assert [one.name for one in list_devices()] == ["host", "arm64"]
        assert time.monotonic() - start < 10
