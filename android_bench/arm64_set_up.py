"""Fetch the pieces of the emulation into the user's cache, each through its own ordinary client.

pip brings the aarch64 wheel of ONNX Runtime, of this machine's version. apt-get brings the emulator
and the arm64 runtimes, as files that are unpacked into the cache: nothing is installed, no
architecture is added, and apt's own state stays as it is.
"""

import fcntl
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from android_bench.arm64_packages import EMULATOR_PACKAGE, lend_packages, needed_besides, unpack
from android_bench.arm64_pieces import (
    EMULATOR,
    LIBRARY,
    MANIFEST,
    RUNTIME_FILES,
    Pieces,
    default_cache,
    find_emulator,
    find_pieces,
    find_runtime,
    library_path,
    require_linux,
    require_unchanged,
    wanted_version,
)
from android_bench.runner import find_arm64_runner, find_counter
from deploy.errors import DeviceError, OutputError
from deploy.files import file_sha256, unfinished

RUNTIME_PACKAGES = ("libc6-arm64-cross", "libstdc++6-arm64-cross", "libgcc-s1-arm64-cross")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")

LOCK = ".lock"
SOURCES = "sources.json"  # what a folder was made from

Say = Callable[[str], None]


@dataclass(frozen=True)
class KeptPiece:
    """One piece of the emulation.

    Attributes:
        what: the kind of piece.
        version: None where it does not tell.
        sha256: of the file, or of the hashes of several.
        source: the packages that it came from, or the folder of the system.
    """

    what: str
    version: str | None
    bytes: int
    sha256: str
    source: str


def set_up(say: Say, cache: Path | None = None) -> Pieces:
    """Fetch what is missing and build what is not built; what is there already stays.

    Args:
        say: told of every step, in words.
        cache: the folder to keep the pieces in; None: the user's.

    Raises:
        DeviceError: no Linux, or a piece cannot be had here; what to install is said.
        OutputError: the cache refuses.
    """
    require_linux()
    folder = cache or default_cache()
    with _alone(folder, say):
        require_unchanged(folder)  # before new ones come, whose hashes may be others
        return _set_up(folder, say)


def _set_up(folder: Path, say: Say) -> Pieces:
    version = wanted_version()
    if not library_path(folder, version).is_file():
        say(f"onnxruntime {version} for aarch64 (21 MB), by pip")
        _fetch_library(folder, version)
    emulator = find_emulator(folder)
    if emulator is None or not emulator.has_plugins:
        say("qemu-user (12 MB), by apt-get download")
        _fetch_emulator(folder)
    if find_runtime(folder) is None:
        say("the arm64 C and C++ runtimes (2 MB), by apt-get download")
        _fetch_runtime(folder)
    pieces = find_pieces(folder)
    say("the runner for aarch64 and the counter, by the compilers of this machine")
    find_arm64_runner()
    find_counter(pieces.emulator.plugin_api)
    _write_manifest(folder, pieces.identity)
    return pieces


@contextmanager
def _alone(cache: Path, say: Say) -> Iterator[None]:
    """Let one process at a time fetch into a cache: apt-get would write its lists twice at once."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / LOCK).open("w")
    except OSError as error:
        raise OutputError(
            f"cannot write {cache} ({error.strerror})", "set XDG_CACHE_HOME to a folder of yours"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is filling {cache}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def list_kept_pieces(pieces: Pieces) -> list[KeptPiece]:
    """Give what the emulation is made of.

    Raises:
        DeviceError: a file that was fetched is not the same any more.
    """
    require_unchanged(pieces.cache)
    identity, emulator = pieces.identity, pieces.emulator
    runtime = [pieces.runtime / name for name in RUNTIME_FILES]
    return [
        _kept("aarch64", identity["onnxruntime"], identity["library_sha256"], [pieces.library]),
        _kept(EMULATOR, identity["qemu"], file_sha256(emulator.path), [emulator.path]),
        _kept("arm64 C and C++", None, identity["runtime_sha256"], runtime),
    ]


def _kept(what: str, version: str | None, sha256: str, files: Sequence[Path]) -> KeptPiece:
    size = sum(path.stat().st_size for path in files)
    return KeptPiece(what, version, size, sha256, _source(files[0]))


def _source(file: Path) -> str:
    """Give the packages that a file was unpacked from, or its folder where it is the system's."""
    for folder in file.parents[:3]:
        if (folder / SOURCES).is_file():
            return ", ".join(json.loads((folder / SOURCES).read_text()))
    return str(file.parent)


def _fetch_library(cache: Path, version: str) -> None:
    wheel = f"onnxruntime=={version}"
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    with unfinished(library_path(cache, version).parent) as folder:
        folder.mkdir()
        _pip(
            ["download", *platforms, "--only-binary=:all:", "--no-deps", f"--dest={folder}", wheel],
            f"{wheel} for aarch64",
        )
        (fetched,) = folder.glob("*.whl")
        with zipfile.ZipFile(fetched) as archive:
            names = [name for name in archive.namelist() if "/capi/libonnxruntime.so" in name]
            if len(names) != 1:
                raise DeviceError(
                    f"{fetched.name} holds {len(names)} files libonnxruntime.so*",
                    "use a release of onnxruntime that ships one",
                )
            (folder / LIBRARY).write_bytes(archive.read(names[0]))
        _note(folder, [fetched])
        fetched.unlink()


def _fetch_emulator(cache: Path) -> None:
    """Unpack qemu-user, and what it needs and the system lacks."""
    wanted = [EMULATOR_PACKAGE, *needed_besides(cache, EMULATOR_PACKAGE)]
    with unfinished(cache / "qemu") as folder, lend_packages(cache, wanted) as packages:
        for package in packages:
            unpack(package, folder)
        libraries = folder / "lib"
        libraries.mkdir(exist_ok=True)
        for found in folder.glob("usr/lib/*/*.so.*"):
            shutil.copy2(found, libraries)
        for unused in [*folder.glob("usr/share"), *folder.glob("usr/lib")]:
            shutil.rmtree(unused)
        for program in folder.glob("usr/bin/*"):  # 60 other processors
            if program.name != "qemu-aarch64":
                program.unlink()
        _note(folder, packages)
    unpacked = find_emulator(cache)
    if unpacked is None or not unpacked.has_plugins:
        raise DeviceError(
            "the package qemu-user holds no qemu-aarch64 with plugins that runs here",
            "install qemu-user 7 or later by the system's package manager",
        )


def _fetch_runtime(cache: Path) -> None:
    with (
        unfinished(cache / "runtime") as folder,
        lend_packages(cache, RUNTIME_PACKAGES) as packages,
    ):
        folder.mkdir()
        whole = folder / "whole"
        for package in packages:
            unpack(package, whole)
        for name in RUNTIME_FILES:
            (found,) = whole.glob(f"usr/*/lib/{name}")
            shutil.copy2(found, folder / name)
        shutil.rmtree(whole)
        _note(folder, packages)


def _pip(arguments: Sequence[str], what: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DeviceError(f"pip cannot get {what} ({reason})", "check pip and its configuration")


def _note(folder: Path, sources: Sequence[Path]) -> None:
    """Keep what a folder was made from, with hashes."""
    record = {path.name: file_sha256(path) for path in sources}
    (folder / SOURCES).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def _write_manifest(cache: Path, identity: dict[str, str]) -> None:
    """Write the hash of every kept file, and what counts depend on."""
    kept = {
        str(path.relative_to(cache)): file_sha256(path)
        for name in ("qemu", "runtime", *(one.name for one in cache.glob("onnxruntime-*")))
        for path in sorted((cache / name).rglob("*"))
        if path.is_file()
    }
    record = {"counts_depend_on": identity, "sha256": kept}
    with unfinished(cache / MANIFEST) as temporary:
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
