"""Quantize with ONNX Runtime's defaults: run_onnxruntime.py PLAIN.onnx CROPS.npy WRITTEN.onnx."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))
from ort_default import quantize_default

plain, crops, written = sys.argv[1:]
images = np.load(crops)
quantize_default(Path(plain), (images[one : one + 1] for one in range(len(images))), Path(written))
