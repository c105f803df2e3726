import socket
import threading
import time

import pytest

from android_bench.devices import find_device, list_devices
from android_bench.host import HostDevice
from deploy.errors import DeviceError, UsageError

PHONES = "R58M\tdevice product:a model:SM_G991B device:o1s\n0123\tunauthorized usb:1-1\n"


@pytest.fixture
def no_adb_program(tmp_path, monkeypatch):
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


def okay(text):
    return b"OKAY" + f"{len(text):04x}{text}".encode()


def test_host_is_this_machine():
    assert isinstance(find_device("host"), HostDevice)


def test_without_a_server_there_is_the_host_alone_and_none_is_started(no_server):
    assert [one.name for one in list_devices()] == ["host"]
    assert not no_server.exists()


def test_an_unknown_device_is_an_error_that_names_it_and_what_there_is(no_server):
    with pytest.raises(UsageError) as refused:
        find_device("hots")
    assert str(refused.value) == (
        "no device 'hots', there is: host: "
        "pass --device host; only `host` can be measured by this version"
    )


def test_phones_are_listed_with_their_state_and_not_as_measurable(adb_server):
    adb_server(okay(PHONES))
    listed = list_devices()
    assert [(one.name, one.state, one.measurable) for one in listed] == [
        ("host", "ready", True),
        ("R58M", "device", False),
        ("0123", "unauthorized", False),
    ]
    assert listed[1].description == "SM G991B"


def test_a_connected_phone_is_refused_by_its_serial(adb_server):
    adb_server(okay(PHONES))
    with pytest.raises(DeviceError, match=r"0123 is connected.*only `host` can be measured"):
        find_device("0123")


def test_an_unknown_device_beside_phones_is_told_their_serials(adb_server):
    adb_server(okay(PHONES))
    with pytest.raises(UsageError, match="there is: host, R58M, 0123"):
        find_device("R58N")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"OKAYzzzz", b"OKAY", b""])
def test_another_service_on_that_port_is_no_list_of_phones(adb_server, answer):
    adb_server(answer)
    assert [one.name for one in list_devices()] == ["host"]


def test_a_server_that_does_not_answer_is_soon_left_alone(no_server, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(silent.getsockname()[1]))
        start = time.monotonic()
        assert [one.name for one in list_devices()] == ["host"]
        assert time.monotonic() - start < 10
