"""Command lines run in this process or in their own, and small things to run them on."""

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from deploy.cli import EXPECTED_ERROR, run_app

SIDE_PX = 64
QUICK = ("--launches", "1", "--seconds", "0.02", "--warmup", "1", "--threads", "1")
PROCESS_S = 300  # a bound, far above what any of these commands takes

# -P: the installed command does not have the current folder in its import path either
COMMAND = (sys.executable, "-P", "-m", "deploy.cli")


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Give what it printed for machines; anything else on stdout does not parse."""
        assert self.code == 0, self.err
        return json.loads(self.out)


def mofa(*arguments: object) -> Said:
    """Run a command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_app([str(one) for one in arguments])
    return Said(code, out.getvalue(), err.getvalue())


def process(*arguments: object, command: Sequence[str | Path] = COMMAND, **options: Any) -> Said:
    """Run a command line in a process of its own; options as those of subprocess.run."""
    done = subprocess.run(
        [*map(str, command), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PROCESS_S,
        check=False,
        **options,
    )
    return Said(done.returncode, done.stdout, done.stderr)


_WITHOUT = """
import sys


class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Without())
from deploy.cli import main

main()
"""


def command_without(folder: Path, package: str) -> tuple[str | Path, ...]:
    """Give the command as it is where a package is not installed."""
    script = folder / f"without_{package}.py"
    script.write_text(_WITHOUT.format(package=package))
    return sys.executable, "-P", script


def refusal(said: Said) -> str:
    """Give the one line that refuses, after checking that all else is as a refusal has to be."""
    lines = [line for line in said.err.splitlines() if line.startswith("error:")]
    assert said.code == EXPECTED_ERROR, said.err
    assert len(lines) == 1, said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    return lines[0]


def models_in(folder: Path) -> dict[str, bytes]:
    """Give every model file under a folder, its content with it; what a cache keeps is none."""
    files = [path for path in sorted(folder.rglob("*.onnx")) if path.parent.name != "calib"]
    return {str(path): path.read_bytes() for path in files}


def left_over(folder: Path) -> list[Path]:
    """Give what only a command that was cut short leaves."""
    names = ("*.unfinished", "*.replaced")
    return [path for name in names for path in folder.rglob(name)]


def write_net(path: Path, shape=(1, 3, SIDE_PX, SIDE_PX), seed: int = 0, **changed: Any) -> Path:
    """Save two convolutions with a skip around them; give the path.

    Args:
        changed: `nodes` in place of those, or `weights` in place of the drawn ones, by name.
    """
    rng = np.random.default_rng(seed)
    weights = {
        "wide": rng.standard_normal((16, 3, 3, 3)) * 0.1,
        "narrow": rng.standard_normal((3, 16, 3, 3)) * 0.05,
        **changed.get("weights", {}),
    }
    nodes = changed.get("nodes") or [
        helper.make_node("Conv", ["image", "wide"], ["features"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["features"], ["active"], "second"),
        helper.make_node("Conv", ["active", "narrow"], ["residual"], "third", pads=[1] * 4),
        helper.make_node("Add", ["image", "residual"], ["restored"], "fourth"),
    ]
    graph = helper.make_graph(
        nodes,
        "example",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("restored", TensorProto.FLOAT, shape)],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in weights.items()
        ],
    )
    opsets = [helper.make_opsetid("", 18)]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def write_picture(path: Path, width: int = 128, height: int = 128, seed: int = 0) -> Path:
    """Save an image of noise around a slope; give the path."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(40, 200, width)[None, :, None]
    pixels = slope + rng.normal(0, 12, (height, width, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return path


def write_pictures(folder: Path) -> Path:
    """Fill train/ with two images and held-out/ with a pair; give the folder."""
    for seed in (0, 1):
        write_picture(folder / "train" / f"{seed}.png", seed=seed)
    for seed, kind in enumerate(("input", "target")):
        write_picture(folder / "held-out" / kind / "one.png", 96, 80, seed)
    return folder
