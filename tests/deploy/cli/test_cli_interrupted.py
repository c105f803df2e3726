"""Commands that are stopped half-way, by Ctrl-C and by kill -9, and then run again."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_examples import COMMAND, PROCESS_S, left_over, mofa, process, write_picture

pytestmark = pytest.mark.slow
INTERRUPTED = 130


@dataclass
class Terminal:
    """A command whose error stream is a terminal, where it draws its progress."""

    process: subprocess.Popen[str]
    screen: int
    text: str = ""

    def wait_for(self, pattern: str) -> None:
        """Read what is drawn until it matches."""
        deadline = time.monotonic() + PROCESS_S
        while not re.search(pattern, self.text):
            ready, _, _ = select.select([self.screen], [], [], deadline - time.monotonic())
            assert ready and self._read(), f"{pattern} did not come: {self.text}"

    def stop(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; give the exit code and what was printed on stdout."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=PROCESS_S)
        while select.select([self.screen], [], [], 0)[0] and self._read():
            pass
        return self.process.returncode, out

    def _read(self) -> bool:
        try:
            drawn = os.read(self.screen, 65536)
        except OSError:  # the process has closed its end
            return False
        self.text += drawn.decode(errors="replace")
        return bool(drawn)


@contextmanager
def in_terminal(*arguments: object) -> Iterator[Terminal]:
    screen, theirs = pty.openpty()
    running = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160", "NO_COLOR": "1"},
    )
    os.close(theirs)
    try:
        yield Terminal(running, screen)
    finally:
        running.kill()
        running.wait()
        os.close(screen)


@pytest.fixture(scope="module")
def many(tmp_path_factory, judged) -> Sequence[object]:
    """Give the options of a calibration that takes seconds."""
    data = tmp_path_factory.mktemp("many")
    for seed in (0, 1):
        write_picture(data / f"{seed}.png", 800, 800, seed)
    return "--data", data, "--crops", "3000", *judged


CALIBRATING = r"calibrating.* [1-9]\d*/3000.* crops/s.*left"


def finals(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.onnx"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_calibration_that_is_stopped_leaves_no_file_and_can_be_run_again(net, many, out, number):
    quantize = ("quantize", net, *many, "--out", out)
    with in_terminal(*quantize) as terminal:
        terminal.wait_for(CALIBRATING)
        code, printed = terminal.stop(number)
    assert code == (INTERRUPTED if number == signal.SIGINT else -signal.SIGKILL)
    assert printed == ""
    assert "Traceback" not in terminal.text
    assert finals(out) == ["net.fp32.onnx"]  # the stage before, which had ended
    assert left_over(out) == []
    assert list(out.rglob("ranges-*")) == []
    # what the same process leaves if it is killed a little later, while it writes
    (out / f".net.int8-arm-cpu.onnx.{terminal.process.pid}.unfinished").write_bytes(b"half")
    again = mofa(*quantize, "--json")
    assert {one["kind"]: one["made"] for one in again.json()} == {
        "fp32": False,
        "int8-arm-cpu": True,
    }
    assert left_over(out) == []


STOPPING = """
import os
from pathlib import Path

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.only = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image):
        # called once more when the graph is written and not yet checked
        if any(Path("build").glob("*.unfinished")) and Path("signal").exists():
            os.kill(os.getpid(), int(Path("signal").read_text()))
        return self.only(image)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_export_that_is_stopped_while_it_checks_leaves_no_file_with_a_final_name(
    tmp_path, judged, number
):
    (tmp_path / "stopping.py").write_text(STOPPING)
    (tmp_path / "signal").write_text(str(int(number)))
    export = ("export", "--model", "stopping:Net", "--shape", "1,3,64,64", *judged)
    stopped = process(*export, cwd=tmp_path)
    assert stopped.code == (INTERRUPTED if number == signal.SIGINT else -signal.SIGKILL)
    assert finals(tmp_path / "build") == []
    killed = number == signal.SIGKILL
    assert len(left_over(tmp_path / "build")) == killed  # only then nobody could tidy up
    (tmp_path / "signal").unlink()
    assert process(*export, cwd=tmp_path).code == 0
    assert finals(tmp_path / "build") == ["net.plain.onnx"]
    assert left_over(tmp_path / "build") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_measurement_that_is_stopped_goes_on_where_it_was(net, judged, out, number):
    bench = (
        "bench",
        net,
        "--no-memory",
        "--launches",
        "4",
        "--seconds",
        "0.05",
        *judged,
        "--out",
        out,
    )
    with in_terminal(*bench) as terminal:
        terminal.wait_for(r"measuring on host.* [1-3]/4")
        code, _ = terminal.stop(number)
    assert code == (INTERRUPTED if number == signal.SIGINT else -signal.SIGKILL)
    assert list(out.rglob("session.json")) == []
    (journal,) = out.rglob("journal.jsonl")
    kept = journal.read_bytes()
    whole_lines = kept[: kept.rfind(b"\n") + 1]
    assert mofa(*bench).code == 0
    assert journal.read_bytes().startswith(whole_lines)
    blocks = [json.loads(line)["run"]["block"] for line in journal.read_text().splitlines()[1:]]
    assert sorted(blocks) == [0, 1, 2, 3]
    assert left_over(out) == []
