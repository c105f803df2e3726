"""Quantize with NNCF, in its own environment: run_nncf.py PLAIN.onnx CROPS.npy WRITTEN.onnx."""

import sys

import nncf
import numpy as np
import onnx

plain, crops, written = sys.argv[1:]
model = onnx.load(plain)
name = model.graph.input[0].name
images = np.load(crops)
dataset = nncf.Dataset([images[one : one + 1] for one in range(len(images))], lambda x: {name: x})
onnx.save(nncf.quantize(model, dataset, subset_size=len(images)), written)
