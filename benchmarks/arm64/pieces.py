"""The pieces that an emulated aarch64 ONNX Runtime needs: find them, or say what is missing.

Everything is kept in one folder of the user's cache. `set_up.py` fetches what is missing there.
The runner and the counter are built from `native/`, again whenever their source changes.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from arm64.cpus import Cpu, write_description
from deploy.errors import DeviceError
from deploy.files import file_sha256, unfinished

NATIVE = Path(__file__).parent / "native"
SET_UP = "python benchmarks/arm_instructions.py --set-up"

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

_RUNNER_TARGET = "aarch64-linux-gnu.2.28"  # the glibc that the wheel needs
_BUILD_TIMEOUT_S = 300


@dataclass(frozen=True)
class Emulator:
    """qemu-aarch64, with what its own loading needs.

    Attributes:
        libraries: folder to look for its shared libraries in, or None where the system has them.
        version: such as `7.2.22`.
    """

    path: Path
    libraries: Path | None
    version: str

    @property
    def plugin_api(self) -> int:
        """The version of the plugin interface that the counter is built for; see counter.c."""
        major, minor = (int(part) for part in self.version.split(".")[:2])
        if major < 9:
            return 1
        return 2 if (major, minor) == (9, 0) else 3


@dataclass(frozen=True)
class Pieces:
    """All that a count needs.

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
    runner: Path
    counter: Path

    @cached_property
    def identity(self) -> dict[str, str]:
        """What a count depends on besides model and core: counts of other ones do not compare."""
        runtime = "".join(file_sha256(self.runtime / name) for name in RUNTIME_FILES)
        return {
            "onnxruntime": self.library_version,
            "library_sha256": file_sha256(self.library),
            "runtime_sha256": hashlib.sha256(runtime.encode()).hexdigest(),
            "qemu": self.emulator.version,
            "native_sha256": source_sha256(),
        }

    def root(self, cpu: Cpu) -> Path:
        """Give the folder that the guest sees above the host's files; made on first use."""
        root = self.cache / "roots" / cpu.name
        libraries = root / "lib"
        libraries.mkdir(parents=True, exist_ok=True)
        for name in RUNTIME_FILES:
            link, wanted = libraries / name, (self.runtime / name).resolve()
            if link.resolve() != wanted:
                link.unlink(missing_ok=True)
                link.symlink_to(wanted)
        (root / "etc").mkdir(exist_ok=True)
        for name in ("ld.so.cache", "localtime"):  # the host's are of no use to the guest
            (root / "etc" / name).touch()
        write_description(cpu, root)
        return root


def default_cache() -> Path:
    """Give the folder of the user's cache that the pieces are in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mofa-deploy" / "arm64"


def find_pieces(cache: Path, library_version: str) -> Pieces:
    """Give all pieces; builds the runner and the counter where their source is new.

    Raises:
        DeviceError: no Linux, or pieces are missing; all of them are named.
    """
    require_linux()
    emulator, runtime = find_emulator(cache), find_runtime(cache)
    library = library_path(cache, library_version)
    missing = [
        name
        for name, found in {
            "qemu-aarch64 with plugins (package qemu-user)": emulator,
            "the arm64 C and C++ runtimes (package libstdc++6-arm64-cross)": runtime,
            f"the aarch64 wheel of onnxruntime {library_version}": library.is_file(),
            "a C compiler for aarch64 (aarch64-linux-gnu-gcc or zig)": runner_compiler(cache),
            "a C compiler (cc or zig)": counter_compiler(cache),
        }.items()
        if not found
    ]
    if missing or emulator is None or runtime is None:
        raise DeviceError(f"no arm64 emulation: {'; '.join(missing)} not found", f"run `{SET_UP}`")
    return Pieces(
        cache=cache,
        emulator=emulator,
        runtime=runtime,
        library=library,
        library_version=library_version,
        runner=_built(cache, "runner.c", runner_compiler(cache), ["-rdynamic", "-ldl"]),
        counter=_built(
            cache,
            "counter.c",
            counter_compiler(cache),
            ["-shared", "-fPIC", "-fvisibility=hidden", f"-DPLUGIN_API={emulator.plugin_api}"],
        ),
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
    return cache / f"onnxruntime-{version}" / "libonnxruntime.so"


def find_emulator(cache: Path) -> Emulator | None:
    """Give qemu-aarch64 of the cache or the system, whichever knows plugins; the cache first."""
    own = cache / "qemu"
    for path, libraries in (
        (own / "usr/bin/qemu-aarch64", own / "lib"),
        (shutil.which("qemu-aarch64"), None),
    ):
        if path is None or not Path(path).is_file():
            continue
        text = _output([str(path), "--version"], libraries)
        version = re.search(r"version (\d+\.\d+[.\d]*)", text)
        if version and "-plugin" in _output([str(path), "-h"], libraries):
            return Emulator(Path(path), libraries, version[1])
    return None


def find_runtime(cache: Path) -> Path | None:
    """Give the folder of the arm64 C and C++ libraries, of the cache or the system."""
    for folder in (cache / "runtime", SYSTEM_RUNTIME):
        if all((folder / name).is_file() for name in RUNTIME_FILES):
            return folder
    return None


def runner_compiler(cache: Path) -> list[str] | None:
    """Give the command of a C compiler for aarch64 Linux, or None."""
    cross = shutil.which("aarch64-linux-gnu-gcc")
    if cross:
        return [cross]
    zig = _zig(cache)
    return [*zig, "cc", "-target", _RUNNER_TARGET] if zig else None


def counter_compiler(cache: Path) -> list[str] | None:
    """Give the command of a C compiler for this machine, or None."""
    own = shutil.which("cc")
    if own:
        return [own]
    zig = _zig(cache)
    return [*zig, "cc"] if zig else None


def source_sha256() -> str:
    """Give one hash of all sources of the runner and the counter."""
    together = "".join(file_sha256(path) for path in sorted(NATIVE.glob("*.[ch]")))
    return hashlib.sha256(together.encode()).hexdigest()


def _zig(cache: Path) -> list[str] | None:
    kept = cache / "zig" / "ziglang" / "zig"
    found = str(kept) if kept.is_file() else shutil.which("zig")
    return [found] if found else None


def _built(cache: Path, source: str, compiler: list[str] | None, flags: list[str]) -> Path:
    """Compile one source file, unless that was done before with this command."""
    command = [*(compiler or ()), "-O2", "-o", "{}", str(NATIVE / source), *flags]
    key = hashlib.sha256("\0".join([source_sha256(), *command]).encode()).hexdigest()[:16]
    built = cache / "bin" / f"{Path(source).stem}-{key}"
    if built.is_file():
        return built
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache / "zig-cache")}
    environment["ZIG_LOCAL_CACHE_DIR"] = environment["ZIG_GLOBAL_CACHE_DIR"]
    with unfinished(built) as temporary:
        command[command.index("{}")] = str(temporary)
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            timeout=_BUILD_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise DeviceError(
                f"{source} does not compile ({(done.stderr.strip().splitlines() or ['?'])[0]})",
                f"check `{command[0]}`, or remove {cache} and run `{SET_UP}`",
            )
    return built


def _output(command: list[str], libraries: Path | None) -> str:
    """Give what a command prints, or an empty text where it does not run."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**os.environ, **loading(libraries)},
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def loading(libraries: Path | None) -> Mapping[str, str]:
    """Give the environment that lets the emulator find its own libraries."""
    return {"LD_LIBRARY_PATH": str(libraries)} if libraries else {}
