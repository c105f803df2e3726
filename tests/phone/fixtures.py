"""Fixtures for every test that needs a phone.

`start_phone` starts emulated ones. `any_phone` is a device under test: an emulated phone of each
profile in turn, and the attached one that ATTACHED names, as `mofa-deploy --device` would.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from android_bench.adb import AdbDevice
from android_bench.device import Device
from android_bench.devices import PHONE, find_device
from deploy.errors import MofaError
from phone.adb_server import LEAD_ELSEWHERE, AdbServer, private_server
from phone.emulated import EmulatedPhone

ATTACHED = "MOFA_TEST_DEVICE"  # a serial, or `phone` for the only one there is
PROFILES = ("android14", "android7", "adbd2015")


@pytest.fixture(scope="session", autouse=True)
def adb_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbServer]:
    """The one private server of a test run: not started before a test needs it.

    Every program of every test is led to it, so that none starts, or uses, a developer's.
    """
    server = private_server(tmp_path_factory.mktemp("adb"))
    with pytest.MonkeyPatch.context() as patch:
        if ATTACHED not in os.environ:
            for name in LEAD_ELSEWHERE:
                patch.delenv(name, raising=False)
            for name in server.environment.keys() - {"HOME", "TMPDIR"}:
                patch.setenv(name, server.environment[name])
        yield server
    server.stop()


@pytest.fixture
def private_adb(
    adb_of_the_tests: AdbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AdbServer:
    """The private server, which adb programs that this process starts now talk to.

    What the harness notes about phones goes to a folder of the test as well.
    """
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    adb_of_the_tests.start()
    for name, value in adb_of_the_tests.environment.items():
        monkeypatch.setenv(name, value)
    for name in LEAD_ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    return adb_of_the_tests


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


def attached_phone() -> Device:
    """Give the phone that ATTACHED names; where it names just any one and none is there, skip."""
    name = os.environ.get(ATTACHED)
    if name is None:
        pytest.skip(f"{ATTACHED} names no attached phone")
    try:
        return find_device(name)
    except MofaError as error:
        if name != PHONE:
            raise
        pytest.skip(str(error))


@pytest.fixture(params=[*PROFILES, *(["attached"] if ATTACHED in os.environ else [])])
def any_phone(request: pytest.FixtureRequest) -> Iterator[AdbDevice]:
    """A phone as a device, emulated or real."""
    if request.param != "attached":
        start_phone = request.getfixturevalue("start_phone")
        device = AdbDevice(start_phone(request.param).serial)
    else:
        device = attached_phone()
    yield device
    device.remove()
