"""What is built for counting: the runner of the emulated processor, the plugin for this one."""

import pytest
from native_examples import compile_c

from android_bench.elf import NATIVE, check_arm64_runner, check_counter, read_elf
from android_bench.runner import find_arm64_runner, find_counter, find_runner, native_sha256
from android_bench.toolchain import EMULATED, PHONE_ABIS, find_toolchain, host_abi
from deploy.errors import DeviceError

HERE = {f"linux-{cpu}": abi for abi, cpu in PHONE_ABIS.items()}[host_abi()]


def test_the_emulated_runner_is_a_program_of_linux_on_aarch64():
    elf = read_elf(find_arm64_runner())
    assert (elf.abi, elf.interpreter) == ("arm64-v8a", "/lib/ld-linux-aarch64.so.1")
    assert {"clock_gettime", "syscall", "count_on_clock"} <= elf.exported


def test_other_builds_keep_the_clock_of_their_c_library():
    for abi in (host_abi(), "arm64-v8a"):
        assert not read_elf(find_runner(abi)).exported & {"clock_gettime", "count_on_clock"}


def test_a_phone_s_runner_is_not_taken_for_the_emulated_one():
    with pytest.raises(DeviceError, match="asks for the linker /system/bin/linker64"):
        check_arm64_runner(find_runner("arm64-v8a"))


def test_a_runner_of_another_processor_is_not_taken_for_the_emulated_one():
    with pytest.raises(DeviceError, match="is built for x86_64, not for aarch64"):
        check_arm64_runner(find_runner("x86_64"))


@pytest.mark.parametrize("api", [1, 2, 3])
def test_the_counter_is_a_library_for_every_interface_of_the_emulator(api, tmp_path):
    built = find_counter(api, tmp_path)
    check_counter(built, HERE)
    adds = {1: "inline", 2: "inline_per_vcpu", 3: "inline_per_vcpu"}[api]
    assert f"qemu_plugin_register_vcpu_tb_exec_{adds}" in read_elf(built).undefined
    assert find_counter(api, tmp_path) == built


def test_a_library_that_is_no_counter_is_refused(tmp_path):
    other = tmp_path / "other.so"
    assert compile_c("int x;", other, "-shared", "-fPIC").returncode == 0
    with pytest.raises(DeviceError, match="does not export qemu_plugin_install"):
        check_counter(other, HERE)
    with pytest.raises(DeviceError, match="is no library"):
        check_counter(find_runner(host_abi()), HERE)


def test_a_counter_of_another_processor_is_refused(tmp_path):
    with pytest.raises(DeviceError, match="is built for"):
        check_counter(find_counter(1, tmp_path), "riscv64")


def test_where_there_is_no_zig_a_cross_compiler_serves(tmp_path, monkeypatch):
    monkeypatch.setattr("android_bench.toolchain.find_zig", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="nothing to build the runner for emulated-aarch64 with"):
        find_toolchain(EMULATED)
    cross = tmp_path / "aarch64-linux-gnu-gcc"
    cross.write_text("#!/bin/sh\n")
    cross.chmod(0o755)
    assert find_toolchain(EMULATED).command == (str(cross),)


def test_the_hash_of_the_sources_changes_with_each_that_decides_a_count(tmp_path, monkeypatch):
    monkeypatch.setattr("android_bench.runner.NATIVE", tmp_path)
    (tmp_path / "arm64").mkdir()
    names = ["ort_bench.c", "ort_abi.h", "counting.h", "options.h", "memory.h"]
    names += ["arm64/counter.c", "arm64/guest.c", "arm64/page.h"]
    for name in names:
        (tmp_path / name).write_bytes((NATIVE / name).read_bytes())
    before = native_sha256()
    (tmp_path / "memory.h").write_text("/* reads memory, which a counted launch does not */")
    assert native_sha256() == before
    hashes = {before}
    for name in names:
        if name != "memory.h":
            (tmp_path / name).write_text("/* another */")
            hashes.add(native_sha256())
    assert len(hashes) == len(names)
