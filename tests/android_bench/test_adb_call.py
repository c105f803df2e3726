import socket

import pytest
from phone_examples import await_true, in_background

from android_bench.adb_call import (
    STATES,
    call_adb,
    list_states,
    parse_states,
    start_server,
    state_error,
)
from android_bench.adb_link import Link
from deploy.errors import DeviceError, TransientDeviceError

# `adb devices` of adb 36, composed after its source, transport.cpp and usb_linux.cpp
LISTED = b"""\
List of devices attached
R58M12ABCDE\tdevice
0123456789\tunauthorized
emulator-5554\toffline
9A\tno permissions (user in plugdev group; are your udev rules wrong?); see [http://x]
192.168.1.5:5555\tconnecting
R5\trecovery

"""


@pytest.fixture
def adb_program(tmp_path, monkeypatch):
    """Give a function that makes an adb program of a script for sh."""

    def write(script):
        program = tmp_path / "adb"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("ADBUTILS_ADB_PATH", str(program))

    return write


def test_the_states_of_phones_are_told_apart():
    assert parse_states(LISTED) == {
        "R58M12ABCDE": "device",
        "0123456789": "unauthorized",
        "emulator-5554": "offline",
        "9A": "no permissions",
        "192.168.1.5:5555": "connecting",
        "R5": "recovery",
    }


def test_each_state_has_a_next_step_of_its_own():
    steps = [step for step, passing in STATES.values() if not passing]
    assert len(set(steps)) == len(steps)


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ("absent", DeviceError, "there is no phone R5: plug it in"),
        ("unauthorized", DeviceError, "R5 is unauthorized: unlock its screen"),
        ("no permissions", DeviceError, "R5 is not open to this user (no permissions): install"),
        ("recovery", DeviceError, "R5 is in recovery mode: leave the recovery"),
        ("offline", TransientDeviceError, "R5 is offline: pull the cable"),
        ("device", TransientDeviceError, "the connection to R5 broke in the middle of a command"),
        ("something new", TransientDeviceError, "R5 is something new: plug it in again"),
    ],
)
def test_a_state_becomes_an_error_that_says_what_to_do(state, kind, said):
    error = state_error("R5", state)
    assert type(error) is kind
    assert str(error).startswith(said)


def test_a_phone_that_has_answered_before_may_come_back():
    error = state_error("R5", "absent", was_there=True)
    assert isinstance(error, TransientDeviceError)
    assert error.problem == "R5 is gone"


def test_an_adb_program_that_hangs_is_ended_at_the_time_limit(adb_program):
    adb_program("exec sleep 60")
    with pytest.raises(TransientDeviceError, match=r"R5 did not answer within 0\.2 s"):
        call_adb(["shell", "true"], serial="R5", timeout_s=0.2)


def test_a_missing_adb_program_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(tmp_path / "none"))
    with pytest.raises(DeviceError, match="the adb program cannot be run"):
        list_states()


def test_the_serial_is_always_named_and_the_arguments_arrive_as_they_are(adb_program):
    adb_program('for one in "$@"; do echo "<$one>"; done')
    answer = call_adb(["shell", "a b", "*"], serial="R5", timeout_s=10)
    assert answer.stdout == b"<-s>\n<R5>\n<shell>\n<a b>\n<*>\n"


def test_a_server_that_cannot_start_is_said(adb_program):
    adb_program("echo 'error: cannot bind listener: Address already in use' >&2; exit 1")
    with pytest.raises(DeviceError, match=r"does not start .cannot bind listener: Address already"):
        start_server()


def test_a_phone_that_never_was_is_no_phone(private_adb):
    with pytest.raises(DeviceError, match="there is no phone nothing: plug it in") as refused:
        Link("nothing").shell("true")
    assert not isinstance(refused.value, TransientDeviceError)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("recovery", "in recovery mode: leave"),
        ("sideload", "in sideload mode: leave"),
        ("unauthorized", "unauthorized: unlock its screen"),
    ],
)
def test_a_phone_in_a_state_of_no_use_says_what_to_do(start_phone, kind, said):
    phone = start_phone()
    if kind == "unauthorized":
        phone.become(authorized=False)
    else:
        phone.become(kind)
    with pytest.raises(DeviceError, match=said):
        Link(phone.serial).await_ready(5)


def test_a_phone_that_is_offline_is_waited_for_and_connected_to(start_phone):
    phone = start_phone()
    link = Link(phone.serial)
    phone.hang_up()
    assert not link.is_ready()
    phone.listen()
    link.await_ready(20)
    assert link.shell("echo here").stdout == "here\n"


def test_a_phone_that_is_still_starting_is_waited_for(start_phone):
    phone = start_phone()
    booted = phone.tree.properties()
    phone.tree.set_properties({**booted, "sys.boot_completed": ""})
    with in_background(lambda: Link(phone.serial).await_ready(30)) as done:
        await_true(lambda: len(phone.commands) > 2, "it was not asked again")
        assert not done.done()
        phone.tree.set_properties(booted)
        done.result()


def test_a_phone_that_never_finishes_starting_is_given_up(start_phone):
    phone = start_phone()
    phone.tree.set_properties({**phone.tree.properties(), "sys.boot_completed": ""})
    with pytest.raises(TransientDeviceError, match="has not finished starting"):
        Link(phone.serial).await_ready(0.2)


def test_a_phone_that_stays_away_is_given_up_in_time(start_phone):
    phone = start_phone()
    link = Link(phone.serial)
    link.shell("true")
    phone.unplug()
    with pytest.raises(TransientDeviceError, match="is gone: plug it in"):
        link.await_ready(0.5)


def test_the_server_is_started_anew_if_it_was_killed(start_phone, private_adb):
    phone = start_phone()
    link = Link(phone.serial)
    private_adb.stop()
    link.await_ready(20)
    assert link.shell("echo here").stdout == "here\n"
    socket.create_connection(("127.0.0.1", private_adb.port)).close()
