"""What the tests of the command line share: pictures, a small net, refusals that left nothing."""

import importlib
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli_examples import Said, left_over, models_in, mofa, refusal, write_net, write_pictures

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Give a folder with images to calibrate on in train/, and a pair to judge on in held-out/."""
    return write_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def judged(pictures) -> tuple[str, ...]:
    """Give the options that keep a command off the demo photographs."""
    return "--held-out", str(pictures / "held-out")


@pytest.fixture(scope="session")
def calibrated(pictures, judged) -> tuple[str, ...]:
    """Give the options of a quick calibration."""
    return "--data", str(pictures / "train"), "--crops", "12", *judged


@pytest.fixture(scope="session")
def net(tmp_path_factory) -> Path:
    """Give a user's own .onnx file."""
    return write_net(tmp_path_factory.mktemp("nets") / "net.onnx")


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@dataclass(frozen=True)
class Refuse:
    """Runs a command that has to be refused, and gives the line that refuses it.

    No model file may appear or change in its output folder, and nothing unfinished may stay.
    """

    out: Path
    run: Callable[..., Said] = mofa

    def __call__(self, *arguments: object) -> str:
        before = models_in(self.out)
        line = refusal(self.run(*arguments, "--out", self.out))
        assert models_in(self.out) == before
        assert left_over(self.out) == []
        return line


@pytest.fixture
def refuse(out) -> Refuse:
    return Refuse(out)


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Write a module into the current folder, which is made a temporary one; give its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    written = []

    def write(source: str) -> str:
        written.append(f"users_module_{next(NUMBERS)}")
        Path(f"{written[-1]}.py").write_text(source)
        importlib.invalidate_caches()
        return written[-1]

    yield write
    for name in written:
        sys.modules.pop(name, None)
