"""Where the text of sensors comes from: the shell of a phone, or the files of this machine."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from android_bench.device import Completed
from deploy.errors import TransientDeviceError

AVAILABLE, DENIED, ABSENT = "available", "denied", "absent"
ANSWER_S = 10.0  # dumpsys of a busy phone takes a second or two

_CAT_FAILED = re.compile(r"(?:\S*/)?cat: (?P<path>/.*?): (?P<why>.*)")


@runtime_checkable
class CanQuery(Protocol):
    """A device that answers small questions: getprop, dumpsys, cat."""

    def query(self, argv: Sequence[str], timeout_s: float) -> Completed:
        """Run a short program there and give what it says."""
        ...


class Source(Protocol):
    """Where the text of sensors comes from. Each text comes with AVAILABLE, DENIED or ABSENT."""

    def dump(self, service: str) -> tuple[str, str]:
        """Give what a system service says of itself."""
        ...

    def read(self, paths: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Give the one line that each of these files holds."""
        ...

    def names(self, folder: str) -> list[str]:
        """Give what lies in a folder; nothing where it cannot be read."""
        ...


class PhoneSource:
    """The sensors of a phone, over its shell."""

    def __init__(self, device: CanQuery) -> None:
        self._device = device

    def _ask(self, *argv: str) -> Completed:
        """Ask; what a phone that is there does not answer in time counts as absent.

        Raises:
            TransientDeviceError: the phone itself is gone.
        """
        try:
            return self._device.query(argv, ANSWER_S)
        except TransientDeviceError:
            self._device.query(["true"], ANSWER_S)
            return Completed(None, "", "", 0)

    def dump(self, service: str) -> tuple[str, str]:  # noqa: D102
        said = self._ask("dumpsys", service)
        text = said.stdout
        if "Permission Denial" in text + said.stderr:
            return DENIED, ""
        missing = "Can't find service" in text + said.stderr or not text.strip()
        return (ABSENT, "") if missing or said.exit_code != 0 else (AVAILABLE, text)

    def read(self, paths: Sequence[str]) -> dict[str, tuple[str, str]]:  # noqa: D102
        if not paths:
            return {}
        said = self._ask("cat", *paths)
        if said.exit_code is None:
            return dict.fromkeys(paths, (ABSENT, ""))
        # an old daemon puts standard error among standard output
        lines = [*said.stdout.splitlines(), *said.stderr.splitlines()]
        refused = {
            found["path"]: (DENIED if "denied" in found["why"].lower() else ABSENT, "")
            for found in map(_CAT_FAILED.match, lines)
            if found
        }
        values = [line for line in said.stdout.splitlines() if not _CAT_FAILED.match(line)]
        given = [path for path in paths if path not in refused]
        if len(values) == len(given):
            return refused | {
                path: (AVAILABLE, value) for path, value in zip(given, values, strict=True)
            }
        if len(paths) == 1:
            return {paths[0]: (ABSENT, "")}
        return {path: one for single in paths for path, one in self.read([single]).items()}

    def names(self, folder: str) -> list[str]:  # noqa: D102
        said = self._ask("ls", folder)
        return said.stdout.split() if said.exit_code == 0 else []


class HostSource:
    """The sensors of this machine, in /proc and /sys; it has no system services to ask.

    Attributes:
        root: where /proc and /sys lie.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def dump(self, service: str) -> tuple[str, str]:  # noqa: D102
        return ABSENT, ""

    def read(self, paths: Sequence[str]) -> dict[str, tuple[str, str]]:  # noqa: D102
        return {path: self._read(path) for path in paths}

    def _read(self, path: str) -> tuple[str, str]:
        try:
            return AVAILABLE, (self.root / path.lstrip("/")).read_text().strip()
        except (FileNotFoundError, NotADirectoryError):
            return ABSENT, ""
        except OSError:  # no permission, or a driver that has no value just now
            return DENIED, ""

    def names(self, folder: str) -> list[str]:  # noqa: D102
        try:
            return sorted(path.name for path in (self.root / folder.lstrip("/")).iterdir())
        except OSError:
            return []
