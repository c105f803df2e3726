"""A session's own folder on this machine: a temporary one, gone with the process that made it."""

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import IO

from deploy.errors import DeviceError

FOLDER_PREFIX = "mofa-bench-"
ALIVE_NAME = ".alive"  # locked as long as the process that made the folder lives


class SessionFolder:
    """A temporary folder, made when it is first needed."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._alive: IO[str] | None = None

    def path(self) -> Path:
        """Give the folder; those that killed processes left are removed before it is made."""
        if self._folder is None:
            _sweep()
            self._folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
            self._alive = _mark_alive(self._folder)
        return self._folder

    def put(self, local: Path, name: str) -> Path:
        """Copy a file into it, as it may be executed; give its path there.

        Raises:
            DeviceError: there is no such file, or the temporary folder refuses it.
        """
        there = self.path() / name
        try:
            there.parent.mkdir(exist_ok=True)
            shutil.copy(local, there)
        except OSError as error:
            raise DeviceError(
                f"cannot copy {local} to {there} ({error.strerror})",
                "check the file, and the room in the temporary folder (TMPDIR)",
            ) from error
        return there

    def fetch(self, name: str, local: Path) -> None:
        """Copy a file out of it.

        Raises:
            DeviceError: it is not there, or `local` cannot be written.
        """
        try:
            shutil.copyfile(self.path() / name, local)
        except OSError as error:
            raise DeviceError(
                f"cannot copy {name} to {local} ({error.strerror})",
                "check that the runner wrote it, and that its folder can be written",
            ) from error

    def remove(self) -> None:
        """Remove the folder and all in it."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._alive is not None:
            self._alive.close()
            self._alive = None


def _mark_alive(folder: Path) -> IO[str]:
    new = folder / f"{ALIVE_NAME}.new"
    alive = new.open("w")
    fcntl.flock(alive, fcntl.LOCK_EX)
    new.rename(folder / ALIVE_NAME)  # it has its final name only once it is locked
    return alive


def _sweep() -> None:
    """Remove the folders that killed processes left: their locks went with them."""
    for mark in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*/{ALIVE_NAME}"):
        try:
            with mark.open() as alive:
                fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(mark.parent, ignore_errors=True)
        except OSError:  # in use, another user's, or swept by another process just now
            continue
