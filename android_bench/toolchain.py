"""What can build the native programs on this machine: an NDK, the system's compiler, zig."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from deploy.errors import DeviceError

# Android's ABI -> the processor in zig's names
PHONE_ABIS = {"arm64-v8a": "aarch64", "x86_64": "x86_64"}
HOST_CPUS = ("x86_64", "aarch64")
EMULATED = "emulated-aarch64"  # Linux on aarch64 in an emulator that counts instructions
BUILD_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Toolchain:
    """What builds a runner.

    Attributes:
        name: `ndk`, `cc` or `zig`.
        command: how it is called; of an NDK, the cmake that drives it.
        identity: tells this version of it from others.
        folder: of an NDK.
    """

    name: str
    command: tuple[str, ...]
    identity: str
    folder: Path | None = None


def host_abi() -> str:
    """Give this machine as the runner's ABIs are named.

    Raises:
        DeviceError: it is no Linux on a 64-bit x86 or ARM processor.
    """
    cpu = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if sys.platform != "linux" or cpu not in HOST_CPUS:
        raise DeviceError(
            f"nothing can be measured on {platform.system()} {platform.machine()} itself",
            f"measure on a phone, or on Linux on {' or '.join(HOST_CPUS)}",
        )
    return f"linux-{cpu}"


def find_toolchain(abi: str) -> Toolchain:
    """Give what builds a runner for that ABI on this machine.

    Raises:
        DeviceError: there is no such ABI, or nothing to build with.
    """
    if abi in PHONE_ABIS:
        found = _find_ndk() or find_zig()
    elif abi == EMULATED:
        found = find_zig() or _find_cross_compiler()  # zig first: it makes the same everywhere
    elif abi.removeprefix("linux-") in HOST_CPUS:
        found = (_find_cc() if abi == f"linux-{platform.machine()}" else None) or find_zig()
    else:
        known = (*PHONE_ABIS, *(f"linux-{cpu}" for cpu in HOST_CPUS))
        raise DeviceError(f"no runner for {abi}", f"there is one for {', '.join(known)}")
    if found is None:
        raise DeviceError(
            f"nothing to build the runner for {abi} with",
            "pip install ziglang"
            + ("; or set ANDROID_NDK_HOME, and install cmake" if abi in PHONE_ABIS else ""),
        )
    return found


def ndk_folders(environment: Mapping[str, str]) -> list[Path]:
    """Give the NDKs that the environment names, the one to take first; they need not be there."""
    named = [environment.get(name) for name in ("ANDROID_NDK_HOME", "ANDROID_NDK_ROOT")]
    homes = [environment.get(name) for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT")]
    installed = [
        folder
        for home in homes
        if home
        for folder in sorted(Path(home, "ndk").glob("*"), key=_version_of, reverse=True)
    ]
    return [*(Path(one) for one in named if one), *installed]


def _version_of(folder: Path) -> list[int]:
    return [int(part) if part.isdecimal() else -1 for part in folder.name.split(".")]


def _find_ndk() -> Toolchain | None:
    cmake = shutil.which("cmake")
    for folder in ndk_folders(os.environ):
        if cmake and toolchain_file(folder).is_file():
            properties = folder / "source.properties"
            identity = properties.read_text() if properties.is_file() else str(folder)
            return Toolchain("ndk", (cmake,), identity, folder)
    return None


def toolchain_file(ndk: Path) -> Path:
    """Give what CMake has to be told of an NDK."""
    return ndk / "build" / "cmake" / "android.toolchain.cmake"


def _find_cc() -> Toolchain | None:
    return _compiler("cc")


def _find_cross_compiler() -> Toolchain | None:
    return _compiler("aarch64-linux-gnu-gcc")


def _compiler(name: str) -> Toolchain | None:
    found = shutil.which(name)
    if found is None:
        return None
    real = Path(found).resolve()
    return Toolchain("cc", (found,), f"{real} {real.stat().st_mtime_ns}")


def find_zig() -> Toolchain | None:
    """Give the zig of the package ziglang; None where that is not installed."""
    if importlib.util.find_spec("ziglang") is None:
        return None
    return Toolchain("zig", (sys.executable, "-m", "ziglang"), metadata.version("ziglang"))


def zig_headers() -> Path:
    """Give the folder of the compiler's own headers: stddef.h, stdarg.h and the like."""
    found = importlib.util.find_spec("ziglang")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "lib" / "include"


def run_step(command: Sequence[str], folder: Path) -> None:
    """Run one step of a build in a folder.

    Raises:
        DeviceError: it fails, with the first error that it names.
    """
    caches = {name: str(folder / "zig") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    try:
        completed = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **caches},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(command, str(error)) from error
    if completed.returncode != 0:
        lines = (completed.stderr + completed.stdout).splitlines()
        first = next((line for line in lines if "error" in line.lower()), "no message")
        raise _failed(command, first)


def _failed(command: Sequence[str], what: str) -> DeviceError:
    name = "zig" if "ziglang" in command else Path(command[0]).name
    return DeviceError(
        f"the native programs cannot be built with {name} ({what.strip()})",
        "mend or remove that compiler (pip install ziglang is enough)",
    )
