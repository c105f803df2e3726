"""The pieces that an emulated aarch64 ONNX Runtime needs: find them, or say what is missing.

Everything is kept in one folder of the user's cache. `arm64_set_up` fetches what is missing there.
The runner and the counter are built by `runner`, like those of other devices.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path

from android_bench.arm64_cpus import Cpu, description_sha256, require_features, write_description
from android_bench.processes import run_program
from android_bench.runner import native_sha256
from deploy.errors import DeviceError
from deploy.files import file_sha256

SET_UP = "mofa-deploy runtime add --arm64"
EMULATOR = "qemu-aarch64"
LIBRARY = "libonnxruntime.so"
MANIFEST = "pieces.json"  # in the cache: the hash of every file that was fetched

# of the arm64 C and C++ runtimes, what the library and the runner load
RUNTIME_FILES = (
    "ld-linux-aarch64.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
)
# where a system's own packages for cross compiling put them
SYSTEM_RUNTIME = Path("/usr/aarch64-linux-gnu/lib")
# below /etc: the host's are of no use to the guest
_EMPTY_FILES = ("ld.so.cache", "ld.so.preload", "localtime")

_ANSWER_S = 30.0


@dataclass(frozen=True)
class Emulator:
    """qemu-aarch64, with what its own loading needs.

    Attributes:
        libraries: folder to look for its shared libraries in, or None where the system has them.
        version: such as `7.2.22`.
        has_plugins: it can load the counter.
    """

    path: Path
    libraries: Path | None
    version: str
    has_plugins: bool = True

    @property
    def plugin_api(self) -> int:
        """The version of the plugin interface that the counter is built for; see counter.c."""
        major, minor = (int(part) for part in self.version.split(".")[:2])
        if major < 9:
            return 1
        return 2 if (major, minor) == (9, 0) else 3


@dataclass(frozen=True)
class Pieces:
    """All that a count needs, but for the runner and the counter.

    Attributes:
        runtime: folder of the arm64 C and C++ libraries.
        library: libonnxruntime.so of the aarch64 wheel.
        library_version: of ONNX Runtime; this process has the same.
    """

    cache: Path
    emulator: Emulator
    runtime: Path
    library: Path
    library_version: str

    @cached_property
    def identity(self) -> dict[str, str]:
        """What a count depends on besides model and core: counts of other ones do not compare."""
        runtime = "".join(file_sha256(self.runtime / name) for name in RUNTIME_FILES)
        return {
            "onnxruntime": self.library_version,
            "library_sha256": file_sha256(self.library),
            "runtime_sha256": hashlib.sha256(runtime.encode()).hexdigest(),
            "qemu": self.emulator.version,
            "native_sha256": native_sha256(),
        }

    def counts_with(self, cpu: Cpu) -> dict[str, str]:
        """Give all that a count depends on besides the model."""
        return {**self.identity, "cpu": cpu.name, "description_sha256": description_sha256(cpu)}

    def make_root(self, cpu: Cpu, folder: Path) -> None:
        """Make a folder the guest's /: its libraries, and what Linux says of the core.

        What the guest does not find there, it finds on the host.

        Raises:
            DeviceError: it cannot be written.
        """
        try:
            for libraries in (
                folder / "lib",
                folder / "lib/aarch64-linux-gnu",
            ):  # before the host's
                libraries.mkdir(exist_ok=True)
                for name in RUNTIME_FILES:
                    if not (libraries / name).is_symlink():
                        (libraries / name).symlink_to((self.runtime / name).resolve())
            (folder / "etc").mkdir(exist_ok=True)
            for name in _EMPTY_FILES:
                (folder / "etc" / name).touch()
        except OSError as error:
            raise DeviceError(
                f"{folder} cannot be written ({error.strerror})", "check its folder (TMPDIR)"
            ) from error
        write_description(cpu, folder)

    def require_core(self, cpu: Cpu) -> None:
        """Check that the emulator has the core, with all that its description claims.

        Raises:
            DeviceError: it has not.
        """
        loader = self.runtime / RUNTIME_FILES[0]
        guest = ["-cpu", cpu.qemu, "-U", "LD_LIBRARY_PATH", "-E", "LD_SHOW_AUXV=1", str(loader)]
        done = run_program(
            [str(self.emulator.path), *guest, "--version"],
            self.cache,
            _ANSWER_S,
            loading(self.emulator.libraries),
        )
        if done.exit_code != 0:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise DeviceError(
                f"qemu {self.emulator.version} does not emulate a {cpu.qemu} ({said})",
                "take another --cpu, or a newer qemu-user",
            )
        require_features(cpu, done.stdout)


def default_cache() -> Path:
    """Give the folder of the user's cache that the pieces are in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mofa-deploy" / "arm64"


def wanted_version() -> str:
    """Give the version of ONNX Runtime that counts are taken with: this machine's own."""
    return metadata.version("onnxruntime")


def find_pieces(cache: Path | None = None) -> Pieces:
    """Give all pieces.

    Args:
        cache: the folder they are in; None: the user's.

    Raises:
        DeviceError: no Linux, or pieces are missing; all of them are named.
    """
    require_linux()
    folder, version = cache or default_cache(), wanted_version()
    emulator, runtime = find_emulator(folder), find_runtime(folder)
    library = library_path(folder, version)
    missing = [
        name
        for name, found in {
            _emulator_missing(emulator): emulator is not None and emulator.has_plugins,
            "arm64 C and C++ runtimes (package libstdc++6-arm64-cross)": runtime,
            f"aarch64 wheel of onnxruntime {version}": library.is_file(),
        }.items()
        if not found
    ]
    if missing or emulator is None or runtime is None:
        raise DeviceError(f"no arm64 emulation: there is no {', no '.join(missing)}", _HOW)
    return Pieces(folder, emulator, runtime, library, version)


_HOW = f"run `{SET_UP}`"


def require_unchanged(cache: Path | None = None) -> None:
    """Check that what was fetched is as it was: a file that was cut short crashes in other words.

    Args:
        cache: as of `find_pieces`.

    Raises:
        DeviceError: a file is not the same any more.
    """
    folder = cache or default_cache()
    try:
        kept = json.loads((folder / MANIFEST).read_text())["sha256"]
    except (OSError, ValueError, TypeError, KeyError):  # nothing was fetched: all is the system's
        return
    for name, sha256 in kept.items():
        if (folder / name).is_file() and file_sha256(folder / name) != sha256:
            raise DeviceError(
                f"{folder / name} has changed since it was fetched",
                f"remove {folder / Path(name).parts[0]}, then {_HOW}",
            )


def require_linux() -> None:
    """Raise DeviceError anywhere but on Linux: user-mode emulation is of its system calls."""
    if not sys.platform.startswith("linux"):
        raise DeviceError(
            f"arm64 emulation works on Linux, not on {platform.system()}",
            "use a Linux machine, a container or CI",
        )


def library_path(cache: Path, version: str) -> Path:
    """Give where the aarch64 library of one version is kept."""
    return cache / f"onnxruntime-{version}" / LIBRARY


def find_emulator(cache: Path) -> Emulator | None:
    """Give qemu-aarch64 of the cache, or the system's: one that knows plugins, if there is one."""
    own = cache / "qemu"
    found: list[Emulator] = []
    for path, libraries in ((own / "usr/bin" / EMULATOR, own / "lib"), (_on_path(), None)):
        if path is None or not path.is_file():
            continue
        version = re.search(
            r"version (\d+\.\d+[.\d]*)", _output([str(path), "--version"], libraries)
        )
        if version:
            has_plugins = "-plugin" in _output([str(path), "-h"], libraries)
            found.append(Emulator(path, libraries, version[1].rstrip("."), has_plugins))
    return next((one for one in found if one.has_plugins), found[0] if found else None)


def find_runtime(cache: Path) -> Path | None:
    """Give the folder of the arm64 C and C++ libraries, of the cache or the system."""
    for folder in (cache / "runtime", SYSTEM_RUNTIME):
        if all((folder / name).is_file() for name in RUNTIME_FILES):
            return folder
    return None


def loading(libraries: Path | None) -> Mapping[str, str]:
    """Give the environment that lets the emulator find its own libraries: that, and no more."""
    return {"LD_LIBRARY_PATH": str(libraries)} if libraries else {}


def _emulator_missing(found: Emulator | None) -> str:
    if found is None:
        return f"{EMULATOR} (package qemu-user)"
    return f"{EMULATOR} with plugins: {found.path} ({found.version}) has none (package qemu-user)"


def _on_path() -> Path | None:
    found = shutil.which(EMULATOR)
    return Path(found) if found else None


def _output(command: list[str], libraries: Path | None) -> str:
    """Give what a command prints, or an empty text where it does not run."""
    try:
        return run_program(command, Path("/"), _ANSWER_S, loading(libraries)).stdout
    except DeviceError:
        return ""
