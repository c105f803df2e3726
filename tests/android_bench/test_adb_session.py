import subprocess
import sys

import pytest
from phone_examples import WAITS, await_begun, in_background, session_folders, write_file

from android_bench import adb_session
from android_bench.adb import AdbDevice
from android_bench.adb_lease import LEASE_S, Lease, host_id, is_dead, parse_leases
from deploy.errors import DeviceError

BOOT = "11111111-2222"


@pytest.fixture
def phone(start_phone):
    return start_phone()


def lease(**changed):
    return Lease(**{
        "session": "other",
        "host": "another-host",
        "boot_id": BOOT,
        "until_s": 5000,
        "kept": False,
        **changed,
    })  # fmt: skip


def all_there(phone):
    return [path for path in phone.storage.rglob("*") if not path.is_dir()]


def test_all_that_is_put_there_lies_below_one_folder(phone, tmp_path):
    device = AdbDevice(phone.serial)
    device.push(write_file(tmp_path, "x", 1000), "model.onnx")
    device.run(["true"], 10)
    assert [path.name for path in phone.storage.iterdir()] == ["mofa-deploy"]
    device.remove()


def test_a_question_opens_no_session(phone):
    device = AdbDevice(phone.serial)
    device.info()
    assert device.query(["getprop", "ro.product.model"]).stdout == "Phone 14\n"
    device.remove()
    assert list(phone.storage.iterdir()) == []


def test_what_is_kept_is_there_and_is_not_sent_again(phone, tmp_path):
    local = write_file(tmp_path, "x", 1000)
    for _ in range(2):
        device = AdbDevice(phone.serial, keep=True)
        device.push(local, "model.onnx")
        device.remove()
    assert len(session_folders(phone)) == 2
    assert len(phone.received) == 1


def test_what_was_kept_goes_with_the_next_session_that_keeps_nothing(phone, tmp_path):
    kept = AdbDevice(phone.serial, keep=True)
    kept.push(write_file(tmp_path, "x", 1000), "model.onnx")
    kept.remove()
    device = AdbDevice(phone.serial)
    device.run(["true"], 10)
    assert len(session_folders(phone)) == 1
    device.remove()
    assert list(phone.storage.iterdir()) == []


def test_what_a_session_that_died_has_left_is_swept_and_its_files_are_not_sent_again(
    phone, tmp_path
):
    local = write_file(tmp_path, "x", 1000)
    died = (
        "import os, sys; from pathlib import Path; from android_bench.adb import AdbDevice; "
        "AdbDevice(sys.argv[1]).push(Path(sys.argv[2]), 'x'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", died, phone.serial, str(local)], check=False)
    (left,) = session_folders(phone)
    device = AdbDevice(phone.serial)
    device.push(local, "y")
    assert left not in session_folders(phone)
    assert len(phone.received) == 1
    device.remove()


def test_a_live_session_beside_it_is_left_alone(phone, tmp_path):
    first, second = AdbDevice(phone.serial), AdbDevice(phone.serial)
    with in_background(lambda: first.run(["sh", "-c", WAITS], 30)) as done:
        folder = await_begun(phone)
        second.push(write_file(tmp_path, "x", 1000), "x")
        second.remove()
        (folder / "go").touch()
        assert done.result().stdout == "begun\nsurvived\n"
    first.remove()
    assert list(phone.storage.iterdir()) == []


def test_files_of_a_session_stay_while_another_one_leaves(phone, tmp_path):
    local = write_file(tmp_path, "x", 1000)
    first, second = AdbDevice(phone.serial), AdbDevice(phone.serial)
    first.push(local, "x")
    second.push(local, "x")
    second.remove()
    assert first.run(["sh", "-c", "wc -c <x"], 10).stdout == "1000\n"
    first.remove()


def test_a_session_that_is_removed_can_be_used_anew(phone, tmp_path):
    device = AdbDevice(phone.serial)
    device.run(["true"], 10)
    device.remove()
    device.push(write_file(tmp_path, "x", 1000), "x")
    assert device.run(["sh", "-c", "wc -c <x"], 10).stdout == "1000\n"
    device.remove()


def test_a_session_ends_quietly_on_a_phone_that_is_gone_and_the_next_one_cleans_up(phone):
    device = AdbDevice(phone.serial, return_s=0.1)
    device.run(["true"], 10)
    phone.unplug()
    device.remove()
    phone.plug()
    after = AdbDevice(phone.serial)
    after.run(["true"], 10)
    after.remove()
    assert list(phone.storage.iterdir()) == []


def test_half_a_folder_and_half_a_file_are_swept(phone):
    root = phone.storage / "mofa-deploy"
    (root / ".half").mkdir(parents=True)
    (root / "no-lease").mkdir()
    (root / "cache").mkdir()
    (root / "cache" / ".0123.part").touch()
    (root / "no-lease" / ".lease").write_text("another-host gone-boot 0 live\n")
    device = AdbDevice(phone.serial)
    device.run(["true"], 10)
    assert not (root / ".half").exists()
    assert not (root / "cache" / ".0123.part").exists()
    device.remove()


def test_the_files_that_were_used_last_stay_in_the_cache_up_to_its_bound(
    phone, tmp_path, monkeypatch
):
    import os

    monkeypatch.setattr(adb_session, "CACHE_BYTES", 2500)
    device = AdbDevice(phone.serial, keep=True)
    paths = [write_file(tmp_path, f"{n}", 1000) for n in range(3)]
    for n, path in enumerate(paths):
        path.write_bytes(path.read_bytes()[:-1] + bytes([n]))
        device.push(path, path.name)
    device.remove()
    cache = phone.storage / "mofa-deploy" / "cache"
    links = {(path / "0").resolve(): path for path in session_folders(phone)}
    for age_s, path in enumerate(sorted(cache.iterdir(), key=lambda one: one in links)):
        os.utime(path, (1_000_000 - age_s, 1_000_000 - age_s))
    again = AdbDevice(phone.serial)
    again.run(["true"], 10)
    assert len(list(cache.iterdir())) == 2
    assert not set(links) & set(cache.iterdir())
    again.remove()


def test_a_phone_that_refuses_a_folder_is_said(phone):
    phone.tree.fail("mkdir", "Permission denied")
    with pytest.raises(DeviceError, match=r"refuses a folder in /data/local/tmp .*denied"):
        AdbDevice(phone.serial).run(["true"], 10)


def test_a_lease_is_read_and_a_folder_without_one_as_well():
    text = "a host boot 900 live\nb host boot 30 kept\nc \n\n"
    first, second, third = parse_leases(text)
    assert first == Lease("a", "host", "boot", 900, False)
    assert second.kept
    assert (third.session, third.host) == ("c", "")


def test_another_machine_s_session_is_dead_when_its_lease_is_over():
    assert not is_dead(lease(), BOOT, 5000, keeping=False)
    assert is_dead(lease(), BOOT, 5001, keeping=False)


def test_after_a_reboot_another_machine_s_session_has_a_while_to_come_back():
    assert not is_dead(lease(), "another-boot", LEASE_S, keeping=False)
    assert is_dead(lease(), "another-boot", LEASE_S + 1, keeping=False)


def test_a_session_of_this_machine_is_dead_when_its_process_is():
    assert is_dead(lease(host=host_id(), session="never-held"), BOOT, 0, keeping=False)


def test_what_is_kept_is_dead_only_to_those_who_keep_nothing():
    assert not is_dead(lease(kept=True, until_s=0), BOOT, 9999, keeping=True)
    assert is_dead(lease(kept=True), BOOT, 0, keeping=False)
