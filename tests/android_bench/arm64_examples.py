"""Examples that the tests of the emulated core share: graphs in float and in 8 bits, programs."""

import logging
import subprocess
import sys

import numpy as np
from bench_examples import model_of
from onnx import TensorProto, helper, numpy_helper, save
from onnxruntime.quantization import quantize_static

from android_bench.launch import Case
from android_bench.plan import BenchPlan
from deploy.artifact import read_artifact

SHAPE = (1, 16, 32, 32)
COUNTING = BenchPlan(
    launches=1, warmup=0, seconds=0.0, min_runs=1, threads=1, timeout_s=300, metric="instructions"
)


def two_convolutions():
    """A 1x1 and a depthwise 3x3 convolution, (1, 16, H, W) -> (1, 16, H, W), weights drawn."""
    draw = np.random.default_rng(1)
    weights = {
        "mix": draw.standard_normal((16, 16, 1, 1), dtype=np.float32) / 4,
        "smooth": draw.standard_normal((16, 1, 3, 3), dtype=np.float32) / 3,
    }
    nodes = [
        helper.make_node("Conv", ["input", "mix"], ["mixed"], name="mix"),
        helper.make_node(
            "Conv", ["mixed", "smooth"], ["output"], name="smooth", group=16, pads=[1, 1, 1, 1]
        ),
    ]
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    return model_of(nodes, [("input", SHAPE)], [("output", SHAPE)], constants)


def of_a_strange_operator():
    """A graph that no build of ONNX Runtime has a kernel for."""
    node = helper.make_node("Invented", ["input"], ["output"], domain="example")
    model = model_of([node], [("input", SHAPE)], [("output", SHAPE)], kind=TensorProto.FLOAT)
    model.opset_import.append(helper.make_opsetid("example", 1))
    return model


class Crops:
    def __init__(self):
        draw = np.random.default_rng(2)
        self.left = iter([{"input": draw.random(SHAPE, dtype=np.float32)} for _ in range(2)])

    def get_next(self):
        return next(self.left, None)


def write_cases(folder):
    """Write the graph in float and quantized; give both as cases."""
    plain, int8 = folder / "two.onnx", folder / "eight.onnx"
    save(two_convolutions(), plain)
    logging.getLogger().setLevel(logging.ERROR)
    quantize_static(str(plain), str(int8), Crops())
    return [case_of(plain), case_of(int8)]


def case_of(model):
    values = model.with_name("input.f32")
    np.random.default_rng(0).random(SHAPE).astype("<f4").tofile(values)
    return Case(read_artifact(model), values)


def compile_for_arm64(source, built, *flags):
    """Compile a program for aarch64 Linux; give its path."""
    path = built.with_suffix(".c")
    path.write_text(source)
    target = ["-target", "aarch64-linux-gnu.2.28", "-fno-sanitize=all"]
    command = [sys.executable, "-m", "ziglang", "cc", *target, *flags, "-o", built, path]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    return built
