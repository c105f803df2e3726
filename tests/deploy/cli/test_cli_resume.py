"""`bench` that is stopped for certain in its second launch, and `bench --resume` after it."""

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from bench_programs import programs_of_this_machine
from cli_examples import PROCESS_S, left_over, mofa, process

from deploy.commands import bench_devices

pytestmark = pytest.mark.slow
STOPS = {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}
LAUNCHES = 4
LAUNCH = "--min-runs"  # in the command that starts a launch on a phone, and in no other

# The command, which sends itself a signal while its second launch runs.
STOPS_ITSELF = """
import itertools
import os

from android_bench import processes
from deploy.cli import main

numbers, start = itertools.count(1), processes.subprocess.Popen


def start_and_stop(argv, **options):
    process = start(argv, **options)
    if "--input" in argv and next(numbers) == 2:
        os.kill(os.getpid(), {number})
    return process


processes.subprocess.Popen = start_and_stop
main()
"""

# The command, with what an emulated phone can run: programs of this machine.
WITH_PROGRAMS = """
import sys

sys.path.append({folder!r})
from bench_programs import programs_of_this_machine

from deploy.cli import main
from deploy.commands import bench_devices

bench_devices.programs_for = programs_of_this_machine
main()
"""


@pytest.fixture
def asked(net, judged, out):
    few = ("--launches", str(LAUNCHES), "--seconds", "0.05", "--threads", "1", "--no-memory")
    return ("bench", net, *few, *judged, "--out", out)


@pytest.fixture
def write_command(tmp_path):
    """Give a function that writes a script and gives how to call it as the command is called."""

    def write(text):
        (tmp_path / "command.py").write_text(text)
        return sys.executable, "-P", str(tmp_path / "command.py")

    return write


def in_the_second(action):
    """Give what does something the second time that it is called."""
    calls = itertools.count(1)
    return lambda: action() if next(calls) == 2 else None


def launches_kept(out):
    """Give what is in the journal of a session that is not finished, after its head."""
    (journal,) = out.rglob("journal.jsonl")
    assert not (journal.parent / "session.json").exists()
    return journal.read_text().splitlines()[1:]


def check_resumed(out):
    """Go on, and check that every launch is there exactly once, those that there were as before."""
    before = launches_kept(out)
    session = Path(mofa("bench", "--resume", "--out", out, "--json").json()["session"])
    journal = (session / "journal.jsonl").read_text().splitlines()
    assert journal[1 : 1 + len(before)] == before
    runs = pd.read_parquet(session / "runs.parquet")
    assert runs["status"].tolist() == ["ok"] * LAUNCHES
    assert sorted(runs["block"]) == list(range(LAUNCHES))
    assert left_over(out) == []
    assert "no interrupted session" in mofa("bench", "--resume", "--out", out).err


def test_a_session_on_this_machine_is_resumed_after_each(asked, out, write_command):
    resumed = ("bench", "--resume", "--out", out)
    for done, (number, code) in enumerate(STOPS.items(), start=1):
        command = write_command(STOPS_ITSELF.format(number=int(number)))
        assert process(*(asked if done == 1 else resumed), command=command).code == code
        assert len(launches_kept(out)) == done
    check_resumed(out)


def test_a_session_on_a_phone_is_resumed_after_each(
    asked, out, start_phone, write_command, monkeypatch
):
    phone = start_phone()
    setting = phone.tree.locate("settings/global/stay_on_while_plugged_in")
    before = setting.read_text()
    command = write_command(WITH_PROGRAMS.format(folder=str(Path(__file__).parent)))
    asked, resumed = (*asked, "--device", phone.serial), ("bench", "--resume", "--out", out)
    for done, (number, code) in enumerate(STOPS.items(), start=1):
        words = asked if done == 1 else resumed
        running = subprocess.Popen([*command, *map(str, words)])
        phone.when(LAUNCH, in_the_second(lambda: os.kill(running.pid, number)), times=2)  # noqa: B023
        assert running.wait(PROCESS_S) == code
        assert len(launches_kept(out)) == done
    monkeypatch.setattr(bench_devices, "programs_for", programs_of_this_machine)
    check_resumed(out)
    assert list(phone.storage.iterdir()) == []
    assert setting.read_text() == before
    assert phone.processes() == []
