import os
import signal
import subprocess
import sys
import time

import pytest
from phone_examples import (
    WAITS,
    await_begun,
    await_true,
    in_background,
    session_folder,
    session_folders,
    write_file,
)

from android_bench.adb import AdbDevice
from deploy.errors import DeviceError, TransientDeviceError

PROFILES = ["android14", "android7", "adbd2015"]
LIMIT_S = 30


@pytest.fixture
def phone(start_phone):
    return start_phone()


@pytest.fixture
def device(phone):
    device = AdbDevice(phone.serial, return_s=10)
    yield device
    device.remove()


def sh(script):
    return ["sh", "-c", script]


def go(folder):
    (folder / "go").touch()


def test_it_runs_in_the_folder_that_files_are_pushed_to(device, tmp_path):
    device.push(write_file(tmp_path, "x", 1000), "model.onnx")
    done = device.run(sh("wc -c <model.onnx; echo made >output"), LIMIT_S)
    assert done.stdout == "1000\n"
    device.pull("output", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "made\n"


def test_a_host_program_really_runs(device):
    done = device.run([sys.executable, "-c", "import json; print(json.dumps({'n': 1}))"], LIMIT_S)
    assert done.stdout == '{"n": 1}\n'


def test_a_crash_gives_128_and_its_signal_and_what_was_printed(device):
    done = device.run(sh("echo before; kill -SEGV $$"), LIMIT_S)
    assert (done.exit_code, done.stdout) == (139, "before\n")


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        ("", ""),  # nothing at all
        (r"\377\376garbage\000", "��garbage\0"),
        ('{"record": "beg', '{"record": "beg'),  # cut off
        (r"a\r\nb", "a\r\nb"),
    ],
)
def test_output_comes_back_as_it_was_left(device, printed, text):
    done = device.run(sh(f"printf '{printed}'"), LIMIT_S)
    assert (done.exit_code, done.stdout) == (0, text)


def test_long_output_is_whole(device):
    done = device.run([sys.executable, "-c", "print('x' * 3_000_000)"], LIMIT_S)
    assert len(done.stdout) == 3_000_001


def test_a_file_that_is_no_program_is_said(device, tmp_path):
    (tmp_path / "runner").write_bytes(b"\x7fELF of another machine")
    there = device.push(tmp_path / "runner", "runner")
    with pytest.raises(DeviceError, match=r"cannot run .*runner on .*built for the phone's"):
        device.run([str(there)], LIMIT_S)


def test_a_child_that_stays_behind_is_killed_when_the_program_ends(phone, device):
    assert device.run(sh("sleep 60 & exit 0"), LIMIT_S).exit_code == 0
    await_true(lambda: not phone.processes())


@pytest.mark.parametrize("profile", PROFILES)
def test_a_cable_pulled_in_the_middle_loses_nothing(start_phone, profile):
    phone = start_phone(profile)
    device = AdbDevice(phone.serial)
    with in_background(lambda: device.run(sh(WAITS), LIMIT_S)) as done:
        folder = await_begun(phone)
        phone.unplug()
        go(folder)
        await_true(lambda: list(folder.glob(".launch-*/code")))
        phone.plug()
        assert done.result().stdout == "begun\nsurvived\n"
    device.remove()


def test_a_program_that_still_runs_when_the_phone_is_back_is_waited_for(phone, device):
    with in_background(lambda: device.run(sh(WAITS), LIMIT_S)) as done:
        folder = await_begun(phone)
        phone.unplug()
        phone.plug()
        commands = len(phone.commands)
        await_true(lambda: len(phone.commands) > commands, "nobody asked")
        go(folder)
        assert done.result().stdout == "begun\nsurvived\n"


def test_a_connection_that_breaks_and_comes_back_by_itself_loses_nothing(phone, device):
    with in_background(lambda: device.run(sh(WAITS), LIMIT_S)) as done:
        folder = await_begun(phone)
        phone.cut()
        go(folder)
        assert done.result().stdout == "begun\nsurvived\n"


def test_a_server_that_is_killed_in_the_middle_loses_nothing(phone, device, private_adb):
    with in_background(lambda: device.run(sh(WAITS), LIMIT_S)) as done:
        folder = await_begun(phone)
        private_adb.stop()
        go(folder)
        assert done.result().stdout == "begun\nsurvived\n"


def test_a_program_is_never_started_twice(phone, device):
    with in_background(lambda: device.run(sh(f"echo . >>count; {WAITS}"), LIMIT_S)) as done:
        folder = await_begun(phone)
        phone.cut()
        go(folder)
        done.result()
    assert (session_folder(phone) / "count").read_text() == ".\n"


def test_a_cable_pulled_after_the_launch_costs_no_more_than_the_time(phone, device):
    def pull_once(path):
        phone.files.on_receive = lambda path: None
        phone.unplug()
        phone.plug(wait=False)

    phone.files.on_receive = pull_once
    done = device.run(sh("echo printed"), LIMIT_S)
    assert (done.exit_code, done.stdout) == (0, "printed\n")


def test_output_that_arrives_cut_off_is_fetched_again(phone, device):
    phone.files.truncate_pull_bytes = 3

    def mend(path):
        phone.files.truncate_pull_bytes = None

    phone.files.on_receive = mend
    assert device.run(sh("echo printed"), LIMIT_S).stdout == "printed\n"


def test_a_phone_that_stays_away_is_given_up_and_the_phone_ends_the_launch(start_phone):
    phone = start_phone()
    device = AdbDevice(phone.serial, return_s=0.3)
    with in_background(lambda: device.run(sh(WAITS), 1)) as done:
        await_begun(phone)
        phone.unplug()
        with pytest.raises(TransientDeviceError, match="is gone: plug it in"):
            done.result()
    phone.plug()
    device.remove()
    assert phone.processes() == []
    assert session_folders(phone) == []


def test_a_phone_that_is_gone_before_a_launch_starts_nothing(start_phone):
    phone = start_phone()
    device = AdbDevice(phone.serial, return_s=0.3)
    device.run(["true"], LIMIT_S)
    phone.unplug()
    with pytest.raises(TransientDeviceError, match="is gone"):
        device.run(sh("echo . >>count"), LIMIT_S)
    phone.plug()
    assert not (session_folder(phone) / "count").exists()
    device.remove()


def test_a_reboot_in_the_middle_is_said_and_the_next_launch_goes_well(phone, device, tmp_path):
    device.push(write_file(tmp_path, "x", 1000), "model.onnx")
    with in_background(lambda: device.run(sh(WAITS), LIMIT_S)) as done:
        await_begun(phone)
        phone.reboot()
        with pytest.raises(TransientDeviceError, match="restarted in the middle of a launch"):
            done.result()
    assert device.run(sh("wc -c <model.onnx"), LIMIT_S).stdout == "1000\n"


def test_a_daemon_that_takes_all_with_it_is_said(phone, device):
    with in_background(lambda: device.run(sh(WAITS), LIMIT_S)) as done:
        await_begun(phone)
        phone.restart_daemon()
        with pytest.raises(TransientDeviceError, match="killed a launch together with the shell"):
            done.result()


def test_the_clock_of_the_phone_may_jump(phone, device):
    with in_background(lambda: device.run(sh(WAITS), LIMIT_S)) as done:
        folder = await_begun(phone)
        phone.jump_clock(-10 * 365 * 86400)
        go(folder)
        assert done.result().exit_code == 0
    phone.jump_clock(86400)
    assert device.run(["true"], LIMIT_S).exit_code == 0


def test_one_phone_that_dies_does_not_stop_the_other(start_phone):
    phones = [start_phone(), start_phone("android7")]
    dying, living = (AdbDevice(phone.serial, return_s=0.3) for phone in phones)
    with (
        in_background(lambda: dying.run(sh(WAITS), 1)) as lost,
        in_background(lambda: living.run(sh(WAITS), LIMIT_S)) as done,
    ):
        await_begun(phones[0])
        folder = await_begun(phones[1])
        phones[0].stop()
        with pytest.raises(TransientDeviceError):
            lost.result()
        go(folder)
        assert done.result().stdout == "begun\nsurvived\n"
    living.remove()


def test_a_launch_that_is_stopped_from_another_thread_ends_at_once(phone, device):
    with in_background(lambda: device.run(sh(WAITS), LIMIT_S)) as done:
        await_begun(phone)
        device.stop()
        with pytest.raises(TransientDeviceError, match="was stopped"):
            done.result()
    await_true(lambda: not phone.processes())


def test_a_folder_that_somebody_removed_is_said(phone, device):
    device.run(["true"], LIMIT_S)
    session_folder(phone).rename(phone.storage / "elsewhere")
    with pytest.raises(DeviceError, match="cannot start a launch"):
        device.run(["true"], LIMIT_S)


def test_a_phone_without_room_for_a_launch_is_said(phone, device):
    device.run(["true"], LIMIT_S)
    phone.tree.fail("mkdir", "No space left on device")
    with pytest.raises(DeviceError, match=r"cannot start a launch .*No space left.*: free some"):
        device.run(["true"], LIMIT_S)


SESSION = """
import sys
from android_bench.adb import AdbDevice
device = AdbDevice(sys.argv[1])
try:
    device.run(["sh", "-c", sys.argv[2]], 60)
finally:
    device.remove()
"""


def start_session(phone, script=WAITS):
    """Start a session in another process, as a user would."""
    return subprocess.Popen(
        [sys.executable, "-c", SESSION, phone.serial, script], stderr=subprocess.PIPE
    )


def test_ctrl_c_kills_the_program_on_the_phone_and_leaves_nothing(phone):
    session = start_session(phone)
    await_begun(phone)
    session.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in session.communicate(timeout=20)[1]
    await_true(lambda: not phone.processes())
    assert session_folders(phone) == []


def test_what_a_killed_session_left_running_is_ended_by_the_next_start(phone, device):
    session = start_session(phone)
    await_begun(phone)
    session.kill()
    session.communicate(timeout=20)
    assert phone.processes() != []
    device.run(["true"], LIMIT_S)
    await_true(lambda: not phone.processes())
    assert len(session_folders(phone)) == 1


def test_a_launch_ends_by_itself_where_nobody_comes_back(phone, monkeypatch):
    monkeypatch.setattr("android_bench.adb_launch.OVERTIME_S", 0)
    device = AdbDevice(phone.serial, return_s=0.1)
    with in_background(lambda: device.run(sh(WAITS), 1)) as done:
        await_begun(phone)
        phone.unplug()
        with pytest.raises(TransientDeviceError):
            done.result()
        await_true(lambda: not phone.processes(), "it runs on")
    phone.plug()
    device.remove()


def test_waiting_for_a_program_wakes_nothing_on_the_phone(phone, device):
    device.run(["true"], LIMIT_S)
    os.mkfifo(session_folder(phone) / "pipe")
    with in_background(lambda: device.run(sh("echo begun >begun; read x <pipe"), LIMIT_S)) as done:
        folder = await_begun(phone)
        commands = len(phone.commands)
        time.sleep(1.0)  # what is looked for is that nothing happens
        assert len(phone.commands) == commands
        (folder / "pipe").write_text("go\n")
        assert done.result().exit_code == 0


@pytest.mark.parametrize("profile", PROFILES)
def test_the_process_that_runs_is_known_while_it_does(start_phone, profile):
    phone = start_phone(profile)
    device = AdbDevice(phone.serial)
    assert device.running_pid() is None
    with in_background(lambda: device.run(sh("echo $$ >own; " + WAITS), LIMIT_S)) as done:
        folder = await_begun(phone)
        assert device.running_pid() == int((folder / "own").read_text())
        go(folder)
        done.result()
    assert device.running_pid() is None
    device.remove()
