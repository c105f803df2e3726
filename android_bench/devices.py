"""From a device's name to the device, and the list of what there is."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from android_bench.adb import AdbDevice
from android_bench.adb_call import READY, list_states, start_server, state_error
from android_bench.arm64 import NAME as ARM64
from android_bench.arm64 import EmulatedArm
from android_bench.arm64_cpus import CPUS, DEFAULT_CPU, find_cpu
from android_bench.arm64_pieces import find_pieces
from android_bench.device import Device
from android_bench.host import HostDevice
from deploy.errors import DeviceError, UsageError

if TYPE_CHECKING:
    from adbutils import AdbClient

HOST = "host"
PHONE = "phone"  # the only one that is ready
ALL = "all"  # every phone that is ready
USB_DEVICES = Path("/sys/bus/usb/devices")
ADB_INTERFACE = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
ADB_CODES = ["ff", "42", "01"]
ADB_ANSWER_S = 0.5  # a server on this machine answers within milliseconds


@dataclass(frozen=True)
class ListedDevice:
    """One line of the list of devices.

    Attributes:
        name: what `find_device` takes: `host`, `arm64`, or the serial of a phone.
        state: `ready`, or the state that adb reports.
        description: what it is.
        measurable: whether it can be measured on as it is.
    """

    name: str
    state: str
    description: str
    measurable: bool


def find_device(name: str, *, keep: bool = False, touch: bool = True) -> Device:
    """Give the device of that name: `host`, the serial of a phone, or `phone` for the only one.

    Raises:
        DeviceError: the phone cannot be used as it is.
        UsageError: there is no device of that name, or it stands for several.
    """
    found = find_devices(name, keep=keep, touch=touch)
    if len(found) > 1:
        raise UsageError(f"{name!r} is {len(found)} devices", "name one of them")
    return found[0]


def find_timed_device(name: str) -> Device:
    """Give the device of that name as `find_device`, if it has a clock.

    Raises:
        DeviceError, UsageError: see `find_device`; or it only counts instructions.
    """
    device = find_device(name)
    if isinstance(device, EmulatedArm):
        raise UsageError(
            f"{name} counts instructions, and this command takes times",
            f"measure on {HOST} or a phone; `mofa-deploy bench --device {ARM64}` counts",
        )
    return device


def find_devices(
    text: str,
    *,
    keep: bool = False,
    touch: bool = True,
    cpu: str = DEFAULT_CPU,
    on_left_out: Callable[[str], None] = lambda why: None,
) -> list[Device]:
    """Give devices by a list of names, parted by commas; each once.

    A name is `host`, `arm64`, the serial of a phone, `phone` for the only one that is ready, or
    `all` for every phone that is ready. An adb server is started only if a phone is asked for.

    Args:
        keep, touch: see `AdbDevice`.
        cpu: the core that `arm64` emulates, a name of `arm64_cpus.CPUS`.
        on_left_out: told why a phone that is there is none of `phone` or `all`, and what to do.

    Raises:
        DeviceError: none can be used as it is. One of several is given all the same, also where it
            is not there, and refuses what it is asked.
        UsageError: there is no device of the only name, or no such core; those that there are, are
            named.
    """
    core = find_cpu(cpu)
    names = [name for name in (part.strip() for part in text.split(",")) if name]
    if not names:
        raise UsageError("no device is named", f"pass {HOST}, {ARM64}, a serial, {PHONE} or {ALL}")
    states: dict[str, str] = {}
    if set(names) - {HOST, ARM64}:
        start_server()
        states = list_states()
    several = len(set(names)) > 1
    serials = dict.fromkeys(
        serial for name in names for serial in _serials(name, states, several=several)
    )
    if len(serials) == 1:
        _require_ready(next(iter(serials)), states)
    for serial, state in states.items() if {PHONE, ALL} & set(names) else ():
        if state != READY and serial not in serials:
            on_left_out(f"left out: {state_error(serial, state)}")
    here: dict[str, Callable[[], Device]] = {HOST: HostDevice, ARM64: lambda: EmulatedArm(core)}
    return [
        here[serial]() if serial in here else AdbDevice(serial, keep=keep, touch=touch)
        for serial in serials
    ]


def emulated_cores() -> list[EmulatedArm]:
    """Give a device for every core that can be emulated here.

    Raises:
        DeviceError: pieces of the emulation are missing.
    """
    find_pieces()
    return [EmulatedArm(core) for core in CPUS.values()]


def list_devices() -> list[ListedDevice]:
    """Give this machine, the emulated ARM core, then every phone that the adb server knows.

    A server is started only if a phone hangs on USB: it would open a port for a mere question.

    Raises:
        DeviceError: it cannot be started.
    """
    info = HostDevice().info()
    described = f"{info.cpu}, {info.cpu_cores} cores, {info.abi}, {info.os}"
    if has_phone_on_usb(USB_DEVICES):
        start_server()
    here = [ListedDevice(HOST, "ready", described, measurable=True), list_emulated()]
    return [*here, *list_phones()]


def list_emulated() -> ListedDevice:
    """Give the emulated ARM core, or what it lacks."""
    cores = ", ".join(CPUS)
    try:
        pieces = find_pieces()
    except DeviceError as error:
        return ListedDevice(ARM64, "not set up", str(error), measurable=False)
    described = (
        f"emulated core ({cores}) that counts instructions, by qemu {pieces.emulator.version} with "
        f"onnxruntime {pieces.library_version}"
    )
    return ListedDevice(ARM64, "ready", described, measurable=True)


def list_phones() -> list[ListedDevice]:
    """Give every phone that a running adb server knows; none where no server answers at once."""
    from adbutils import AdbClient, AdbError

    client = AdbClient(socket_timeout=ADB_ANSWER_S)
    if not _answers(client):
        return []
    try:
        phones = client.list(extended=True)
    except (AdbError, OSError, ValueError):  # something else listens on that port
        return []
    return [
        ListedDevice(
            one.serial,
            "ready" if one.state == READY else one.state,
            _describe_phone(one.tags),
            measurable=one.state == READY,
        )
        for one in phones
    ]


def has_phone_on_usb(devices: Path) -> bool:
    """Say whether Linux sees an interface for adb on USB; elsewhere nothing is known, so no.

    Args:
        devices: the kernel's folder of them.

    Source: AOSP packages/modules/adb, adb.h: ADB_CLASS, ADB_SUBCLASS, ADB_PROTOCOL.
    """
    return any(
        [_first_word(interface.parent / name) for name in ADB_INTERFACE] == ADB_CODES
        for interface in devices.glob("*/bInterfaceClass")
    )


def _first_word(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # pulled out just now
        return ""


def _serials(name: str, states: dict[str, str], *, several: bool) -> Sequence[str]:
    """Give the devices that a name stands for, `host` by its name and phones by their serials.

    Args:
        several: other names are asked for as well, which a phone that is gone does not stop.
    """
    if name in (HOST, ARM64):
        return [name]
    if name in states:
        return [name]
    if name not in (PHONE, ALL):
        if several:
            return [name]
        there_is = ", ".join([HOST, ARM64, *states])
        raise UsageError(f"no device {name!r}, there is: {there_is}", f"pass --device {HOST}")
    ready = sorted(serial for serial, state in states.items() if state == READY)
    if not ready:
        raise _none_ready(states)
    if name == PHONE and len(ready) > 1:
        raise UsageError(
            f"there are {len(ready)} phones: {', '.join(ready)}", f"name one, or pass {ALL}"
        )
    return ready


def _require_ready(serial: str, states: dict[str, str]) -> None:
    if serial in states and states[serial] != READY:
        raise state_error(serial, states[serial])


def _none_ready(states: dict[str, str]) -> DeviceError:
    """Give the error of the first phone that is there, or that there is none."""
    for serial, state in states.items():
        return state_error(serial, state)
    return DeviceError(
        "there is no phone", "plug one in and allow USB debugging in its developer options"
    )


def _answers(client: "AdbClient") -> bool:
    """Say whether anything listens where the server would; adbutils would start one if not."""
    try:
        with socket.create_connection((client.host, client.port), ADB_ANSWER_S):
            return True
    except OSError:
        return False


def _describe_phone(tags: dict[str, str]) -> str:
    return tags.get("model", "").replace("_", " ") or "an Android device"
