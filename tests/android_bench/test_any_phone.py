"""What holds on every phone, emulated or attached: `make test-device` runs this on a real one."""

import re

import pytest
from phone.fixtures import attached_phone
from phone_examples import write_file

from android_bench.adb_session import ROOT
from deploy.errors import DeviceError

LIMIT_S = 60


def sh(script):
    return ["sh", "-c", script]


def test_the_attached_phone_is_there():
    assert attached_phone().info().is_phone


def test_it_says_what_it_is(any_phone):
    info = any_phone.info()
    assert re.fullmatch(r"Android \d.*", info.os)
    assert info.abi in ("arm64-v8a", "armeabi-v7a", "x86_64", "x86")
    assert info.cpu_cores >= 1
    assert info.mem_total_bytes > 2**28
    assert info.sdk >= 24
    assert info.page_size_bytes in (4096, 16384)


def test_a_file_goes_there_and_comes_back_the_same(any_phone, tmp_path):
    local = write_file(tmp_path, "model.onnx")
    assert str(any_phone.push(local, "a b'c.onnx")).endswith("/a b'c.onnx")
    any_phone.pull("a b'c.onnx", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == local.read_bytes()


def test_what_is_pushed_may_be_run(any_phone, tmp_path):
    program = tmp_path / "program"
    program.write_text('#!/system/bin/sh\necho "$1"\n')
    there = any_phone.push(program, "program")
    assert any_phone.run(["sh", str(there), "a  b"], LIMIT_S).stdout == "a  b\n"


def test_a_program_gives_its_code_and_both_outputs(any_phone):
    done = any_phone.run(sh("echo out; echo err >&2; exit 3"), LIMIT_S)
    assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_its_arguments_arrive_as_they_are(any_phone):
    done = any_phone.run(["printf", "<%s>", "a  b", "$HOME", "it's", "", "*"], LIMIT_S)
    assert done.stdout == "<a  b><$HOME><it's><><*>"


def test_a_crash_gives_128_and_its_signal(any_phone):
    assert any_phone.run(sh("kill -SEGV $$"), LIMIT_S).exit_code == 139


def test_a_program_that_is_killed_gives_137(any_phone):
    assert any_phone.run(sh("kill -KILL $$"), LIMIT_S).exit_code == 137


def test_a_program_that_is_not_there_is_said(any_phone):
    with pytest.raises(DeviceError, match=r"cannot run \./runner"):
        any_phone.run(["./runner"], LIMIT_S)


def test_at_the_time_limit_it_and_its_children_are_killed(any_phone):
    done = any_phone.run(sh("echo partial; echo $$; sleep 61 & sleep 61"), 1)
    assert (done.exit_code, done.stdout.split()[0]) == (None, "partial")
    left = any_phone.query(sh("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"))
    assert "sleep 61" not in left.stdout


def test_nothing_is_left_behind(any_phone, tmp_path):
    any_phone.push(write_file(tmp_path, "x", 1000), "model.onnx")
    any_phone.run(sh("echo made >output"), LIMIT_S)
    any_phone.remove()
    assert any_phone.query(["ls", str(ROOT)]).exit_code != 0


def test_its_settings_are_as_before(any_phone):
    setting = ["settings", "get", "global", "stay_on_while_plugged_in"]
    before = any_phone.query(setting).stdout
    any_phone.run(["true"], LIMIT_S)
    any_phone.remove()
    assert any_phone.query(setting).stdout == before
