"""Debian packages as files: downloaded and unpacked into a folder, nothing installed.

apt-get's cache, lists and locks are our own, so that its state on this machine stays as it is.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deploy.errors import DeviceError
from deploy.files import temporary_beside

EMULATOR_PACKAGE = "qemu-user"


@contextmanager
def lend_packages(cache: Path, names: Sequence[str]) -> Iterator[list[Path]]:
    """Lend Debian packages as files; with lists of our own where the system's are not there.

    Raises:
        DeviceError: there is no apt-get, or it cannot download them.
    """
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


def needed_besides(cache: Path, package: str) -> list[str]:
    """Name what apt would install with a package here.

    Raises:
        DeviceError: there is no apt-get.
    """
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


def unpack(package: Path, folder: Path) -> None:
    """Unpack a Debian package into a folder.

    Raises:
        DeviceError: there is nothing to unpack it with, or it is broken.
    """
    program = shutil.which("dpkg-deb")
    if program is None:
        raise DeviceError(f"no dpkg-deb to unpack {package.name} with", "install the package dpkg")
    folder.mkdir(exist_ok=True)
    command = [program, "--extract", str(package), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise DeviceError(f"{package.name} does not unpack ({reason})", "try again")
