"""ONNX Runtime's own static quantization with its defaults: the baseline that everybody has.

`quantize_static(plain, ...)` as its documentation shows it: QDQ, QInt8 activations and weights,
per tensor, min and max of the activations, no surgery of the graph before.
"""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnxruntime import quantization


class Crops(quantization.CalibrationDataReader):
    """Crops (1, C, H, W) float32 for the calibrator, one after the other."""

    def __init__(self, model: Path, crops: Iterable[np.ndarray]) -> None:
        self.name = onnx.load(model, load_external_data=False).graph.input[0].name
        self.left: Iterator[np.ndarray] = iter(crops)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Give the next crop as the model's input; None at the end."""
        crop = next(self.left, None)
        return None if crop is None else {self.name: crop}


def quantize_default(plain: Path, crops: Iterable[np.ndarray], written: Path, **options: object):
    """Write the int8 form of a float model; `options` as of `quantize_static`."""
    logging.getLogger().setLevel(logging.ERROR)  # it recommends its pre-processing, at length
    quantization.quantize_static(str(plain), str(written), Crops(plain, crops), **options)
    return written
