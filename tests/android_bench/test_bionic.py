"""What is declared by hand of Android's C library, against real headers; and the program itself,
built for Android and run here on a stand-in for that library.

The stand-in is glibc under bionic's names, so what runs is the real file: its start, its calls, its
structs. It says nothing about bionic's own behaviour.
"""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from bench_examples import SHAPE
from emulation_examples import pieces_or_skip
from native_examples import compile_c, make_library, write_inputs

from android_bench import protocol
from android_bench.arm64_cpus import find_cpu
from android_bench.arm64_pieces import loading
from android_bench.elf import NATIVE
from android_bench.runner import BARE_FLAGS, HOST_FLAGS, find_runner, host_library
from android_bench.toolchain import find_toolchain, ndk_folders

HEADER = NATIVE / "bionic" / "ort_bench_libc.h"
ON_X86_LINUX = platform.system() == "Linux" and platform.machine() == "x86_64"

SIZES = {
    "struct timespec": 16,
    "struct timeval": 16,
    "struct rusage": 144,
    "cpu_set_t": 128,
    "pthread_mutex_t": 40,
    "pthread_t": 8,
    "off_t": 8,
    "time_t": 8,
    "ssize_t": 8,
    "size_t": 8,
}
OFFSETS = {
    ("struct timespec", "tv_sec"): 0,
    ("struct timespec", "tv_nsec"): 8,
    ("struct rusage", "ru_utime"): 0,
    ("struct rusage", "ru_stime"): 16,
    ("struct rusage", "ru_maxrss"): 32,
}
VALUES = {
    "EINTR": 4,
    "STDOUT_FILENO": 1,
    "STDERR_FILENO": 2,
    "O_RDONLY": 0,
    "O_WRONLY": 1,
    "O_RDWR": 2,
    "O_CREAT": 0o100,
    "O_TRUNC": 0o1000,
    "O_CLOEXEC": 0o2000000,
    "SEEK_SET": 0,
    "SEEK_END": 2,
    "PROT_READ": 1,
    "PROT_WRITE": 2,
    "MAP_SHARED": 1,
    "MAP_PRIVATE": 2,
    "MAP_ANONYMOUS": 0x20,
    "CLOCK_MONOTONIC": 1,
    "RUSAGE_SELF": 0,
    "RTLD_NOW": 2,
    "RTLD_LOCAL": 0,
}
ASSERTS = "\n".join(
    f"_Static_assert({fact}, {fact!r});".replace("'", '"')
    for fact in (
        *(f"sizeof({name}) == {size}" for name, size in SIZES.items()),
        *(f"offsetof({name}, {field}) == {at}" for (name, field), at in OFFSETS.items()),
        *(f"{name} == {value}" for name, value in VALUES.items()),
    )
)
# glibc declares these two with types of its own, each in one of its two dialects
ODD = {"_GNU_SOURCE": "getrusage", "_DEFAULT_SOURCE": "sched_"}


def declarations():
    """Give the functions that the header declares, each as one line of C."""
    return re.findall(r"^[a-z][\w *]*\**\w+\(.*\)(?: __attribute__.*)?;$", HEADER.read_text(), re.M)


def test_every_name_that_the_header_gives_a_value_is_checked():
    named = re.findall(r"\b([A-Z_]+) = ", HEADER.read_text())
    assert set(named) == set(VALUES)


def test_the_layout_is_that_of_the_header_by_hand(tmp_path):
    source = f'#include "{HEADER}"\n{ASSERTS}\n'
    done = compile_c(source, tmp_path / "hand.o", "-c", "-ffreestanding")
    assert done.returncode == 0, done.stderr


def test_the_layout_is_that_of_the_systems_headers(tmp_path):
    # but for the mutex, which every C library lays out in its own way
    asserts = "\n".join(line for line in ASSERTS.splitlines() if "pthread_mutex_t" not in line)
    source = f"#include <ort_bench_libc.h>\n{asserts}\n"
    done = compile_c(source, tmp_path / "system.o", "-c", *HOST_FLAGS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dialect", ODD)
def test_functions_are_declared_as_in_the_systems_headers(tmp_path, dialect):
    lines = [one for one in declarations() if ODD[dialect] not in one and "__errno" not in one]
    assert len(lines) > 35
    include = f"-I{NATIVE / 'libc'}"
    source = "\n".join(["#include <ort_bench_libc.h>", *lines, ""])
    done = compile_c(source, tmp_path / "both.o", "-c", "-std=c11", f"-D{dialect}", include)
    assert done.returncode == 0, done.stderr


def test_a_wrong_declaration_would_be_found(tmp_path):
    source = "#include <ort_bench_libc.h>\nint lseek(int, int, int);\n"
    done = compile_c(source, tmp_path / "wrong.o", "-c", *HOST_FLAGS)
    assert "conflicting types" in done.stderr


@pytest.mark.parametrize("abi", ["aarch64", "x86_64"])
def test_layout_and_functions_are_those_of_an_ndk(tmp_path, abi):
    compilers = [
        clang
        for folder in ndk_folders(os.environ)
        for clang in folder.glob(f"toolchains/llvm/prebuilt/*/bin/{abi}-linux-android24-clang")
    ]
    if not compilers:
        pytest.skip("no NDK here (ANDROID_NDK_HOME)")
    source = tmp_path / "ndk.c"
    source.write_text("\n".join(["#include <ort_bench_libc.h>", ASSERTS, *declarations(), ""]))
    command = [str(compilers[0]), "-c", *HOST_FLAGS, str(source), "-o", str(tmp_path / "ndk.o")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


STAND_IN_LIBC = """
#include <errno.h>
#include <stdlib.h>
int *__errno(void) { return &errno; }
void __libc_init(long *stack, void *at_exit, int (*entry)(int, char **), void **structors)
{
    for (int i = 0; i < 6; i++) if (structors[i]) abort();
    exit(entry((int)*stack, (char **)(stack + 1)));
}
"""


# The same without headers or libraries to link with: glibc is loaded before it.
BARE_STAND_IN_LIBC = STAND_IN_LIBC.replace(
    "#include <errno.h>\n#include <stdlib.h>\n",
    "int *__errno_location(void); void abort(void); void exit(int);\n",
).replace("&errno", "__errno_location()")


@pytest.mark.skipif(not ON_X86_LINUX, reason="runs the x86_64 file without an emulator")
@pytest.mark.parametrize("mode", ["latency", "memory", "profile", "save", "check"])
def test_the_file_for_a_phone_runs_on_a_stand_in_for_its_c_library(tmp_path, mode):
    if find_toolchain("x86_64").name == "ndk":
        pytest.skip("an NDK's file wants more of the C library")
    write_inputs(tmp_path)
    make_library(tmp_path, "libc.so", STAND_IN_LIBC)
    make_library(tmp_path, "libdl.so", "int x;")
    (linker,) = Path("/lib64").glob("ld-linux-x86-64.so.2")
    command = [linker, "--library-path", tmp_path, find_runner("x86_64"), "net.onnx"]
    command += ["--library", host_library(), "--input", "input.f32", "--output", "output.f32"]
    command += ["--mode", mode, "--seconds", "0", "--save", "s.onnx", "--profile", "p.json"]
    done = subprocess.run(
        list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = protocol.parse_launch(done.stdout)
    assert seen.failure is None
    assert len(seen.samples) == {"save": 0, "check": 1}.get(mode, 9)


@pytest.mark.slow
def test_the_file_for_arm64_runs_under_emulation_on_that_stand_in(tmp_path):
    """Correctness only: an emulated processor, Linux' kernel and C library."""
    pieces = pieces_or_skip()
    if find_toolchain("arm64-v8a").name == "ndk":
        pytest.skip("an NDK's file wants more of the C library")
    write_inputs(tmp_path)
    (tmp_path / "libc.c").write_text(BARE_STAND_IN_LIBC)
    (tmp_path / "libdl.c").write_text("int x;")
    for name in ("libc", "libdl"):
        target = ["-target", "aarch64-linux-gnu", *BARE_FLAGS, "-shared", "-fPIC"]
        command = [sys.executable, "-m", "ziglang", "cc", *target, "-o", f"{name}.so", f"{name}.c"]
        environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(tmp_path / "zig")}
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    runtime, cpu, root = pieces.runtime, find_cpu("a76"), tmp_path / "root"
    root.mkdir()
    pieces.make_root(cpu, root)
    guest = ["-U", "LD_LIBRARY_PATH", "-E", f"LD_PRELOAD={runtime / 'libc.so.6'}"]
    guest += ["-E", "ORT_DISABLE_TELEMETRY=1", "-cpu", cpu.qemu, "-L", root]
    linker = [runtime / "ld-linux-aarch64.so.1", "--library-path", f"{tmp_path}:{runtime}"]
    command = [pieces.emulator.path, *guest, *linker, find_runner("arm64-v8a"), "net.onnx"]
    command += ["--library", pieces.library, "--input", "input.f32", "--output", "output.f32"]
    done = subprocess.run(
        [*map(str, command), "--mode", "memory", "--seconds", "0", "--interval-ms", "50"],
        cwd=tmp_path,
        env=dict(loading(pieces.emulator.libraries)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = protocol.parse_launch(done.stdout)
    assert len(seen.samples) == 9
    assert seen.smaps[-1].vmas
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    values = np.fromfile(tmp_path / "input.f32", "<f4").reshape(SHAPE)
    expected = session.run(None, {"input": values})[0]
    written = np.fromfile(tmp_path / "output.f32", "<f4").reshape(SHAPE)
    np.testing.assert_allclose(written, expected, rtol=1e-4, atol=1e-5)
