import json
import subprocess
import sys
from pathlib import Path

import pytest

from android_bench import arm64_pieces as pieces
from android_bench.arm64 import EmulatedArm
from android_bench.arm64_cpus import CPUS, find_cpu, require_features, write_description
from android_bench.arm64_set_up import LOCK, set_up
from android_bench.devices import list_emulated
from deploy.errors import DeviceError, UsageError
from deploy.files import file_sha256

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="emulates Linux system calls")
# of a cortex-a53, as the loader of glibc prints it
AUXILIARY = "AT_FLAGS:             0x0\nAT_HWCAP:             8fb\nAT_HWCAP2:            0x0\n"


@pytest.fixture
def nothing_there(tmp_path, monkeypatch):
    """A system and a cache without any of the pieces."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(pieces, "SYSTEM_RUNTIME", tmp_path)
    return tmp_path


@on_linux
def test_all_missing_pieces_are_named_at_once_with_the_command_that_fetches_them(nothing_there):
    with pytest.raises(DeviceError) as raised:
        pieces.find_pieces()
    assert str(raised.value) == (
        "no arm64 emulation: there is no qemu-aarch64 (package qemu-user), no arm64 C and C++ "
        "runtimes (package libstdc++6-arm64-cross), no aarch64 wheel of onnxruntime "
        f"{pieces.wanted_version()}: run `mofa-deploy runtime add --arm64`"
    )


@on_linux
def test_the_list_of_devices_says_what_is_missing(nothing_there):
    listed = list_emulated()
    assert (listed.state, listed.measurable) == ("not set up", False)
    assert "run `mofa-deploy runtime add --arm64`" in listed.description


@on_linux
def test_where_nothing_can_fetch_the_emulator_it_is_said_what_to_install(nothing_there):
    library = pieces.library_path(pieces.default_cache(), pieces.wanted_version())
    library.parent.mkdir(parents=True)
    library.touch()
    with pytest.raises(DeviceError, match=r"there is no apt-get .*: install qemu-user"):
        set_up(lambda text: None)


@pytest.fixture
def cut_short(nothing_there):
    """A cache in which a file that was fetched is shorter now."""
    cache = pieces.default_cache()
    library = pieces.library_path(cache, pieces.wanted_version())
    library.parent.mkdir(parents=True)
    library.write_bytes(b"whole")
    name = library.relative_to(cache).as_posix()
    record = {"sha256": {name: file_sha256(library)}}
    (cache / pieces.MANIFEST).write_text(json.dumps(record))
    pieces.require_unchanged()
    library.write_bytes(b"wh")
    return library


@on_linux
def test_a_file_that_was_cut_short_is_named_before_anything_is_launched(cut_short):
    with pytest.raises(DeviceError, match="has changed since it was fetched") as raised:
        _ = EmulatedArm(CPUS["a76"]).pieces
    assert str(cut_short) in raised.value.problem
    assert raised.value.next_step == (
        f"remove {cut_short.parent}, then run `mofa-deploy runtime add --arm64`"
    )


@on_linux
def test_a_piece_that_was_removed_is_fetched_whatever_its_hash_was(cut_short, monkeypatch):
    cut_short.unlink()
    said = []
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DeviceError, match="pip cannot get"):
        set_up(said.append)
    assert said == [f"onnxruntime {pieces.wanted_version()} for aarch64 (21 MB), by pip"]


@on_linux
def test_a_second_process_waits_until_the_first_has_filled_the_cache(nothing_there):
    cache = pieces.default_cache()
    library = pieces.library_path(cache, pieces.wanted_version())
    library.parent.mkdir(parents=True)
    library.touch()
    hold = (
        "import fcntl, sys, time\n"
        "lock = open(sys.argv[1], 'w')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read(1)\n"
    )
    command = [sys.executable, "-c", hold, str(cache / LOCK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        said = []

        def say(text):
            said.append(text)
            if "another process" in text:
                first.stdin.close()  # it is done

        with pytest.raises(DeviceError, match="there is no apt-get"):
            set_up(say)
    assert said[0] == f"another process is filling {cache}; waiting for it"


def test_another_system_than_linux_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DeviceError, match="works on Linux"):
        pieces.find_pieces()
    with pytest.raises(DeviceError, match="works on Linux"):
        set_up(lambda text: None)


@on_linux
def test_an_emulator_without_plugins_is_named(nothing_there, monkeypatch):
    program = nothing_there / "qemu-aarch64"
    program.write_text("#!/bin/sh\necho 'qemu-aarch64 version 6.0.0'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{nothing_there}:/bin:/usr/bin")
    with pytest.raises(DeviceError, match=rf"with plugins: {program} \(6\.0\.0\) has none"):
        pieces.find_pieces()


@pytest.mark.parametrize(
    ("version", "api"), [("7.2.22", 1), ("8.2.2", 1), ("9.0.4", 2), ("9.1", 3), ("10.0.2", 3)]
)
def test_the_counter_is_built_for_the_emulator_s_interface(version, api):
    assert pieces.Emulator(Path("qemu"), None, version).plugin_api == api


def test_the_cache_follows_the_user_s_own_place_for_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert pieces.default_cache() == tmp_path / "mofa-deploy" / "arm64"


def test_an_unknown_core_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="a76"):
        find_cpu("a99")


@pytest.mark.parametrize("cpu", CPUS.values(), ids=CPUS)
def test_a_core_is_described_as_linux_does(cpu, tmp_path):
    write_description(cpu, tmp_path)
    lines = (tmp_path / "proc/cpuinfo").read_text().splitlines()
    values = dict(line.split("\t: ") for line in lines)
    assert values["CPU part"] == cpu.part
    assert ("asimddp" in values["Features"].split()) == (cpu.name != "a53")
    assert (tmp_path / "sys/devices/system/cpu/possible").read_text() == "0\n"


def test_what_the_emulator_has_may_be_described():
    require_features(CPUS["a53"], AUXILIARY)


@pytest.mark.parametrize(("cpu", "lacking"), [("a76", "asimddp"), ("i8mm", "i8mm, bf16")])
def test_what_the_emulator_lacks_may_not(cpu, lacking):
    with pytest.raises(DeviceError, match=rf"claims .*{lacking}, which"):
        require_features(CPUS[cpu], AUXILIARY)


def test_an_emulator_that_tells_nothing_has_nothing():
    with pytest.raises(DeviceError, match="claims fp, asimd"):
        require_features(CPUS["a53"], "")
