"""Files to a phone and back: by content, checked on both sides, whole or not there.

A pushed file lies once in a cache, named by its sha256, and stands in the session's folder as a
link to it. What arrives is hashed on the phone before it gets its name.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from android_bench.adb_call import READY, Answer, call_adb, phone_state, state_error
from android_bench.adb_shell import quote
from android_bench.device import Completed
from deploy.errors import DeviceError, TransientDeviceError, UsageError
from deploy.files import file_sha256, unfinished

# The first one that a phone has is used. Toybox has sha256sum since Android 8.
HASH_TOOLS = {"sha256sum": "sha256", "sha1sum": "sha1", "md5sum": "md5"}
SLOWEST_BYTES_PER_S = 1_000_000  # USB 2 on a bad cable; sets the time limit of a transfer
TRANSFER_S = 60.0

# adb's words -> what is wrong and what to do about it, where trying again does not help
REFUSALS = {
    "No space left on device": ("it has no space left", "free some space on it"),
    "Read-only file system": ("its storage is read-only", "restart the phone"),
    "Permission denied": ("it denies the access", "look at the permissions of /data/local/tmp"),
    "Not a directory": ("a file is where a folder should be", "remove it"),
}

Shell = Callable[[str, float], Completed]


@dataclass(frozen=True)
class Checksum:
    """What a file's content is known by.

    Attributes:
        digest: None where the phone has no tool to make one.
    """

    size_bytes: int
    digest: str | None


@dataclass(frozen=True)
class PhoneFiles:
    """The files of a session on a phone.

    Attributes:
        shell: runs a command there, within so many seconds.
        folder: the session's own.
        cache: the folder of files by their sha256.
        hash_tool: one of HASH_TOOLS; None: there is none, and only sizes are compared.
    """

    serial: str
    shell: Shell
    folder: PurePosixPath
    cache: PurePosixPath
    hash_tool: str | None

    def push(self, local: Path, name: str) -> PurePosixPath:
        """Put a file into the session's folder, unless the phone has its content already.

        Raises:
            UsageError: the name leads out of the session's folder.
            DeviceError: there is no such file, or the phone refuses it.
            TransientDeviceError: the connection broke, or the file did not arrive whole.
        """
        there = self.folder / safe_name(name)
        try:
            sha256, expected = file_sha256(local), self._checksum_here(local)
        except OSError as error:
            raise DeviceError(
                f"cannot read {local} ({error.strerror})", "check the path"
            ) from error
        cached = self.cache / sha256
        if not self._take_cached(cached, expected, there):
            self._send(local, cached, expected)
            if not self._take_cached(cached, expected, there):
                raise TransientDeviceError(
                    f"{local.name} vanished from {self.serial} as soon as it was there", "try again"
                )
        return there

    def pull(self, name: str, local: Path) -> None:
        """Fetch a file from the session's folder.

        Raises:
            UsageError: the name leads out of the session's folder.
            DeviceError: it is not there, or cannot be read.
            TransientDeviceError: the connection broke, or the file did not arrive whole.
            OutputError: `local` cannot be written.
        """
        there = self.folder / safe_name(name)
        told = self.shell(self.tell_checksum(there), TRANSFER_S)
        if told.exit_code != 0:
            raise DeviceError(
                f"there is no file {name} on {self.serial}", "check that the runner wrote it"
            )
        self.fetch(there, local, parse_checksum(told.stdout))

    def fetch(self, there: PurePosixPath, local: Path, expected: Checksum) -> None:
        """Fetch a file whose checksum is known. Raises as `pull`."""
        with unfinished(local) as temporary:
            argv = ["pull", str(there), str(temporary)]
            answer = self._transfer(argv, expected.size_bytes)
            if answer.exit_code != 0:
                raise self._refusal(f"cannot fetch {there.name} from {self.serial}", answer)
            arrived = self._checksum_here(temporary)
            if arrived != expected:
                raise TransientDeviceError(
                    f"{there.name} arrived from {self.serial} broken "
                    f"({arrived.size_bytes} of {expected.size_bytes} bytes)",
                    "try again; if it stays so, use another cable",
                )

    def tell_checksum(self, there: PurePosixPath) -> str:
        """Give the command that tells a file's size and digest; it fails where there is none."""
        path = quote(there)
        digest = f" && {self.hash_tool} <{path}" if self.hash_tool else ""
        return f"[ -f {path} ] && wc -c <{path}{digest}"

    def _take_cached(self, cached: PurePosixPath, expected: Checksum, there: PurePosixPath) -> bool:
        """Let `there` be the cached file, if the phone has it and it is whole."""
        told = self.shell(
            f"{self.tell_checksum(cached)} && touch {quote(cached)} && "
            f"mkdir -p {quote(there.parent)} && ln -sf {quote(cached)} {quote(there)}",
            TRANSFER_S,
        )
        return told.exit_code == 0 and parse_checksum(told.stdout) == expected

    def _send(self, local: Path, cached: PurePosixPath, expected: Checksum) -> None:
        part = self.cache / f".{cached.name[:16]}.{self.folder.name}.part"
        answer = self._transfer(["push", str(local.resolve()), str(part)], expected.size_bytes)
        if answer.exit_code != 0:
            refusal = self._refusal(f"cannot put {local.name} on {self.serial}", answer)
            if phone_state(self.serial) == READY:
                self.shell(f"rm -f {quote(part)}", TRANSFER_S)
            raise refusal
        told = self.shell(self.tell_checksum(part), TRANSFER_S)
        arrived = parse_checksum(told.stdout) if told.exit_code == 0 else Checksum(0, None)
        if arrived != expected:
            self.shell(f"rm -f {quote(part)}", TRANSFER_S)
            raise TransientDeviceError(
                f"{local.name} arrived on {self.serial} broken "
                f"({arrived.size_bytes} of {expected.size_bytes} bytes)",
                "try again; if it stays so, use another cable",
            )
        # all may be run, as adb takes the rights of the file here, and a link has none of its own
        self.shell(f"chmod 755 {quote(part)} && mv -f {quote(part)} {quote(cached)}", TRANSFER_S)

    def _transfer(self, argv: list[str], size_bytes: int) -> Answer:
        limit_s = TRANSFER_S + size_bytes / SLOWEST_BYTES_PER_S
        return call_adb(argv, serial=self.serial, timeout_s=limit_s)

    def _refusal(self, problem: str, answer: Answer) -> DeviceError:
        said = (answer.stdout + answer.stderr).decode("utf-8", "replace")
        for words, (why, next_step) in REFUSALS.items():
            if words in said:
                return DeviceError(f"{problem}: {why}", next_step)
        state = phone_state(self.serial)
        if state != READY:
            return state_error(self.serial, state, was_there=True)
        return TransientDeviceError(f"{problem} ({answer.said})", "try again")

    def _checksum_here(self, path: Path) -> Checksum:
        if self.hash_tool is None:
            return Checksum(path.stat().st_size, None)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, HASH_TOOLS[self.hash_tool]).hexdigest()
        return Checksum(path.stat().st_size, digest)


def parse_checksum(told: str) -> Checksum:
    """Read what `tell_checksum` prints: the size, and a line that begins with the digest."""
    words = told.split()
    return Checksum(int(words[0]), words[1] if len(words) > 1 else None)


def safe_name(name: str) -> str:
    """Give a name back, if it is one of a file in the session's folder.

    Raises:
        UsageError: it is empty, leads out of the folder, or begins with a dot as our own files do.
    """
    parts = name.split("/")
    if name.isprintable() and all(part and not part.startswith(".") for part in parts):
        return name
    raise UsageError(
        f"{name!r} is no name for a file on a phone",
        "use a plain name, without `..` or a first `/`",
    )
