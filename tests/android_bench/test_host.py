import hashlib
import os
import platform
import signal
import sys
import time
from pathlib import Path

import pytest

from android_bench.host import HostDevice
from deploy.errors import DeviceError

HOUR_S = 3600


def python(code):
    return [sys.executable, "-I", "-S", "-c", code]


def test_a_program_gives_its_output_its_errors_and_its_exit_code(device):
    completed = device.run(
        python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"), HOUR_S
    )
    assert (completed.exit_code, completed.stdout, completed.stderr) == (7, "out\n", "err\n")
    assert completed.duration_ns > 0


def test_a_signal_n_gives_the_exit_code_128_plus_n(device):
    completed = device.run(python("import os; os.kill(os.getpid(), 11)"), HOUR_S)
    assert completed.exit_code == 128 + signal.SIGSEGV


def test_at_the_time_limit_the_program_and_its_children_are_killed(device):
    # The child holds the pipe for half a minute: were it alive, run() would wait for it.
    sleeper = python("import time; time.sleep(30)")
    child = f"import subprocess; subprocess.run({sleeper!r})"
    start = time.monotonic()
    completed = device.run(python(child), 1.0)
    assert completed.exit_code is None
    assert time.monotonic() - start < 20


def test_what_was_printed_before_the_time_limit_is_kept(device):
    completed = device.run(python("import time; print('begun', flush=True); time.sleep(30)"), 2.0)
    assert completed.stdout == "begun\n"


def test_output_that_is_not_text_does_no_harm(device):
    completed = device.run(python(r"import os; os.write(1, b'\xff\n')"), HOUR_S)
    assert completed.stdout == "\ufffd\n"


def test_standard_input_is_empty(device):
    assert device.run(python("import sys; print(repr(sys.stdin.read()))"), HOUR_S).stdout == "''\n"


def test_files_go_in_are_seen_by_programs_and_come_back(device, tmp_path):
    (tmp_path / "here").write_text("content")
    there = device.push(tmp_path / "here", "there")
    copying = "import sys; open('copy', 'w').write(open(sys.argv[1]).read().upper())"
    device.run([*python(copying), str(there)], HOUR_S)
    device.pull("copy", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "CONTENT"


def test_removing_leaves_nothing_and_the_device_can_go_on(device, tmp_path, temporary_folder):
    (tmp_path / "here").write_text("content")
    device.push(tmp_path / "here", "there")
    device.remove()
    assert list(temporary_folder.iterdir()) == []
    assert device.run(python("print(1)"), HOUR_S).exit_code == 0


def test_removing_what_was_never_used_is_nothing(device, temporary_folder):
    device.remove()
    assert list(temporary_folder.iterdir()) == []


def test_the_folder_of_a_device_in_use_is_left_alone(device, tmp_path, temporary_folder):
    (tmp_path / "here").write_text("content")
    there = device.push(tmp_path / "here", "there")
    other = HostDevice()
    other.push(tmp_path / "here", "there")
    other.remove()
    assert Path(there).read_text() == "content"
    assert len(list(temporary_folder.iterdir())) == 1


def test_a_program_that_is_not_there_is_an_error_that_names_it(device):
    with pytest.raises(DeviceError, match="cannot run no-such-runner"):
        device.run(["no-such-runner"], HOUR_S)


def test_pushing_a_file_that_is_not_there_is_an_error_that_names_it(device, tmp_path):
    with pytest.raises(DeviceError, match="absent"):
        device.push(tmp_path / "absent", "there")


def test_pulling_a_file_that_is_not_there_is_an_error_that_names_it(device, tmp_path):
    with pytest.raises(DeviceError, match="cannot copy absent"):
        device.pull("absent", tmp_path / "back")


def test_the_machine_is_told_apart_by_a_hash_and_its_name_goes_nowhere(device):
    info = device.info()
    assert info.device_id == hashlib.sha256(f"host:{platform.node()}".encode()).hexdigest()[:16]
    assert platform.node() not in (info.name, info.cpu, info.os)


def test_the_machine_says_what_it_is(device):
    info = device.info()
    assert (info.name, info.abi, info.is_phone) == ("host", platform.machine(), False)
    assert 1 <= info.cpu_cores <= os.cpu_count()
    assert info.mem_total_bytes > 2**26
    assert info.cpu.strip()
