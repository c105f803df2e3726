"""The one door to the adb program: a list of arguments, the phone's serial, a time limit.

Whether a phone can be used is asked here too, so that every refusal says what to do about it.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from deploy.errors import DeviceError, TransientDeviceError

SERVER_START_S = 30.0  # the first call starts the server, which looks through USB for seconds
STATES_S = 10.0

READY = "device"
ABSENT = "absent"
NO_PERMISSIONS = "no permissions"

# What adb calls a phone that cannot be used -> what to do, and whether it may pass by itself.
STATES = {
    ABSENT: ("plug it in and allow USB debugging in its developer options", False),
    "offline": ("pull the cable and plug it in again, or run `adb reconnect offline`", True),
    "connecting": ("wait a moment", True),
    "authorizing": ("wait a moment", True),
    "unauthorized": ("unlock its screen and allow this computer to debug it", False),
    NO_PERMISSIONS: (
        "install the udev rules for Android devices (package android-sdk-platform-tools-common), "
        "then plug it in again",
        False,
    ),
    "recovery": ("leave the recovery: run `adb reboot`", False),
    "rescue": ("leave the rescue mode: run `adb reboot`", False),
    "sideload": ("leave the sideload mode: run `adb reboot`", False),
    "bootloader": ("leave the bootloader: run `fastboot reboot`", False),
    "host": ("pick a phone; this is a computer", False),
}


@dataclass(frozen=True)
class Answer:
    """What the adb program left: its status and its output, as bytes."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def said(self) -> str:
        """The last line it printed, for people."""
        text = (self.stdout + b"\n" + self.stderr).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1].removeprefix("adb: ").removeprefix("error: ") if lines else "no reason"


def call_adb(argv: Sequence[str], *, serial: str | None, timeout_s: float) -> Answer:
    """Run the adb program and give what it left; its status is the caller's to judge.

    Args:
        serial: of the phone; None only for what concerns no phone.

    Raises:
        DeviceError: there is no adb program that runs.
        TransientDeviceError: it did not end within the time limit.
    """
    program = _adb_program(os.environ.get("ADBUTILS_ADB_PATH"), os.environ.get("PATH"))
    chosen = ["-s", serial] if serial is not None else []
    try:
        done = subprocess.run(
            [program, *chosen, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            start_new_session=True,  # Ctrl-C is for us; what it ends on the phone, we say
        )
    except subprocess.TimeoutExpired as error:
        raise TransientDeviceError(
            f"{serial or 'adb'} did not answer within {timeout_s:g} s",
            "pull the cable and plug it in again; if that does not help, run `adb kill-server`",
        ) from error
    except OSError as error:
        raise DeviceError(
            f"the adb program cannot be run ({error.strerror})", "install adbutils again"
        ) from error
    return Answer(done.returncode, done.stdout, done.stderr)


def start_server() -> None:
    """See to it that an adb server runs. A server that runs already is left as it is.

    Raises:
        DeviceError: it cannot be started.
    """
    answer = call_adb(["start-server"], serial=None, timeout_s=SERVER_START_S)
    if answer.exit_code != 0:
        raise DeviceError(
            f"the adb server does not start ({answer.said})",
            "look for another program on its port (5037, or ANDROID_ADB_SERVER_PORT)",
        )


def list_states() -> dict[str, str]:
    """Give every phone that the server knows, by its serial, and the state that it is in.

    Raises:
        DeviceError: adb cannot be run.
        TransientDeviceError: the server does not answer.
    """
    return parse_states(call_adb(["devices"], serial=None, timeout_s=SERVER_START_S).stdout)


def parse_states(listed: bytes) -> dict[str, str]:
    """Give serial -> state from what `adb devices` prints."""
    lines = listed.decode("utf-8", "replace").splitlines()
    pairs = (line.split("\t", 1) for line in lines if "\t" in line)
    return {serial.strip(): _plain_state(state) for serial, state in pairs}


def phone_state(serial: str) -> str:
    """Give the state of a phone: `READY`, `ABSENT`, or another one that adb knows."""
    return list_states().get(serial, ABSENT)


def state_error(serial: str, state: str, *, was_there: bool = False) -> DeviceError:
    """Give the error that says why a phone cannot be used and what to do.

    Args:
        was_there: it has answered before, so it may well come back.
    """
    next_step, passing = STATES.get(state, ("plug it in again", True))
    kind = TransientDeviceError if passing or was_there else DeviceError
    if state == READY:
        return TransientDeviceError(
            f"the connection to {serial} broke in the middle of a command", "try again"
        )
    if state == ABSENT:
        problem = f"{serial} is gone" if was_there else f"there is no phone {serial}"
        return kind(problem, next_step)
    return kind(f"{serial} is {_with_article(state)}", next_step)


def _plain_state(state: str) -> str:
    """Take the advice off: `no permissions (user in plugdev group ...); see [http...]`."""
    return NO_PERMISSIONS if state.startswith(NO_PERMISSIONS) else state.strip().partition(" ")[0]


def _with_article(state: str) -> str:
    if state == NO_PERMISSIONS:
        return "not open to this user (no permissions)"
    if state in ("recovery", "rescue", "sideload", "bootloader"):
        return f"in {state} mode"
    return state


@cache
def _adb_program(named: str | None, path: str | None) -> str:
    """Give the adb program: the one that is named, the one in PATH, or the one of adbutils.

    The arguments are the environment that decides it, so that the answer can be kept.
    """
    from adbutils import AdbError, adb_path

    try:
        return adb_path()
    except AdbError as error:
        raise DeviceError("there is no adb program", "install adbutils again") from error
