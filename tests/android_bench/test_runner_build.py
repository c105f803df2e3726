"""How the native runner comes to be: what builds it, where it is kept, what goes wrong."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from native_examples import write_inputs

from android_bench import protocol
from android_bench.elf import NATIVE
from android_bench.runner import (
    HOST_FLAGS,
    HOST_LIBRARIES,
    default_cache,
    find_runner,
    host_command,
    host_library,
)
from android_bench.toolchain import find_toolchain, host_abi, ndk_folders
from deploy.errors import DeviceError

HOST = host_abi()


@pytest.fixture
def path_of(tmp_path, monkeypatch):
    """Leave on PATH only the programs that a test writes."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("ANDROID_NDK_HOME", "ANDROID_NDK_ROOT", "ANDROID_HOME", "ANDROID_SDK_ROOT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()

    def write(name, script):
        program = tmp_path / "bin" / name
        program.write_text(f"#!{sys.executable} -S\nimport sys\n{script}\n")
        program.chmod(0o755)

    return write


def test_it_is_built_once_and_then_found(tmp_path):
    first = find_runner(HOST, tmp_path)
    written = first.stat().st_mtime_ns
    assert find_runner(HOST, tmp_path) == first
    assert first.stat().st_mtime_ns == written
    assert os.access(first, os.X_OK)
    assert [path.name for path in first.parent.iterdir()] == ["ort_bench"]


def test_threads_that_want_it_at_once_get_one_build(tmp_path):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(find_runner(HOST, tmp_path))) for _ in range(4)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_another_compiler_is_another_folder(tmp_path, path_of):
    real = shutil.which("cc", path=os.defpath)
    if real is None:
        pytest.skip("no system compiler")
    path_of("cc", f"import os; os.execv({real!r}, [{real!r}, *sys.argv[1:]])")
    os.environ["PATH"] += os.pathsep + os.defpath
    mine = find_runner(HOST, tmp_path)
    (tmp_path / "bin" / "cc").unlink()
    assert find_runner(HOST, tmp_path).parent.parent != mine.parent.parent


def test_the_users_cache_is_where_the_system_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "mofa-deploy" / "runner"


def test_the_hosts_command_names_program_and_library(tmp_path):
    program, option, library = host_command(tmp_path)
    assert Path(program).is_relative_to(tmp_path)
    assert (option, library) == ("--library", str(host_library()))


def test_an_abi_that_there_is_no_runner_for_is_named_with_those_there_are(tmp_path):
    with pytest.raises(DeviceError, match="no runner for riscv64: there is one for arm64-v8a"):
        find_runner("riscv64", tmp_path)


@pytest.fixture
def no_zig(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "ziglang", raising=False)


def test_a_build_that_fails_says_the_compilers_first_error_and_leaves_nothing(
    tmp_path, path_of, no_zig
):
    path_of("cc", "sys.exit('x.c:3:1: error: no such thing\\nand more')")
    with pytest.raises(DeviceError, match=r"built with cc \(x\.c:3:1: error: no such thing\)"):
        find_runner(HOST, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_without_a_system_compiler_zig_serves(path_of):
    assert find_toolchain(HOST).name == "zig"


@pytest.mark.slow
def test_where_the_system_compiler_has_no_headers_zig_builds_for_this_machine(tmp_path, path_of):
    path_of("cc", "sys.exit('ort_bench.c:15: fatal error: dlfcn.h: No such file')")
    built = find_runner(HOST, tmp_path / "cache")
    write_inputs(tmp_path)
    command = [built, "--library", host_library(), "net.onnx", "--input", "input.f32"]
    command += ["--output", "output.f32", "--mode", "check"]
    done = subprocess.run(
        list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert protocol.parse_launch(done.stdout).failure is None


def test_with_nothing_to_build_with_the_next_step_is_named(path_of, no_zig):
    with pytest.raises(DeviceError, match="pip install ziglang; or set ANDROID_NDK_HOME"):
        find_toolchain("arm64-v8a")


def test_an_ndk_is_looked_for_where_it_is_named_and_then_where_it_is_installed(tmp_path):
    for version in ("9.1.0", "28.0.1", "27.2.3"):
        (tmp_path / "ndk" / version).mkdir(parents=True)
    environment = {
        "ANDROID_HOME": str(tmp_path),
        "ANDROID_NDK_ROOT": "/a",
        "ANDROID_NDK_HOME": "/b",
    }
    names = [str(one) for one in ndk_folders(environment)]
    installed = [str(tmp_path / "ndk" / one) for one in ("28.0.1", "27.2.3", "9.1.0")]
    assert names == ["/b", "/a", *installed]


def test_an_ndk_counts_only_with_cmake(tmp_path, path_of, monkeypatch):
    write_ndk(tmp_path / "ndk")
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path / "ndk"))
    assert find_toolchain("arm64-v8a").name == "zig"
    path_of("cmake", "")
    assert find_toolchain("arm64-v8a").name == "ndk"


def test_cmake_is_told_the_toolchain_the_abi_and_the_level(tmp_path, path_of, monkeypatch):
    log = tmp_path / "log"
    write_ndk(tmp_path / "ndk")
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path / "ndk"))
    path_of("cmake", f"open({str(log)!r}, 'a').write(repr(sys.argv[1:]) + '\\n')")
    with pytest.raises(DeviceError, match=r"cannot read .*ort_bench"):  # that cmake makes none
        find_runner("arm64-v8a", tmp_path / "cache")
    configure, build = log.read_text().splitlines()
    file = tmp_path / "ndk" / "build" / "cmake" / "android.toolchain.cmake"
    for wanted in (
        f"-DCMAKE_TOOLCHAIN_FILE={file}",
        "-DANDROID_ABI=arm64-v8a",
        "-DANDROID_PLATFORM=android-24",
    ):
        assert repr(wanted) in configure
    assert build.startswith("['--build'")


def write_ndk(folder, toolchain=""):
    (folder / "build" / "cmake").mkdir(parents=True)
    (folder / "build" / "cmake" / "android.toolchain.cmake").write_text(toolchain)


needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")


@needs_cmake
def test_what_an_ndk_builds_is_checked_before_it_is_kept(tmp_path, monkeypatch):
    write_ndk(tmp_path / "ndk")  # one that builds for this machine
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path / "ndk"))
    with pytest.raises(DeviceError, match=r"is built for|asks for the linker"):
        find_runner("x86_64", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("ort_bench"))


def test_the_sources_travel_with_the_package():
    config = (NATIVE.parents[1] / "setup.cfg").read_text()
    assert "android_bench = native/*, native/*/*" in config
    assert all(len(one.relative_to(NATIVE).parts) <= 2 for one in NATIVE.rglob("*"))


@pytest.mark.slow
def test_every_mode_is_clean_under_the_sanitizers(tmp_path):
    toolchain = find_toolchain(HOST)
    if toolchain.name != "cc":
        pytest.skip("needs the system's compiler")
    built = tmp_path / "ort_bench"
    checks = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    source = str(NATIVE / "ort_bench.c")
    command = [*toolchain.command, *HOST_FLAGS, *checks, "-o", str(built), source, *HOST_LIBRARIES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "sanitize" in done.stderr or "asan" in done.stderr:
        pytest.skip("this compiler has no sanitizers")
    assert done.returncode == 0, done.stderr
    write_inputs(tmp_path)
    for mode in ("latency", "memory", "profile", "save", "check"):
        command = [str(built), "net.onnx", "--library", str(host_library()), "--mode", mode]
        command += ["--input", "input.f32", "--output", "output.f32", "--seconds", "0.05"]
        command += ["--save", "s.onnx", "--profile", "p.json", "--interval-ms", "1"]
        command += ["--cores", "1", "--config", "a=b", "--log-level", "0"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{mode}: {done.stderr[-2000:]}"
        assert json.loads(done.stdout.splitlines()[-1])["record"] == "done"
    wrong = subprocess.run(
        [*command, "--seconds", "x" * 9000], cwd=tmp_path, capture_output=True, check=False
    )
    assert wrong.returncode == 2
