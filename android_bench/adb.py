"""A phone over adb as a `Device`: it outlives a pulled cable, and leaves nothing behind."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TypeVar

from android_bench.adb_link import Link
from android_bench.adb_run import Launches
from android_bench.adb_session import Session, close_session, open_session
from android_bench.adb_shell import quote
from android_bench.device import Completed, DeviceInfo
from android_bench.phone_info import read_info
from android_bench.phone_settings import change_settings, restore_settings
from deploy.errors import DeviceError, TransientDeviceError

RETURN_S = 60.0  # how long a phone may be gone in the middle of a launch or a transfer
TRANSFER_TRIES = 3

Transferred = TypeVar("Transferred")


class AdbDevice:
    """The `Device` that is a phone. The session's folder is made when it is first needed.

    Attributes:
        serial: adb's name for it.
    """

    def __init__(
        self, serial: str, *, keep: bool = False, touch: bool = True, return_s: float = RETURN_S
    ) -> None:
        """Name a phone; nothing is asked of it yet.

        Args:
            keep: `remove` leaves the session's folder and the cached files on the phone, until a
                session without `keep` starts there.
            touch: settings that disturb a measurement may be changed; they are put back.
            return_s: how long it may be gone in the middle of a launch before that is given up.
        """
        self.serial = serial
        self._keep, self._touch, self._return_s = keep, touch, return_s
        self._link = Link(serial)
        self._info: DeviceInfo | None = None
        self._session: Session | None = None
        self._launches: Launches | None = None

    def info(self) -> DeviceInfo:
        """Say what the phone is. It is asked once.

        Raises:
            DeviceError: it is absent, or in a state that it cannot be used in.
        """
        if self._info is None:
            self._info = read_info(self.serial, self._link.shell)
        return self._info

    def query(self, argv: Sequence[str], timeout_s: float = 10.0) -> Completed:
        """Run a short program on the phone, such as getprop, dumpsys or cat, and wait for it.

        It does not run in the session's folder, opens no session, and dies with the connection.

        Raises:
            DeviceError: the phone cannot be used.
            TransientDeviceError: the connection broke, or the time was up.
        """
        return self._link.shell(quote(*argv), timeout_s)

    def push(self, local: Path, name: str) -> PurePosixPath:
        """Put a file into the session's folder; give its path there. It may be executed.

        What the phone has already is not sent again. A phone that goes away meanwhile is waited
        for, and the file is sent anew.

        Raises:
            UsageError: the name leads out of the session's folder.
            DeviceError: there is no such file, or the phone refuses it.
            TransientDeviceError: the connection broke, or the file did not arrive whole.
        """
        return self._patiently(lambda: self._opened().files.push(local, name))

    def pull(self, name: str, local: Path) -> None:
        """Fetch a file from the session's folder; `local` is whole or as it was.

        A phone that goes away meanwhile is waited for.

        Raises:
            UsageError: the name leads out of the session's folder.
            DeviceError: it is not there.
            TransientDeviceError: the connection broke, or the file did not arrive whole.
            OutputError: `local` cannot be written.
        """
        self._patiently(lambda: self._opened().files.pull(name, local))

    def run(self, argv: Sequence[str], timeout_s: float) -> Completed:
        """Run a program in the session's folder and wait for it, at most timeout_s.

        It runs detached. A phone that goes away meanwhile is waited for, up to the time limit and
        `return_s`, and the result is collected when it is back; the duration holds that wait. The
        program is never started twice. At the time limit, or when this is interrupted, it and its
        children are killed.

        Raises:
            DeviceError: the program cannot be started.
            TransientDeviceError: the phone did not come back, or without the launch's result,
                after a reboot for one.
        """
        session = self._opened()
        if self._launches is None:
            self._launches = Launches(self._link, session, self._return_s)
        return self._launches.run(argv, timeout_s)

    def running_pid(self) -> int | None:
        """Give the id of the program that `run` waits for, from another thread; None: none runs.

        Raises:
            DeviceError: the phone is gone.
        """
        return self._launches.pid() if self._launches is not None else None

    def stop(self) -> None:
        """Kill the program that runs, from another thread; `run` raises TransientDeviceError.

        Raises:
            DeviceError: the phone is gone; it ends the launch by itself a while later.
        """
        if self._launches is not None:
            self._launches.stop()

    def await_ready(self, timeout_s: float) -> None:
        """Wait until the phone can be used, at most timeout_s.

        Raises:
            DeviceError: it is in a state that does not pass by itself.
            TransientDeviceError: it did not come back in time.
        """
        self._link.await_ready(timeout_s)

    def remove(self) -> None:
        """Remove all that the session put on the phone, and put its settings back.

        Where the phone is gone, the next start on it does both.
        """
        session, self._session, self._launches = self._session, None, None
        if session is None:
            return
        with suppress(DeviceError):
            if self._touch:
                restore_settings(self._link.shell, self.info().device_id, session.folder.name)
        with suppress(DeviceError):
            close_session(self._link, session, keep=self._keep)

    def _patiently(self, transfer: Callable[[], Transferred]) -> Transferred:
        """Do what may be done twice, and if the phone goes away, once more when it is back."""
        for _ in range(TRANSFER_TRIES - 1):
            try:
                return transfer()
            except TransientDeviceError:
                self._link.await_ready(self._return_s)
        return transfer()

    def _opened(self) -> Session:
        if self._session is None:
            device_id = self.info().device_id
            self._session = open_session(self._link, keeping=self._keep)
            if self._touch:
                change_settings(self._link.shell, device_id, self._session.folder.name)
        return self._session
