"""From a device's name to the device, and the list of what there is."""

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from android_bench.device import Device
from android_bench.host import HostDevice
from deploy.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from adbutils import AdbClient

HOST = "host"
ADB_ANSWER_S = 0.5  # a server on this machine answers within milliseconds
ONLY_HOST = f"only `{HOST}` can be measured by this version"


@dataclass(frozen=True)
class ListedDevice:
    """One line of the list of devices.

    Attributes:
        name: what `find_device` takes: `host`, or the serial of a phone.
        state: `ready`, or the state that adb reports.
        description: what it is.
        measurable: whether this version can measure on it.
    """

    name: str
    state: str
    description: str
    measurable: bool


def find_device(name: str) -> Device:
    """Give the device of that name.

    Raises:
        DeviceError: it is a phone that is connected; this version cannot measure on phones.
        UsageError: there is no device of that name; those that there are, are named.
    """
    if name == HOST:
        return HostDevice()
    phones = {phone.name: phone for phone in list_phones()}
    if name in phones:
        raise DeviceError(
            f"{name} is connected ({phones[name].state}), but {ONLY_HOST}", f"pass --device {HOST}"
        )
    there_is = ", ".join([HOST, *phones])
    raise UsageError(
        f"no device {name!r}, there is: {there_is}", f"pass --device {HOST}; {ONLY_HOST}"
    )


def list_devices() -> list[ListedDevice]:
    """Give this machine, then every phone that a running adb server knows."""
    info = HostDevice().info()
    described = f"{info.cpu}, {info.cpu_cores} cores, {info.abi}, {info.os}"
    return [ListedDevice(HOST, "ready", described, measurable=True), *list_phones()]


def list_phones() -> list[ListedDevice]:
    """Give every phone that a running adb server knows; none where no server answers at once.

    No server is ever started: that would open a port and touch the phones for a mere question.
    """
    from adbutils import AdbClient, AdbError

    client = AdbClient(socket_timeout=ADB_ANSWER_S)
    if not _answers(client):
        return []
    try:
        phones = client.list(extended=True)
    except (AdbError, OSError, ValueError):  # something else listens on that port
        return []
    return [
        ListedDevice(one.serial, one.state, _describe_phone(one.tags), measurable=False)
        for one in phones
    ]


def _answers(client: "AdbClient") -> bool:
    """Say whether anything listens where the server would; adbutils would start one if not."""
    try:
        with socket.create_connection((client.host, client.port), ADB_ANSWER_S):
            return True
    except OSError:
        return False


def _describe_phone(tags: dict[str, str]) -> str:
    return tags.get("model", "").replace("_", " ") or "an Android device"
