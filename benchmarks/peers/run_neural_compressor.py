"""Quantize with ONNX Neural Compressor: run_neural_compressor.py PLAIN.onnx CROPS.npy WRITTEN.onnx.

Its own defaults write operators of integers; QDQ is asked for, as ONNX Runtime recommends.
"""

import sys

import numpy as np
import onnx
from onnx_neural_compressor import data_reader
from onnx_neural_compressor.quantization import QuantFormat, config, quantize


class Crops(data_reader.CalibrationDataReader):
    """Crops of a .npy file, one after the other."""

    def __init__(self, name: str, images: np.ndarray) -> None:
        self.name, self.images = name, images
        self.rewind()

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Give the next crop; None at the end."""
        return next(self.left, None)

    def rewind(self) -> None:
        """Start again."""
        self.left = iter({self.name: image[None]} for image in self.images)


plain, crops, written = sys.argv[1:]
input_name = onnx.load(plain).graph.input[0].name
values = np.load(crops)
settings = config.StaticQuantConfig(
    calibration_data_reader=Crops(input_name, values),
    quant_format=QuantFormat.QDQ,
    calibration_sampling_size=len(values),
)
quantize(plain, written, settings)
