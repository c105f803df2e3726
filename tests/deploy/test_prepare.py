from dataclasses import replace

import numpy as np
import onnx
import pytest

from deploy import prepare as prepare_stage
from deploy.errors import FidelityError, GraphError
from deploy.inference import open_run
from deploy.prepare import prepare


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
    assert after.count("LayerNormalization") == 2 * blocks
    assert after.count("GlobalAveragePool") == blocks
    assert not {"Sqrt", "Pow", "Sub", "Div", "ReduceMean"} & set(after)


def test_the_sidecar_counts_what_was_rewritten(line):
    assert line.fp32.fidelity["rewritten"] == {"global_pool": 3, "layer_norm": 6}
    assert line.fp32.parent_sha256 == line.plain.sha256


def test_preparing_again_does_nothing(line):
    again, made = prepare(line.plain, line.fp32.path.parent, line.probe)
    assert (again, made) == (line.fp32, False)


def test_a_rewrite_that_changes_the_function_leaves_no_file(line, folder, monkeypatch):
    def break_bias(model):
        value = next(one for one in model.graph.initializers.values() if "bias" in one.name)
        value.const_value = prepare_stage.ir.tensor(value.const_value.numpy() + 1)
        return 1

    monkeypatch.setitem(prepare_stage.REWRITES, "broken", break_bias)
    with pytest.raises(FidelityError, match="rewrite broken: max error"):
        prepare(line.plain, folder, line.probe)
    assert not folder.exists()


def test_a_corrupt_file_is_named(line, folder, tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(line.plain.path.read_bytes()[:1000])
    with pytest.raises(GraphError, match=r"broken\.onnx"):
        prepare(replace(line.plain, path=broken), folder, line.probe)
