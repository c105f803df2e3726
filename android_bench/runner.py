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

For an emulated aarch64 Linux: the same source with `native/arm64/guest.c`, and the emulator's
plugin `native/arm64/counter.c`, a library of this machine.
"""

import hashlib
import importlib.util
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from android_bench.elf import (
    API_LEVEL,
    LINKER,
    NATIVE,
    check_arm64_runner,
    check_counter,
    check_runner,
    symbol_table,
)
from android_bench.toolchain import (
    EMULATED,
    PHONE_ABIS,
    Toolchain,
    find_toolchain,
    find_zig,
    host_abi,
    run_step,
    toolchain_file,
    zig_headers,
)
from deploy.errors import DeviceError
from deploy.files import unfinished

PROGRAM = "ort_bench"
COUNTER = "counter.so"
HOST_GLIBC = "2.28"  # the oldest that the wheels of ONNX Runtime run on

WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-O2")
HOST_FLAGS = (*WARNINGS, "-D_GNU_SOURCE", f"-I{NATIVE / 'libc'}")
HOST_LIBRARIES = ("-ldl", "-lpthread")
COUNTER_FLAGS = (*WARNINGS, "-D_GNU_SOURCE", "-shared", "-fPIC", "-fvisibility=hidden")
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
    return _find_or_build(abi, PROGRAM, find_toolchain(abi), cache, partial(_build_runner, abi))


def find_arm64_runner(cache: Path | None = None) -> Path:
    """Give the runner for an emulated aarch64 Linux; builds it where it is not there yet.

    Not that of a real one (`linux-aarch64`): its clock and its core are the emulator's.

    Raises:
        DeviceError, OutputError: see `find_runner`.
    """
    return find_runner(EMULATED, cache)


def find_counter(plugin_api: int, cache: Path | None = None) -> Path:
    """Give the emulator's plugin that counts; builds it where it is not there yet.

    Args:
        plugin_api: the version of the emulator's interface for plugins, 1, 2 or 3.

    Raises:
        DeviceError, OutputError: see `find_runner`.
    """
    abi = host_abi()
    build = partial(_build_counter, abi, plugin_api)
    return _find_or_build(f"plugin-{plugin_api}-{abi}", COUNTER, find_toolchain(abi), cache, build)


def native_sha256() -> str:
    """Give the hash of the sources that a count of instructions depends on."""
    digest = hashlib.sha256()
    sources = (NATIVE / name for name in ("ort_bench.c", "ort_abi.h", "counting.h", "options.h"))
    for source in sorted([*sources, *(NATIVE / "arm64").glob("*.[ch]")]):
        digest.update(source.relative_to(NATIVE).as_posix().encode())
        digest.update(source.read_bytes())
    return digest.hexdigest()


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


def _build_hash(what: str, toolchain: Toolchain) -> str:
    """Give the hash of all that a build depends on."""
    parts = [what, toolchain.name, toolchain.identity, *HOST_FLAGS[:-1], *HOST_LIBRARIES]
    parts += [*BARE_FLAGS, *PHONE_LINK_FLAGS, *COUNTER_FLAGS, HOST_GLIBC, str(API_LEVEL)]
    digest = hashlib.sha256("\0".join(parts).encode())
    for source in sorted(one for one in NATIVE.rglob("*") if one.is_file()):
        if source.suffix != ".md":
            digest.update(source.relative_to(NATIVE).as_posix().encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _find_or_build(
    what: str,
    name: str,
    toolchain: Toolchain,
    cache: Path | None,
    build: Callable[[Toolchain, Path], Path],
) -> Path:
    """Give the built file of that name; `build` makes it in a folder that it is given."""
    zig = find_zig()
    with _building:
        try:
            return _kept(what, name, toolchain, cache or default_cache(), build)
        except DeviceError:
            if toolchain.name != "cc" or zig is None:
                raise
            # a compiler without the system's headers
            return _kept(what, name, zig, cache or default_cache(), build)


def _kept(
    what: str,
    name: str,
    toolchain: Toolchain,
    cache: Path,
    build: Callable[[Toolchain, Path], Path],
) -> Path:
    final = cache / _build_hash(what, toolchain) / what / name
    if not final.is_file():
        with unfinished(final) as temporary, tempfile.TemporaryDirectory() as folder:
            shutil.copyfile(build(toolchain, Path(folder)), temporary)
            temporary.chmod(0o755)
    return final


def _build_runner(abi: str, toolchain: Toolchain, folder: Path) -> Path:
    if abi not in PHONE_ABIS:
        built = _build_for_linux(abi, toolchain, folder)
    elif toolchain.folder is not None:
        built = _build_with_ndk(abi, toolchain, folder)
    else:
        built = _build_without_ndk(abi, toolchain, folder)
    if abi in PHONE_ABIS:
        check_runner(built, abi)
    if abi == EMULATED:
        check_arm64_runner(built)
    return built


def _build_for_linux(abi: str, toolchain: Toolchain, folder: Path) -> Path:
    built = folder / PROGRAM
    sources = [str(NATIVE / "ort_bench.c")]
    if abi == EMULATED:
        sources += [str(NATIVE / "arm64" / "guest.c"), "-rdynamic"]
    command = [*_linux_compiler(abi, toolchain), *HOST_FLAGS, "-o", str(built), *sources]
    run_step([*command, *HOST_LIBRARIES], folder)
    return built


def _build_counter(abi: str, plugin_api: int, toolchain: Toolchain, folder: Path) -> Path:
    built = folder / COUNTER
    command = [*_linux_compiler(abi, toolchain), *COUNTER_FLAGS, f"-DPLUGIN_API={plugin_api}"]
    run_step([*command, "-o", str(built), str(NATIVE / "arm64" / "counter.c")], folder)
    cpu = abi.removeprefix("linux-")
    check_counter(built, next(name for name, one in PHONE_ABIS.items() if one == cpu))
    return built


def _linux_compiler(abi: str, toolchain: Toolchain) -> list[str]:
    if toolchain.name != "zig":
        return list(toolchain.command)
    cpu = abi.rpartition("-")[2]
    return [*toolchain.command, "cc", "-target", f"{cpu}-linux-gnu.{HOST_GLIBC}"]


def _build_with_ndk(abi: str, toolchain: Toolchain, folder: Path) -> Path:
    assert toolchain.folder is not None
    cmake = toolchain.command
    configure = [*cmake, "-S", str(NATIVE), "-B", str(folder)]
    configure += [f"-DCMAKE_TOOLCHAIN_FILE={toolchain_file(toolchain.folder)}"]
    configure += [f"-DANDROID_ABI={abi}", f"-DANDROID_PLATFORM=android-{API_LEVEL}"]
    run_step(configure, folder)
    run_step([*cmake, "--build", str(folder)], folder)
    return folder / PROGRAM


def _build_without_ndk(abi: str, toolchain: Toolchain, folder: Path) -> Path:
    """Link against empty libraries: on the phone the real ones take their place."""
    built = folder / PROGRAM
    compiler = [*toolchain.command, "cc", "-target", f"{PHONE_ABIS[abi]}-linux-android"]
    flags = [*BARE_FLAGS, *WARNINGS, "-fPIE", "-nostdinc", f"-I{NATIVE / 'bionic'}"]
    headers = ["-isystem", str(zig_headers())]
    sources = [str(NATIVE / "ort_bench.c"), str(NATIVE / "bionic" / "start.c")]
    stubs = _build_stubs(compiler, folder)
    run_step(
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
        run_step([*compiler, *BARE_FLAGS, *link], folder)
        stubs.append(str(stub))
    return stubs
