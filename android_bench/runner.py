"""The native runner for an ABI: found in the user's cache, else built there from `native/`.

Built on first use, not with the package. First use costs, once: 0.6 s with the system's compiler,
1 s for each ABI of a phone with zig (46 KB), 9 s for this machine with zig. Building with the
package would save that and make a wheel 300 KB larger, but each install from a checkout would
fetch zig into its build environment (101 MB, 411 MB unpacked, 40 s) even where a compiler or an
NDK is there, and an editable install would go stale with each change of a source. Here sources,
compiler and flags name the folder, so what is found is what would be built.

For a phone: the NDK through CMake's toolchain file where both are there, else zig (the package
ziglang), which needs no sysroot: bionic's functions are declared by hand in `native/bionic` and
linked against empty libraries of the same names. For this machine: `cc` where there is one, as it
is there at once, else zig. Which one hardly matters: what is timed is one call into ONNX Runtime,
which is not built here.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from android_bench.elf import API_LEVEL, LINKER, NATIVE, check_runner, symbol_table
from android_bench.toolchain import (
    PHONE_ABIS,
    Toolchain,
    find_toolchain,
    find_zig,
    host_abi,
    toolchain_file,
    zig_headers,
)
from deploy.errors import DeviceError
from deploy.files import unfinished

PROGRAM = "ort_bench"
HOST_GLIBC = "2.28"  # the oldest that the wheels of ONNX Runtime run on
BUILD_TIMEOUT_S = 300.0

WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-O2")
HOST_FLAGS = (*WARNINGS, "-D_GNU_SOURCE", f"-I{NATIVE / 'libc'}")
HOST_LIBRARIES = ("-ldl", "-lpthread")
# of a build that has no C library to look at
BARE_FLAGS = ("-ffreestanding", "-nostdlib", "-fno-stack-protector", "-fno-sanitize=all", "-g0")
PHONE_LINK_FLAGS = (
    "-pie",
    "-Wl,-z,max-page-size=16384",
    "-Wl,--hash-style=both",
    "-Wl,--build-id",
    f"-Wl,--dynamic-linker={LINKER}",
)

_building = threading.Lock()  # phones are measured side by side, and want the same file


def find_runner(abi: str, cache: Path | None = None) -> Path:
    """Give the runner for an ABI; builds it where it is not there yet.

    Args:
        abi: of a phone (`arm64-v8a`, `x86_64`) or of a Linux machine (`linux-x86_64`,
            `linux-aarch64`).
        cache: the folder to keep it in; left out: the user's.

    Raises:
        DeviceError: there is no runner for that ABI, nothing to build it with, or the build fails
            or gives a file that the device cannot load.
        OutputError: the cache refuses.
    """
    folder, toolchain = cache or default_cache(), find_toolchain(abi)
    zig = find_zig()
    with _building:
        try:
            return _find_or_build(abi, toolchain, folder)
        except DeviceError:
            if toolchain.name != "cc" or zig is None:
                raise
            return _find_or_build(abi, zig, folder)  # a compiler without the system's headers


def host_command(cache: Path | None = None) -> list[str]:
    """Give how the runner of this machine is called, up to the model: program and library.

    Raises:
        DeviceError: see `find_runner`; or the installed onnxruntime has no library.
    """
    return [str(find_runner(host_abi(), cache)), "--library", str(host_library())]


def host_library() -> Path:
    """Give the ONNX Runtime library in the installed onnxruntime, without importing that.

    Raises:
        DeviceError: there is none.
    """
    found = importlib.util.find_spec("onnxruntime")
    if found is not None and found.origin is not None:
        libraries = sorted((Path(found.origin).parent / "capi").glob("libonnxruntime.so*"))
        if libraries:
            return libraries[-1]
    raise DeviceError(
        "the installed onnxruntime has no libonnxruntime.so", "pip install 'onnxruntime>=1.24'"
    )


def default_cache() -> Path:
    """Give the folder of the user's cache that runners are kept in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mofa-deploy" / "runner"


def _build_hash(abi: str, toolchain: Toolchain) -> str:
    """Give the hash of all that a build depends on."""
    parts = [abi, toolchain.name, toolchain.identity, *HOST_FLAGS[:-1], *HOST_LIBRARIES]
    parts += [*BARE_FLAGS, *PHONE_LINK_FLAGS, HOST_GLIBC, str(API_LEVEL)]
    digest = hashlib.sha256("\0".join(parts).encode())
    for source in sorted(one for one in NATIVE.rglob("*") if one.is_file()):
        if source.suffix != ".md":
            digest.update(source.relative_to(NATIVE).as_posix().encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _find_or_build(abi: str, toolchain: Toolchain, cache: Path) -> Path:
    final = cache / _build_hash(abi, toolchain) / abi / PROGRAM
    if not final.is_file():
        with unfinished(final) as temporary:
            _build(abi, toolchain, temporary)
    return final


def _build(abi: str, toolchain: Toolchain, final: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mofa-runner-") as name:
        folder = Path(name)
        if abi not in PHONE_ABIS:
            built = _build_for_linux(abi, toolchain, folder)
        elif toolchain.folder is not None:
            built = _build_with_ndk(abi, toolchain, folder)
        else:
            built = _build_without_ndk(abi, toolchain, folder)
        if abi in PHONE_ABIS:
            check_runner(built, abi)
        shutil.copyfile(built, final)
        final.chmod(0o755)


def _build_for_linux(abi: str, toolchain: Toolchain, folder: Path) -> Path:
    built = folder / PROGRAM
    cpu = abi.removeprefix("linux-")
    target = ["cc", "-target", f"{cpu}-linux-gnu.{HOST_GLIBC}"] if toolchain.name == "zig" else []
    source = str(NATIVE / "ort_bench.c")
    command = [*toolchain.command, *target, *HOST_FLAGS, "-o", str(built), source]
    _call([*command, *HOST_LIBRARIES], folder)
    return built


def _build_with_ndk(abi: str, toolchain: Toolchain, folder: Path) -> Path:
    assert toolchain.folder is not None
    cmake = toolchain.command
    configure = [*cmake, "-S", str(NATIVE), "-B", str(folder)]
    configure += [f"-DCMAKE_TOOLCHAIN_FILE={toolchain_file(toolchain.folder)}"]
    configure += [f"-DANDROID_ABI={abi}", f"-DANDROID_PLATFORM=android-{API_LEVEL}"]
    _call(configure, folder)
    _call([*cmake, "--build", str(folder)], folder)
    return folder / PROGRAM


def _build_without_ndk(abi: str, toolchain: Toolchain, folder: Path) -> Path:
    """Link against empty libraries: on the phone the real ones take their place."""
    built = folder / PROGRAM
    compiler = [*toolchain.command, "cc", "-target", f"{PHONE_ABIS[abi]}-linux-android"]
    flags = [*BARE_FLAGS, *WARNINGS, "-fPIE", "-nostdinc", f"-I{NATIVE / 'bionic'}"]
    headers = ["-isystem", str(zig_headers())]
    sources = [str(NATIVE / "ort_bench.c"), str(NATIVE / "bionic" / "start.c")]
    stubs = _build_stubs(compiler, folder)
    _call(
        [*compiler, *flags, *headers, *PHONE_LINK_FLAGS, "-o", str(built), *sources, *stubs], folder
    )
    return built


def _build_stubs(compiler: Sequence[str], folder: Path) -> list[str]:
    """Make a library for each of bionic's that defines the functions it has, and nothing else."""
    stubs = []
    for library in sorted({library for library, _, _ in symbol_table()}):
        source, stub = folder / f"{library}.c", folder / library
        names = [name for where, name, _ in symbol_table() if where == library]
        source.write_text("".join(f"void {name}(void) {{}}\n" for name in names))
        link = ["-shared", f"-Wl,-soname,{library}", "-w", "-o", str(stub), str(source)]
        _call([*compiler, *BARE_FLAGS, *link], folder)
        stubs.append(str(stub))
    return stubs


def _call(command: Sequence[str], folder: Path) -> None:
    """Run one step of a build.

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
    return DeviceError(
        f"the runner cannot be built with {Path(command[0]).name} ({what.strip()})",
        "mend or remove that compiler (pip install ziglang is enough)",
    )
