import random

import pytest
from native_examples import compile_c

from android_bench.elf import ElfFile, check_runner, is_elf, read_elf, symbol_table
from android_bench.runner import find_runner, host_library
from android_bench.toolchain import PHONE_ABIS, host_abi
from deploy.errors import DeviceError

STUB = ("-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libm.so")


@pytest.fixture(params=sorted(PHONE_ABIS))
def abi(request):
    return request.param


def test_the_runner_for_a_phone_can_be_started_there(abi):
    runner = find_runner(abi)
    check_runner(runner, abi)
    elf = read_elf(runner)
    assert (elf.abi, elf.interpreter) == (abi, "/system/bin/linker64")
    assert elf.is_pie
    assert elf.load_alignment_bytes == 0x4000
    assert set(elf.needed) <= {"libc.so", "libdl.so"}


def test_a_runner_for_another_processor_is_refused():
    with pytest.raises(DeviceError, match="is built for x86_64, not for arm64-v8a"):
        check_runner(find_runner("x86_64"), "arm64-v8a")


def test_a_function_younger_than_the_device_is_named(abi):
    with pytest.raises(DeviceError, match="sched_setaffinity, younger than API level 11"):
        check_runner(find_runner(abi), abi, api_level=11)


def test_a_program_for_this_machine_is_not_taken_for_one_of_a_phone(tmp_path):
    runner = find_runner(host_abi())
    with pytest.raises(DeviceError, match=r"asks for the linker /lib\S+, not /system/bin/linker64"):
        check_runner(runner, read_elf(runner).abi)


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        ([], "is aligned to 4096 bytes"),
        (["-Wl,-z,max-page-size=16384"], "needs libc.so.6, which no plain program has"),
    ],
)
def test_what_a_phone_could_not_load_is_refused(tmp_path, flags, what):
    built = tmp_path / "program"
    linker = "-Wl,--dynamic-linker=/system/bin/linker64"
    pages = flags or ["-Wl,-z,max-page-size=4096"]
    assert compile_c("int main(void){return 0;}", built, "-pie", linker, *pages).returncode == 0
    with pytest.raises(DeviceError, match=what):
        check_runner(built, read_elf(built).abi)


def test_a_program_at_a_fixed_address_is_refused(tmp_path):
    built = tmp_path / "program"
    linker = "-Wl,--dynamic-linker=/system/bin/linker64"
    assert compile_c("int main(void){return 0;}", built, "-no-pie", linker).returncode == 0
    with pytest.raises(DeviceError, match="not position-independent"):
        check_runner(built, read_elf(built).abi)


def test_a_function_that_nobody_vouches_for_is_named(tmp_path):
    stub, built = tmp_path / "libm.so", tmp_path / "program"
    assert compile_c("int statx(void){return 0;}", stub, *STUB).returncode == 0
    source = "int statx(void); int main(void){return statx();}"
    linker = ["-Wl,--dynamic-linker=/system/bin/linker64", "-Wl,-z,max-page-size=16384"]
    bare = ["-nostdlib", "-pie", "-fPIE", "-Wl,-e,main"]
    done = compile_c(source, built, *bare, *linker, str(stub))
    assert done.returncode == 0, done.stderr
    with pytest.raises(DeviceError, match=r"uses statx, not listed in symbols\.txt"):
        check_runner(built, read_elf(built).abi)


def test_a_library_tells_its_name_and_its_functions():
    elf = read_elf(host_library())
    assert elf.soname == "libonnxruntime.so.1"
    assert elf.interpreter is None
    assert not elf.is_pie
    assert "OrtGetApiBase" in elf.exported
    assert "malloc" in elf.undefined


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF" + bytes(200)])
def test_a_file_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DeviceError, match="is no ELF file that can be loaded"):
        read_elf(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DeviceError, match=r"cannot read .*absent"):
        read_elf(tmp_path / "absent")


def test_a_broken_file_is_refused_whatever_is_broken(tmp_path):
    whole = bytearray(find_runner("arm64-v8a").read_bytes())
    generator = random.Random(0)
    path = tmp_path / "broken"
    for _ in range(150):
        broken = whole[:]
        for _ in range(8):
            broken[generator.randrange(1500)] = generator.randrange(256)
        path.write_bytes(broken[: generator.randrange(4, len(broken))])
        try:
            found = read_elf(path)
        except DeviceError:
            continue
        assert isinstance(found, ElfFile)


def test_the_table_of_functions_names_each_once_and_when_it_came():
    rows = symbol_table()
    names = [name for _, name, _ in rows]
    assert len(names) == len(set(names))
    assert {library for library, _, _ in rows} == {"libc.so", "libdl.so"}
    assert all(level <= 24 for _, _, level in rows)


def test_a_file_says_by_its_first_bytes_whether_it_is_elf(tmp_path):
    (tmp_path / "text").write_text("no")
    assert not is_elf(tmp_path / "text")
    assert is_elf(find_runner("x86_64"))
