"""One small line of real artifacts, made once: a NAFNet of width 8 at 64 px, weights drawn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from onnxruntime import set_default_logger_severity
from safetensors.torch import save_file

from calib.photographs import degraded_pair
from calib.statistics import Statistics
from calib.stream import stream_statistics
from deploy.artifact import Artifact
from deploy.export import export
from deploy.fidelity import Probe, tiles
from deploy.pipeline import RGB
from deploy.placement import TARGETS
from deploy.prepare import prepare
from deploy.quantize import FloatGraph, quantize
from deploy.recipe import Recipe
from deploy.spec import ModelSpec, network_image
from deploy.zoo.nafnet import NAFNet

SIDE_PX = 64
RECIPE = Recipe(method="minmax")
set_default_logger_severity(3)


def small_nafnet() -> NAFNet:
    """Two resolutions, every kind of layer, the attention scales not zero."""
    torch.manual_seed(3)
    network = NAFNet(width=8, encoder_blocks=(1,), middle_blocks=1, decoder_blocks=(1,))
    for name, parameter in network.named_parameters():
        if name.endswith(("beta", "gamma", "norm1.weight", "norm2.weight", "norm1.bias")):
            torch.nn.init.normal_(parameter, std=0.3)
    return network


@dataclass(frozen=True)
class Pair:
    name: str
    degraded: np.ndarray
    sharp: np.ndarray


@dataclass(frozen=True)
class Line:
    spec: ModelSpec
    probe: Probe
    calibration: list[np.ndarray]
    plain: Artifact
    fp32: Artifact
    statistics: Statistics
    int8_x86: Artifact
    int8_arm: Artifact

    @property
    def base(self) -> FloatGraph:
        return FloatGraph(self.fp32.path, self.statistics)


@pytest.fixture(scope="session")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    weights = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(dict(small_nafnet().state_dict()), weights)
    tensors = [(network_image(name, RGB, SIDE_PX),) for name in ("input", "output")]
    return ModelSpec("small", small_nafnet, weights, *tensors, "a test", "Apache-2.0")


@pytest.fixture(scope="session")
def probe() -> Probe:
    degraded, sharp = degraded_pair("chelsea", 0)
    pair = Pair("chelsea", degraded[:100, :150], sharp[:100, :150])
    return Probe("chelsea", tiles(pair.degraded, (SIDE_PX, SIDE_PX))[:3], (pair,))


@pytest.fixture(scope="session")
def line(spec: ModelSpec, probe: Probe, tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("line")
    plain, _ = export(spec, folder, probe)
    fp32, _ = prepare(plain, folder, probe)
    calibration = tiles(degraded_pair("astronaut", 0)[0], (SIDE_PX, SIDE_PX))[:12]
    statistics = stream_statistics(fp32.path, calibration)
    int8 = [
        quantize(
            fp32,
            FloatGraph(fp32.path, statistics),
            TARGETS[name],
            folder,
            probe,
            recipe=RECIPE,
            crops={"crops": 12},
        )[0]
        for name in ("x86", "arm-cpu")
    ]
    return Line(spec, probe, calibration, plain, fp32, statistics, *int8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "build"
