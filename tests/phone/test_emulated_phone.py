import os
import socket
import subprocess
import time

import pytest

from phone.adb_server import EMULATOR_PORTS, start_adb_server

PROFILES = ["android14", "android7", "adbd2015"]


def test_the_server_lists_the_phone_and_what_it_calls_itself(start_phone, private_adb):
    phone = start_phone()
    listed = private_adb.adb("devices", "-l")
    assert f"{phone.serial} " in listed
    assert "model:Phone_14" in listed


def test_a_shell_of_the_new_protocol_keeps_errors_apart_and_gives_the_exit_code(start_phone):
    done = shell(start_phone(), "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")


def test_a_shell_of_2015_merges_errors_ends_lines_as_a_terminal_and_always_gives_0(start_phone):
    done = shell(start_phone("adbd2015"), "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (0, b"out\r\nerr\r\n")


def test_a_daemon_of_2015_closes_exec(start_phone, private_adb):
    phone = start_phone("adbd2015")
    assert "closed" in private_adb.adb("-s", phone.serial, "exec-out", "echo hi", check=False)


def test_exec_is_binary_safe(start_phone, private_adb):
    phone = start_phone()
    done = subprocess.run(
        adb(phone, "exec-out", "printf 'a\\r\\n\\000b'"), stdout=subprocess.PIPE, check=True
    )
    assert done.stdout == b"a\r\n\0b"


@pytest.mark.parametrize("profile", PROFILES)
def test_a_folder_that_is_pushed_and_pulled_is_the_same(
    start_phone, private_adb, tmp_path, profile
):
    phone = start_phone(profile)
    (tmp_path / "here" / "inner").mkdir(parents=True)
    (tmp_path / "here" / "inner" / "a b,c").write_bytes(os.urandom(300_000))
    (tmp_path / "here" / "empty").touch()
    private_adb.adb("-s", phone.serial, "push", str(tmp_path / "here"), "/data/local/tmp/there")
    private_adb.adb("-s", phone.serial, "pull", "/data/local/tmp/there", str(tmp_path / "back"))
    for name in ("inner/a b,c", "empty"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_properties_services_and_files_are_those_of_the_profile(start_phone):
    phone = start_phone()
    assert shell(phone, "getprop ro.product.model").stdout == b"Phone 14\n"
    assert b"Thermal Status: 0" in shell(phone, "dumpsys thermalservice").stdout
    top = "/sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq"
    assert shell(phone, f"cat {top}").stdout == b"2841600\n"
    assert b"MemTotal:        7724356 kB" in shell(phone, "cat /proc/meminfo").stdout


def test_an_android_7_has_no_tool_that_its_toybox_lacked(start_phone):
    assert shell(start_phone("android7"), "sha256sum /dev/null").returncode == 127


def test_a_setting_that_is_put_is_what_it_gives(start_phone):
    phone = start_phone()
    shell(phone, "svc power stayon usb")
    assert shell(phone, "settings get global stay_on_while_plugged_in").stdout == b"2\n"
    shell(phone, "settings delete global stay_on_while_plugged_in")
    assert shell(phone, "settings get global stay_on_while_plugged_in").stdout == b"null\n"


def test_a_file_that_is_denied_says_so(start_phone):
    phone = start_phone()
    phone.tree.deny("/proc/loadavg")
    done = shell(phone, "cat /proc/loadavg /proc/version")
    assert done.stderr == b"cat: /proc/loadavg: Permission denied\n"
    assert done.stdout.startswith(b"Linux version")


def test_a_program_that_left_its_group_outlives_the_cable(start_phone):
    phone = start_phone()
    shell(phone, "setsid sleep 60 </dev/null >/dev/null 2>&1 &")
    phone.unplug()
    phone.plug()
    assert b"sleep\x0060" in shell(phone, "cat /proc/[0-9]*/cmdline 2>/dev/null").stdout


def test_a_reboot_ends_every_program_and_gives_another_boot_id(start_phone):
    phone = start_phone()
    shell(phone, "setsid sleep 60 </dev/null >/dev/null 2>&1 &")
    before = shell(phone, "cat /proc/sys/kernel/random/boot_id").stdout
    phone.reboot()
    assert phone.processes() == []
    assert shell(phone, "cat /proc/sys/kernel/random/boot_id").stdout != before


def test_pulling_the_cable_ends_the_command_that_waits(start_phone):
    phone = start_phone()
    waiting = subprocess.Popen(
        adb(phone, "shell", "echo started; sleep 60"), stdout=subprocess.PIPE
    )
    assert waiting.stdout.readline() == b"started\n"
    phone.unplug()
    assert waiting.wait(10) != 0
    waiting.stdout.close()


@pytest.mark.parametrize("kind", ["recovery", "sideload", "offline", "unauthorized"])
def test_the_server_lists_a_phone_in_a_state_of_no_use(start_phone, private_adb, kind):
    phone = start_phone()
    if kind == "offline":
        phone.hang_up()
    elif kind == "unauthorized":
        phone.become(authorized=False)
    else:
        phone.become(kind)
    assert f"{phone.serial}\t{kind}" in wait_for(private_adb, f"{phone.serial}\t{kind}")


def test_a_server_beside_it_knows_nothing_of_the_phone(start_phone, tmp_path):
    phone = start_phone()
    developers = start_adb_server(tmp_path / "developer")
    assert phone.serial not in developers.adb("devices")
    developers.stop()


def test_the_clock_jumps(start_phone):
    phone = start_phone()
    phone.jump_clock(-86400)
    assert abs(int(shell(phone, "date +%s").stdout) - (time.time() - 86400)) < 60


def test_a_server_ends_alone_and_another_one_beside_it_goes_on(private_adb, tmp_path):
    mine = start_adb_server(tmp_path / "adb")
    assert mine.port not in EMULATOR_PORTS
    assert mine.port != private_adb.port
    mine.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", mine.port)).close()
    socket.create_connection(("127.0.0.1", private_adb.port)).close()


def adb(phone, *argv):
    from adbutils import adb_path

    return [adb_path(), "-s", phone.serial, *argv]


def shell(phone, command):
    return subprocess.run(
        adb(phone, "shell", "-n", command), capture_output=True, check=False, timeout=30
    )


def wait_for(server, text):
    deadline = time.monotonic() + 10
    while text not in (listed := server.adb("devices")) and time.monotonic() < deadline:
        pass
    return listed
