"""Where the text of sensors comes from: the shell of a phone, or the files of this machine."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from android_bench.adb_shell import quote
from android_bench.device import Completed
from deploy.errors import TransientDeviceError

AVAILABLE, DENIED, ABSENT = "available", "denied", "absent"
ANSWER_S = 10.0  # dumpsys of a busy phone takes a second or two
MARK = "-- answered:"  # before the exit code of each of several questions, and in no answer

Told = dict[str, tuple[str, str]]  # by what was asked for, AVAILABLE, DENIED or ABSENT, and text

_MARK = re.compile(rf"\n{MARK} (\d+)\n")
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

    def read(self, paths: Sequence[str]) -> Told:
        """Give the one line that each of these files holds."""
        ...

    def gather(self, services: Sequence[str], paths: Sequence[str]) -> tuple[Told, Told]:
        """Do both at once, for several services."""
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
        return _dumped(self._ask("dumpsys", service))

    def read(self, paths: Sequence[str]) -> Told:  # noqa: D102
        return self._values(paths, self._ask("cat", *paths)) if paths else {}

    def gather(self, services: Sequence[str], paths: Sequence[str]) -> tuple[Told, Told]:
        """Ask in one command, as each costs tens of milliseconds; one by one if that hangs."""
        questions = [("dumpsys", one) for one in services] + ([("cat", *paths)] if paths else [])
        asked = [f'{quote(*one)} 2>&1; r=$?; echo; echo "{MARK} $r"' for one in questions]
        parts = _MARK.split(self._ask("sh", "-c", "\n".join(asked)).stdout) if asked else [""]
        if len(parts) != 2 * len(questions) + 1:
            return {one: self.dump(one) for one in services}, self.read(paths)
        said = [
            Completed(int(code), text, "", 0)
            for text, code in zip(parts[0::2], parts[1::2], strict=False)
        ]
        dumped = {one: _dumped(answer) for one, answer in zip(services, said, strict=False)}
        return dumped, self._values(paths, said[-1]) if paths else {}

    def _values(self, paths: Sequence[str], said: Completed) -> Told:
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


def _dumped(said: Completed) -> tuple[str, str]:
    text = said.stdout
    if "Permission Denial" in text + said.stderr:
        return DENIED, ""
    missing = "Can't find service" in text + said.stderr or not text.strip()
    return (ABSENT, "") if missing or said.exit_code != 0 else (AVAILABLE, text)


class NoSource:
    """The sensors of an emulated processor: it has none, and those of its host are not its own."""

    def dump(self, service: str) -> tuple[str, str]:  # noqa: D102
        return ABSENT, ""

    def read(self, paths: Sequence[str]) -> Told:  # noqa: D102
        return dict.fromkeys(paths, (ABSENT, ""))

    def gather(self, services: Sequence[str], paths: Sequence[str]) -> tuple[Told, Told]:  # noqa: D102
        return {one: self.dump(one) for one in services}, self.read(paths)

    def names(self, folder: str) -> list[str]:  # noqa: D102
        return []


class HostSource:
    """The sensors of this machine, in /proc and /sys; it has no system services to ask.

    Attributes:
        root: where /proc and /sys lie.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def dump(self, service: str) -> tuple[str, str]:  # noqa: D102
        return ABSENT, ""

    def read(self, paths: Sequence[str]) -> Told:  # noqa: D102
        return {path: self._read(path) for path in paths}

    def gather(self, services: Sequence[str], paths: Sequence[str]) -> tuple[Told, Told]:  # noqa: D102
        return {one: self.dump(one) for one in services}, self.read(paths)

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
