from dataclasses import replace

import numpy as np
import onnx
import pytest

from deploy import prepare as prepare_stage
from deploy.errors import GraphError
from deploy.inference import open_run
from deploy.prepare import prepare
from deploy.rewrites.outcome import Outcome


def op_types(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def test_the_prepared_graph_is_the_same_function(line):
    plain, fp32 = open_run(line.plain.path), open_run(line.fp32.path)
    for crop in line.probe.crops:
        np.testing.assert_allclose(fp32(crop), plain(crop), atol=1e-5)


def test_every_layer_norm_and_pool_of_a_nafnet_is_rewritten(line):
    before, after = op_types(line.plain.path), op_types(line.fp32.path)
    blocks = 3
    assert before.count("Sqrt") == 2 * blocks
    assert after.count("LpNormalization") == 2 * blocks
    assert after.count("GlobalAveragePool") == blocks
    assert not {"Sqrt", "Pow", "Sub", "Div", "ReduceMean"} & set(after)


def steps(artifact):
    return {step["name"]: step for step in artifact.fidelity["rewrites"]}


def test_the_sidecar_names_what_was_rewritten(line):
    counts = {name: len(step["applied"]) for name, step in steps(line.fp32).items()}
    assert (counts["global_pool"], counts["layer_norm"]) == (3, 6)
    assert line.fp32.parent_sha256 == line.plain.sha256


def test_preparing_again_does_nothing(line):
    again, made = prepare(line.plain, line.fp32.path.parent, line.probe)
    assert (again, made) == (line.fp32, False)


def break_bias(model, forms, crops):
    value = next(one for one in model.graph.initializers.values() if "bias" in one.name)
    value.const_value = prepare_stage.ir.tensor(value.const_value.numpy() + 1)
    return Outcome(applied=["the bias"])


def break_graph(model, forms, crops):
    next(iter(model.graph)).op_type = "NoSuchOperator"
    return Outcome(applied=["the first node"])


@pytest.mark.parametrize(
    ("broken", "why"), [(break_bias, "max error"), (break_graph, "NoSuchOperator")]
)
def test_a_rewrite_that_fails_its_check_is_undone_and_the_others_stay(
    line, folder, monkeypatch, broken, why
):
    rewrites = {"broken": broken, **prepare_stage.REWRITES}
    monkeypatch.setattr(prepare_stage, "REWRITES", rewrites)
    fp32, _ = prepare(line.plain, folder, line.probe)
    assert why in steps(fp32)["broken"]["undone"]
    assert fp32.sha256 == line.fp32.sha256


def test_a_corrupt_file_is_named(line, folder, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(line.plain.path.read_bytes()[:1000])
    with pytest.raises(GraphError, match=r"broken\.onnx"):
        prepare(replace(line.plain, path=broken), folder, line.probe)
