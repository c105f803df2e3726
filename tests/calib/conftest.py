"""Real image files and a tiny network, for the tests of calib."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

WritePictures = Callable[[Path, Mapping[str, tuple[int, int]]], Path]


def pixels_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    shape = (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """(H, W, 3) uint8 noise of a seed."""
    return pixels_of


@pytest.fixture(scope="session")
def write_pictures() -> WritePictures:
    """Fill a folder with noise images, given as name -> (height, width); give the folder."""

    def write(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> Path:
        for seed, (name, size) in enumerate(sizes.items()):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels_of(*size, seed)).save(path)
        return folder

    return write


@pytest.fixture(scope="session")
def crops() -> Callable[..., list[np.ndarray]]:
    """Seeded crops (1, 3, side, side) float32 in [0, 1]."""

    def make(count: int, side: int = 8, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        return list(rng.random((count, 1, 3, side, side), dtype=np.float32))

    return make


WriteModel = Callable[..., Path]


@pytest.fixture(scope="session")
def write_model() -> WriteModel:
    """Save a chain of nodes from "image" to "restored"; constants are given by name."""

    def write(
        path: Path,
        nodes: list[onnx.NodeProto],
        shape: tuple[int | str, ...] = (1, 3, 8, 8),
        **constants: np.ndarray | float,
    ) -> Path:
        values = {
            name: numpy_helper.from_array(np.asarray(value, np.float32), name)
            for name, value in constants.items()
        }
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("restored", TensorProto.FLOAT, shape)],
            list(values.values()),
        )
        opsets = [helper.make_opsetid("", 17)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, path)
        return path

    return write


@pytest.fixture(scope="session")
def arithmetic(write_model: WriteModel) -> Callable[[Path], Path]:
    """A model that NumPy computes to the last bit: image -> scaled -> shifted -> restored."""

    def write(path: Path) -> Path:
        nodes = [
            helper.make_node("Mul", ["image", "two_and_a_half"], ["scaled"]),
            helper.make_node("Sub", ["scaled", "one"], ["shifted"]),
            helper.make_node("Relu", ["shifted"], ["restored"]),
        ]
        return write_model(path, nodes, two_and_a_half=2.5, one=1.0)

    return write


@pytest.fixture(scope="session")
def convolution(write_model: WriteModel) -> Callable[[Path], Path]:
    """Two convolutions with a skip around them: what quantization is for."""

    def write(path: Path) -> Path:
        rng = np.random.default_rng(0)
        nodes = [
            helper.make_node("Conv", ["image", "w1", "b1"], ["wide"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["wide"], ["active"]),
            helper.make_node("Conv", ["active", "w2"], ["residual"], pads=[1, 1, 1, 1]),
            helper.make_node("Add", ["image", "residual"], ["restored"]),
        ]
        for number, node in enumerate(nodes):
            node.name = f"node{number}"
        return write_model(
            path,
            nodes,
            w1=rng.standard_normal((8, 3, 3, 3)) * 0.2,
            b1=rng.standard_normal(8) * 0.1,
            w2=rng.standard_normal((3, 8, 3, 3)) * 0.1,
        )

    return write
