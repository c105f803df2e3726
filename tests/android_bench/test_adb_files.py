import hashlib

import pytest
from phone_examples import session_folder, write_file

from android_bench.adb import AdbDevice
from android_bench.adb_files import safe_name
from deploy.errors import DeviceError, TransientDeviceError, UsageError


@pytest.fixture
def phone(start_phone):
    return start_phone()


@pytest.fixture
def device(phone):
    device = AdbDevice(phone.serial, return_s=5)
    yield device
    device.remove()


def sent(phone) -> int:
    return len(phone.received)


def test_an_empty_file_is_a_file(device, tmp_path):
    (tmp_path / "empty").touch()
    device.push(tmp_path / "empty", "empty")
    device.pull("empty", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b""


def test_what_is_there_already_is_not_sent_again(phone, device, tmp_path):
    local = write_file(tmp_path, "model.onnx")
    device.push(local, "one.onnx")
    device.push(local, "two.onnx")
    assert sent(phone) == 1
    assert (session_folder(phone) / "two.onnx").read_bytes() == local.read_bytes()


def test_another_content_under_the_same_name_replaces_it(phone, device, tmp_path):
    device.push(write_file(tmp_path, "a", 1000), "model.onnx")
    device.push(write_file(tmp_path, "b", 2000), "model.onnx")
    assert (session_folder(phone) / "model.onnx").stat().st_size == 2000


def test_a_file_that_was_damaged_on_the_phone_is_sent_again(phone, device, tmp_path):
    local = write_file(tmp_path, "model.onnx")
    device.push(local, "model.onnx")
    cached = (
        phone.storage / "mofa-deploy" / "cache" / hashlib.sha256(local.read_bytes()).hexdigest()
    )
    cached.write_bytes(b"x" * local.stat().st_size)
    device.push(local, "model.onnx")
    assert cached.read_bytes() == local.read_bytes()


def test_what_is_pushed_may_be_run(device, tmp_path):
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho ran "$1"\n')
    there = device.push(program, "program")
    assert device.run([str(there), "a  b"], 10).stdout == "ran a  b\n"


def test_a_push_that_arrives_cut_off_is_an_error_and_leaves_nothing(phone, device, tmp_path):
    phone.files.truncate_push_bytes = 1000
    with pytest.raises(TransientDeviceError, match=r"broken \(1000 of 200000 bytes\)"):
        device.push(write_file(tmp_path, "model.onnx"), "model.onnx")
    assert list((phone.storage / "mofa-deploy" / "cache").iterdir()) == []
    assert not (session_folder(phone) / "model.onnx").is_symlink()


def test_a_push_that_is_cut_off_once_is_made_again(phone, device, tmp_path):
    phone.files.truncate_push_bytes = 1000

    def mend(path):
        phone.files.on_send = lambda path: setattr(phone.files, "truncate_push_bytes", None)

    phone.files.on_send = mend
    local = write_file(tmp_path, "model.onnx")
    device.push(local, "model.onnx")
    assert (session_folder(phone) / "model.onnx").read_bytes() == local.read_bytes()


def test_a_pull_that_arrives_cut_off_is_an_error_and_leaves_what_was_there(phone, device, tmp_path):
    device.push(write_file(tmp_path, "model.onnx"), "model.onnx")
    (tmp_path / "back").write_text("as it was")
    phone.files.truncate_pull_bytes = 1000
    with pytest.raises(TransientDeviceError, match=r"broken \(1000 of 200000 bytes\)"):
        device.pull("model.onnx", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "as it was"


def test_a_full_phone_is_said_and_what_to_do(phone, device, tmp_path):
    phone.files.free_bytes = 100_000
    with pytest.raises(DeviceError, match="no space left: free some space on it") as refused:
        device.push(write_file(tmp_path, "model.onnx"), "model.onnx")
    assert not isinstance(refused.value, TransientDeviceError)
    assert list((phone.storage / "mofa-deploy" / "cache").iterdir()) == []


def test_a_cable_pulled_in_the_middle_of_a_push_costs_no_more_than_the_time(
    phone, device, tmp_path
):
    def pull_once(path):
        phone.files.on_send = lambda path: None
        phone.unplug()
        phone.plug(wait=False)

    phone.files.on_send = pull_once
    local = write_file(tmp_path, "model.onnx")
    device.push(local, "model.onnx")
    assert (session_folder(phone) / "model.onnx").read_bytes() == local.read_bytes()


def test_a_phone_that_has_gone_before_a_push_is_waited_for_and_then_given_up(phone, tmp_path):
    device = AdbDevice(phone.serial, return_s=0.3)
    device.info()
    phone.unplug()
    with pytest.raises(TransientDeviceError, match="is gone"):
        device.push(write_file(tmp_path, "model.onnx"), "model.onnx")


def test_without_any_tool_to_hash_the_size_is_compared(start_phone, tmp_path):
    phone = start_phone("adbd2015")
    (phone.tree.tools / "md5sum").unlink()
    device = AdbDevice(phone.serial)
    local = write_file(tmp_path, "model.onnx")
    device.push(local, "one")
    device.push(local, "two")
    assert sent(phone) == 1
    phone.files.truncate_pull_bytes = 1000
    with pytest.raises(TransientDeviceError, match="broken"):
        device.pull("one", tmp_path / "back")
    device.remove()


def test_a_file_that_is_not_there_is_named(device, tmp_path):
    with pytest.raises(DeviceError, match=r"there is no file output\.f32"):
        device.pull("output.f32", tmp_path / "back")


def test_a_local_file_that_is_missing_is_named(device, tmp_path):
    with pytest.raises(DeviceError, match=r"cannot read .*none"):
        device.push(tmp_path / "none", "none")


@pytest.mark.parametrize(
    "name", ["", "/etc/hosts", "../x", "a/../../x", "a//b", ".lease", "a\nb", "a/", "."]
)
def test_a_name_that_leads_out_of_the_session_is_none(name):
    with pytest.raises(UsageError, match="is no name for a file on a phone"):
        safe_name(name)


@pytest.mark.parametrize("name", ["model.onnx", "a b.onnx", "$(reboot)", "a;b", "-rf", "in/ner"])
def test_a_plain_name_is_one_whatever_it_means_to_a_shell(name):
    assert safe_name(name) == name


def test_a_name_that_leads_out_of_the_session_is_refused_both_ways(phone, device, tmp_path):
    with pytest.raises(UsageError, match="is no name for a file on a phone"):
        device.push(write_file(tmp_path, "x", 1000), "../x")
    with pytest.raises(UsageError, match="is no name for a file on a phone"):
        device.pull("../../x", tmp_path / "back")
    assert sent(phone) == 0


def test_a_name_that_means_something_to_a_shell_is_a_file_s(device, tmp_path):
    local = write_file(tmp_path, "x", 1000)
    device.push(local, "in/$(reboot); -rf")
    device.pull("in/$(reboot); -rf", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == local.read_bytes()
