"""Examples that the tests of the bench share: a small model, a printed launch, stand-in runners."""

import json
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from android_bench.correctness import host_output
from android_bench.launch import Case
from android_bench.plan import BenchPlan
from deploy.artifact import read_artifact

SHAPE = (1, 3, 16, 16)
ANSWERS = "answers"  # beside the models: what a stand-in for a runner writes as its output
OUTPUT_SHA256 = "ab"  # in a printed launch, where the hash of its output belongs
QUICK = BenchPlan(launches=2, warmup=1, seconds=0.0, min_runs=2, threads=1, timeout_s=60)


def two_convs(seed=0, shape=SHAPE):
    generator = np.random.default_rng(seed)
    weights = [
        numpy_helper.from_array(generator.normal(size=(3, 3, 3, 3)).astype(np.float32), name)
        for name in ("first", "second")
    ]
    nodes = [
        helper.make_node("Conv", ["input", "first"], ["middle"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["middle", "second"], ["output"], pads=[1, 1, 1, 1]),
    ]
    return model_of(nodes, [("input", shape)], [("output", shape)], weights)


def model_of(nodes, inputs, outputs, initializers=(), kind=TensorProto.FLOAT):
    graph = helper.make_graph(
        nodes,
        "example",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs],
        list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def write_case(folder, name="net", seed=0, **options):
    model, values = folder / f"{name}.onnx", folder / "input.f32"
    if not model.exists():
        save(two_convs(seed), model)
    np.random.default_rng(0).random(SHAPE).astype("<f4").tofile(values)
    case = Case(read_artifact(model), values, **options)
    answer = host_output(model, values, case.opt_level, {})
    if answer is not None:
        answers = folder / ANSWERS
        answers.mkdir(exist_ok=True)
        answer.astype("<f4").tofile(answers / f"{case.artifact.sha256}.f32")
    return case


def launch_records(warmup=1, steady=2, latency_ns=1000, **begin):
    """Give the records of a launch that ended well, in their order."""
    phases = ["first", *["warmup"] * warmup, *["steady"] * steady]
    sizes = {"rss_bytes": 5, "rss_anon_bytes": 3, "rss_file_bytes": None}
    memory = {
        phase: {"record": "memory", "phase": phase, "t_ns": 1, **sizes}
        for phase in ("baseline", "loaded", "first", "steady")
    }
    return [
        {
            "record": "begin",
            "protocol": 1,
            "runtime": "stand-in",
            "runtime_version": "1.0",
            "provider": "cpu",
            "intra_op_threads": 1,
            "inter_op_threads": 1,
            "graph_opt_level": "all",
            "config": {},
            "warmup": warmup,
            "seconds": 0.0,
            "min_runs": steady,
            **begin,
        },
        memory["baseline"],
        memory["loaded"],
        {"record": "session", "create_ns": 7, "input_shape": [1], "output_shape": [1]},
        *(
            {
                "record": "sample",
                "iteration": number,
                "phase": phase,
                "t_start_ns": 10 * number,
                "latency_ns": latency_ns,
            }
            for number, phase in enumerate(phases)
        ),
        memory["first"],
        memory["steady"],
        {"record": "output", "bytes": 4, "sha256": OUTPUT_SHA256},
        {"record": "peak", "rss_bytes": 9, "reset": True, "source": "VmHWM"},
        {"record": "done", "n": len(phases)},
    ]


def as_text(records):
    return "".join(json.dumps(one) + "\n" for one in records)


def write_runner(folder, body="", *, prints=None, name="runner.py"):
    """Write a program that stands in for a runner; give how to call it.

    It counts its calls in the file `calls` beside it, writes what this machine makes of the model
    as its output, runs `body`, which may change `output` (bytes) or `text`, then prints a launch
    that fits QUICK, or what it is given.
    """
    text = as_text(launch_records()) if prints is None else prints
    script = folder / name
    script.write_text(
        "import hashlib, os, pathlib, sys, time\n"
        f"open({str(folder / 'calls')!r}, 'a').write('x')\n"
        "name = pathlib.Path(sys.argv[1]).stem + '.f32'\n"
        f"answer = pathlib.Path({str(folder / ANSWERS)!r}, name)\n"
        "output = answer.read_bytes() if answer.exists() else b''\n"
        f"text = {text!r}\n"
        f"{body}\n"
        "open('output.f32', 'wb').write(output)\n"
        f"text = text.replace('\"{OUTPUT_SHA256}\"', repr(hashlib.sha256(output).hexdigest())\n"
        "    .replace(chr(39), chr(34)))\n"
        "sys.stdout.write(text)\n"
    )
    return [sys.executable, "-I", "-S", str(script)]


def calls(folder):
    path = Path(folder) / "calls"
    return len(path.read_text()) if path.exists() else 0
