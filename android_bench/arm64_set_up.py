"""Fetch the pieces of the emulation into the user's cache, each through its own ordinary client.

pip brings the aarch64 wheel of ONNX Runtime, of this machine's version. apt-get brings the emulator
and the arm64 runtimes, as files that are unpacked into the cache: nothing is installed, no
architecture is added, and apt's own state stays as it is.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from android_bench.arm64_pieces import (
    EMULATOR,
    LIBRARY,
    RUNTIME_FILES,
    SET_UP,
    Pieces,
    default_cache,
    find_emulator,
    find_pieces,
    find_runtime,
    library_path,
    require_linux,
    wanted_version,
)
from android_bench.runner import find_arm64_runner, find_counter
from deploy.errors import DeviceError
from deploy.files import file_sha256, temporary_beside, unfinished

MANIFEST = "pieces.json"
EMULATOR_PACKAGE = "qemu-user"
RUNTIME_PACKAGES = ("libc6-arm64-cross", "libstdc++6-arm64-cross", "libgcc-s1-arm64-cross")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")

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
    """
    require_linux()
    folder, version = cache or default_cache(), wanted_version()
    folder.mkdir(parents=True, exist_ok=True)
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
    _require_unchanged(folder)
    say("the runner for aarch64 and the counter, by the compilers of this machine")
    find_arm64_runner()
    find_counter(pieces.emulator.plugin_api)
    _write_manifest(folder, pieces.identity)
    return pieces


def list_kept_pieces(pieces: Pieces) -> list[KeptPiece]:
    """Give what the emulation is made of.

    Raises:
        DeviceError: a file that was fetched is not the same any more.
    """
    _require_unchanged(pieces.cache)
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


def _require_unchanged(cache: Path) -> None:
    try:
        kept = json.loads((cache / MANIFEST).read_text())["sha256"]
    except (OSError, ValueError, TypeError, KeyError):  # nothing was fetched: all is the system's
        return
    for name, sha256 in kept.items():
        if (cache / name).is_file() and file_sha256(cache / name) != sha256:
            raise DeviceError(
                f"{cache / name} has changed since it was fetched",
                f"remove {cache / Path(name).parts[0]}, then run `{SET_UP}`",
            )


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
    wanted = [EMULATOR_PACKAGE, *_needed_besides(cache, EMULATOR_PACKAGE)]
    with unfinished(cache / "qemu") as folder, _packages(cache, wanted) as packages:
        for package in packages:
            _unpack(package, folder)
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
    with unfinished(cache / "runtime") as folder, _packages(cache, RUNTIME_PACKAGES) as packages:
        folder.mkdir()
        whole = folder / "whole"
        for package in packages:
            _unpack(package, whole)
        for name in RUNTIME_FILES:
            (found,) = whole.glob(f"usr/*/lib/{name}")
            shutil.copy2(found, folder / name)
        shutil.rmtree(whole)
        _note(folder, packages)


@contextmanager
def _packages(cache: Path, names: Sequence[str]) -> Iterator[list[Path]]:
    """Lend Debian packages as files; with lists of our own where the system's are not there."""
    with temporary_beside(cache / "packages") as folder:
        folder.mkdir()
        for options in ([], _own_lists(cache)):
            if options:
                _apt(cache, [*options, "update"], folder)
            done = _apt(cache, [*options, "download", *names], folder)
            packages = sorted(folder.glob("*.deb"))
            if done.returncode == 0 and len(packages) == len(names):
                yield packages
                return
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DeviceError(
            f"apt-get cannot download {', '.join(names)} ({reason})",
            "install them by the system's package manager; they are looked for there too",
        )


def _needed_besides(cache: Path, package: str) -> list[str]:
    """Name what apt would install with a package here."""
    arguments = ["--simulate", "--no-install-recommends", "install", package]
    for options in ([], _own_lists(cache)):
        done = _apt(cache, [*options, *arguments], cache)
        names = re.findall(r"^Inst (\S+)", done.stdout, re.MULTILINE)
        if done.returncode == 0 and names:
            return [name for name in names if name != package]
        _apt(cache, [*_own_lists(cache), "update"], cache)
    return []


def _own_lists(cache: Path) -> list[str]:
    lists = cache / "apt" / "lists"
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    return ["-o", f"Dir::State::lists={lists}"]


def _apt(cache: Path, arguments: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run apt-get with a cache and locks of our own."""
    program = shutil.which("apt-get")
    if program is None:
        raise DeviceError(
            "there is no apt-get to fetch the emulator and the arm64 runtimes with",
            f"install {EMULATOR_PACKAGE} and libstdc++ for aarch64 by the system's package "
            "manager: `qemu-aarch64` on the PATH, the libraries in /usr/aarch64-linux-gnu/lib",
        )
    (cache / "apt" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    own = ["-o", f"Dir::Cache={cache / 'apt'}", "-o", "Debug::NoLocking=1"]
    if os.geteuid() == 0:  # root's downloads go through a user that cannot write to the cache
        own += ["-o", "APT::Sandbox::User=root"]
    return subprocess.run(
        [program, "--quiet", "--yes", *own, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
        check=False,
    )


def _unpack(package: Path, folder: Path) -> None:
    program = shutil.which("dpkg-deb")
    if program is None:
        raise DeviceError(f"no dpkg-deb to unpack {package.name} with", "install the package dpkg")
    folder.mkdir(exist_ok=True)
    command = [program, "--extract", str(package), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DeviceError(f"{package.name} does not unpack ({reason})", "try again")


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
