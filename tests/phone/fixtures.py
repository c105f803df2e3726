"""Fixtures for every test that needs a phone: `start_phone`, and the adb server under it."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from phone.adb_server import AdbServer, start_adb_server
from phone.emulated import EmulatedPhone


@pytest.fixture(scope="session")
def shared_adb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbServer]:
    """The one private server of a test run."""
    server = start_adb_server(tmp_path_factory.mktemp("adb"))
    yield server
    server.stop()


@pytest.fixture
def private_adb(
    shared_adb_server: AdbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AdbServer:
    """The private server, which adb programs that this process starts now talk to.

    What the harness notes about phones goes to a folder of the test as well.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, value in shared_adb_server.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("ANDROID_SERIAL", "ANDROID_ADB_SERVER_ADDRESS", "ADB_SERVER_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    return shared_adb_server


@pytest.fixture
def start_phone(private_adb: AdbServer, tmp_path: Path) -> Iterator[Callable[[str], EmulatedPhone]]:
    """Give a function that starts a phone of a profile and plugs it in: `start_phone("android7")`.

    Profiles are the files in `tests/phone/profiles`; `android14` is taken if none is named.
    """
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def start(profile: str = "android14") -> EmulatedPhone:
            folder = tmp_path / f"phone{next(numbers)}"
            return stack.enter_context(EmulatedPhone(folder, private_adb, profile=profile))

        yield start
