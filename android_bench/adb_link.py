"""The way to one phone: its shell, and the wait for it when it has gone away."""

import re
import time

from android_bench.adb_call import ABSENT, READY, STATES, call_adb, phone_state, state_error
from android_bench.adb_shell import quote, run_shell
from android_bench.device import Completed
from deploy.errors import DeviceError, TransientDeviceError

COMMAND_S = 30.0  # for a small command: a phone that is busy or asleep takes seconds
POLL_S = 0.25
BOOTED = "sys.boot_completed"  # a property that is 1 when the start is over
OVER_NETWORK = re.compile(r".+:\d+")  # a serial that the server can be told to connect to


class Link:
    """A phone as adb knows it.

    Attributes:
        serial: adb's name for it.
    """

    def __init__(self, serial: str) -> None:
        self.serial = serial
        self._was_there = False  # once it was, that it is absent may pass

    def shell(self, command: str, timeout_s: float = COMMAND_S) -> Completed:
        """Run a command in its shell; every word that is not ours went through `quote`.

        Raises:
            DeviceError: it cannot be used.
            TransientDeviceError: the connection broke, or the time was up.
        """
        done = run_shell(self.serial, command, timeout_s, was_there=self._was_there)
        self._was_there = True
        return done

    def is_ready(self) -> bool:
        """Say whether it can be used just now."""
        return self._state() == READY

    def await_ready(self, timeout_s: float) -> None:
        """Wait until it can be used, and has finished starting.

        A server that has forgotten its address is told it again.

        Raises:
            DeviceError: it is in a state that does not pass by itself.
            TransientDeviceError: it did not come back in time.
        """
        deadline_s = time.monotonic() + timeout_s
        while (state := self._state()) != READY or not self._is_booted():
            passing = state in (ABSENT, READY) or STATES.get(state, ("", True))[1]
            if not passing or time.monotonic() >= deadline_s:
                raise self._unusable(state)
            if state != READY and OVER_NETWORK.fullmatch(self.serial):
                call_adb(["connect", self.serial], serial=None, timeout_s=COMMAND_S)
                if self.is_ready():
                    continue
            time.sleep(POLL_S)

    def _is_booted(self) -> bool:
        """Say whether Android is up, and not only its adb daemon."""
        try:
            return self.shell(quote("getprop", BOOTED)).stdout.strip() == "1"
        except TransientDeviceError:
            return False

    def _unusable(self, state: str) -> DeviceError:
        if state != READY:
            return state_error(self.serial, state, was_there=self._was_there)
        return TransientDeviceError(f"{self.serial} has not finished starting", "wait for it")

    def _state(self) -> str:
        try:
            return phone_state(self.serial)
        except TransientDeviceError:  # the server itself is busy
            return ABSENT
