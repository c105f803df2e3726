import sys
from pathlib import Path

import pytest
from arm64 import pieces
from arm64.cpus import CPUS, find_cpu, write_description

from deploy.errors import DeviceError, UsageError

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="emulates Linux system calls")


@on_linux
def test_all_missing_pieces_are_named_at_once_with_the_command_that_fetches_them(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pieces, "SYSTEM_RUNTIME", tmp_path)
    with pytest.raises(DeviceError) as raised:
        pieces.find_pieces(tmp_path, "1.2.3")
    for name in ("qemu-user", "libstdc++6-arm64-cross", "onnxruntime 1.2.3", "zig", "--set-up"):
        assert name in str(raised.value)


def test_another_system_than_linux_is_refused_in_words(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DeviceError, match="works on Linux"):
        pieces.find_pieces(tmp_path, "1.2.3")


@on_linux
def test_an_emulator_without_plugins_is_passed_over(tmp_path, monkeypatch):
    program = tmp_path / "qemu-aarch64"
    program.write_text("#!/bin/sh\necho 'qemu-aarch64 version 6.0.0'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert pieces.find_emulator(tmp_path / "nothing") is None


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
