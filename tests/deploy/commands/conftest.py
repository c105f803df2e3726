"""A folder of photographs, and the question which recipe suits the small network on them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imsave
from skimage.util import img_as_ubyte

from calib.crops import choose_crops
from calib.photographs import degraded_pair
from calib.stream import collect_statistics
from deploy.commands.search import Question
from deploy.fidelity import Probe, tiles
from deploy.onnx_file import load_graph
from deploy.placement import TARGETS, calibrated_tensors
from deploy.quantize import FloatGraph, float_model

SIDE_PX = 64


@dataclass(frozen=True)
class Window:
    name: str
    degraded: np.ndarray
    sharp: np.ndarray


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Give six pairs of 80x96 px in input/ and target/."""
    for name, (degraded, sharp) in {"cat": degraded_pair("chelsea", 0)}.items():
        for place in range(6):
            at = np.s_[20 * place : 20 * place + 80, 40 * place : 40 * place + 96]
            for kind, image in (("input", degraded), ("target", sharp)):
                (tmp_path / "pairs" / kind).mkdir(parents=True, exist_ok=True)
                imsave(tmp_path / "pairs" / kind / f"{name}{place}.png", img_as_ubyte(image[at]))
    return tmp_path / "pairs"


@pytest.fixture
def question(line, photographs, tmp_path) -> Question:
    """Ask for the x86 recipe of the small network, judged on two windows with truth."""
    degraded, sharp = degraded_pair("chelsea", 0)
    corners = [np.s_[40:104, 60:124], np.s_[150:214, 200:264]]
    windows = [Window(f"w{place}", degraded[at], sharp[at]) for place, at in enumerate(corners)]
    cut = [tiles(one.degraded, (SIDE_PX, SIDE_PX))[0] for one in windows]
    crops = choose_crops(photographs / "input", count=6, side=SIDE_PX, seed=0)
    probe = Probe("two windows", cut, windows)
    return Question(line.fp32, TARGETS["x86"], crops, probe, tmp_path / "cache")


@pytest.fixture
def base(question: Question) -> FloatGraph:
    """Give the float graph, calibrated on the question's crops."""
    path = question.fp32.path
    tensors = calibrated_tensors(float_model(load_graph(path)))
    statistics = collect_statistics(path, question.crops, question.cache, tensors=tensors)
    return FloatGraph(path, statistics)
