from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from deploy.artifact import read_artifact
from deploy.errors import CheckpointError, FidelityError, GraphError, UsageError
from deploy.export import IR_VERSION, OPSET, build, export
from deploy.fidelity import Probe
from deploy.inference import open_run
from deploy.pipeline import PMRID_RAW
from deploy.spec import TensorSpec, network_image


class Noisy(nn.Module):
    """Not a function of its input: torch and ONNX Runtime cannot agree on it."""

    def forward(self, image):
        return image + torch.rand_like(image)


class Branching(nn.Module):
    """Decides by the pixels, which no graph of fixed shape can hold."""

    def forward(self, image):
        return image if image.sum() > 0 else -image


def test_the_exported_graph_is_the_networks_function(line):
    network = build(line.spec)
    for crop in line.probe.crops:
        with torch.inference_mode():
            expected = network(torch.from_numpy(crop)).numpy()
        np.testing.assert_allclose(open_run(line.plain.path)(crop), expected, atol=1e-5)


def test_names_shape_opset_and_ir_are_those_a_phone_loads(line):
    model = onnx.load(line.plain.path)
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["output"]
    assert [one.dim_value for one in model.graph.input[0].type.tensor_type.shape.dim] == [
        1,
        3,
        64,
        64,
    ]
    assert (model.opset_import[0].version, model.ir_version) == (OPSET, IR_VERSION)


def test_weights_are_inside_the_file(line):
    assert not any(one.external_data for one in onnx.load(line.plain.path).graph.initializer)
    assert sorted(one.suffix for one in line.plain.path.parent.glob("small.plain*")) == [
        ".json",
        ".onnx",
    ]


def test_no_path_of_the_exporting_machine_is_in_the_file(line):
    content = line.plain.path.read_bytes()
    assert b"stack_trace" not in content
    assert b"site-packages" not in content
    assert b".py" not in content


def test_the_sidecar_says_how_far_it_is_from_torch_and_from_the_truth(line):
    fidelity = read_artifact(line.plain.path).fidelity
    assert 0 <= fidelity["max_error_vs_torch"] <= 1e-4
    assert fidelity["degraded_psnr_db"] == pytest.approx(20.2, abs=0.5)
    network = build(line.spec)
    assert fidelity["parameters"] == sum(one.numel() for one in network.parameters())


def test_exporting_again_does_nothing(line):
    again, made = export(line.spec, line.plain.path.parent, line.probe)
    assert (again, made) == (line.plain, False)


def test_force_exports_again_to_the_same_bytes(line):
    again, made = export(line.spec, line.plain.path.parent, line.probe, force=True)
    assert made
    assert again.sha256 == line.plain.sha256


def test_another_checkpoint_is_another_export(line, folder, tmp_path):
    from safetensors.torch import load_file, save_file

    changed = {key: value * 1.01 for key, value in load_file(line.spec.checkpoint).items()}
    other = tmp_path / "other.safetensors"
    save_file(changed, other)
    export(line.spec, folder, line.probe)
    artifact, made = export(replace(line.spec, checkpoint=other), folder, line.probe)
    assert made
    assert artifact.params["weights_sha256"] != line.plain.params["weights_sha256"]


def test_a_dynamic_export_takes_other_sizes(line, folder):
    artifact, _ = export(line.spec, folder, line.probe, dynamic=True)
    crop = np.random.default_rng(0).random((1, 3, 72, 104), dtype=np.float32)
    with torch.inference_mode():
        expected = build(line.spec)(torch.from_numpy(crop)).numpy()
    np.testing.assert_allclose(open_run(artifact.path)(crop), expected, atol=1e-5)


class Halving(nn.Module):
    """Takes multiples of 4 only, and does not say so."""

    def __init__(self):
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 4, 4, stride=4), nn.ConvTranspose2d(4, 3, 4, stride=4)

    def forward(self, image):
        return image + self.up(self.down(image))


def test_a_dynamic_export_takes_the_multiples_that_the_network_needs(line, folder):
    spec = replace(line.spec, factory=Halving, checkpoint=None)
    artifact, _ = export(spec, folder, replace(line.probe, pairs=()), dynamic=True)
    crop = np.random.default_rng(0).random((1, 3, 20, 36), dtype=np.float32)
    with torch.inference_mode():
        expected = build(spec)(torch.from_numpy(crop)).numpy()
    np.testing.assert_allclose(open_run(artifact.path)(crop), expected, atol=1e-5)


def test_sides_the_network_does_not_take_leave_no_file(line, folder):
    odd = replace(
        line.spec, factory=Halving, checkpoint=None, inputs=(TensorSpec("input", (1, 3, 62, 62)),)
    )
    with pytest.raises(UsageError, match=r"multiples of 4, not 62x62: pass --shape 1,3,64,64"):
        export(odd, folder, line.probe)
    assert not folder.exists()


def test_a_padded_graph_is_the_network_on_a_padded_image(line, folder):
    shape = (1, 3, 62, 62)
    odd = replace(line.spec, factory=Halving, checkpoint=None, inputs=(TensorSpec("input", shape),))
    crop = np.random.default_rng(0).random(shape, dtype=np.float32)
    artifact, _ = export(odd, folder, Probe("noise", [crop]), pad=True)
    padded = nn.functional.pad(torch.from_numpy(crop), (0, 2, 0, 2))
    with torch.inference_mode():
        expected = build(odd)(padded)[..., :62, :62].numpy()
    np.testing.assert_allclose(open_run(artifact.path)(crop), expected, atol=1e-5)


class Shifted(nn.Module):
    """Strays by 1e-3 when it is run, but not in its graph."""

    def forward(self, image):
        return image if torch.compiler.is_exporting() else image + 1e-3


@pytest.mark.parametrize(("scale", "passes"), [(1, False), (256, True)])
def test_the_error_that_is_allowed_is_a_share_of_the_outputs_range(line, folder, scale, passes):
    pipeline = replace(PMRID_RAW, iso=1600, scale=scale)
    tensor = network_image("input", pipeline, 8)
    spec = replace(line.spec, factory=Shifted, checkpoint=None, inputs=(tensor,), pipeline=pipeline)
    probe = Probe("flat", [np.full((1, 4, 8, 8), 0.5, np.float32)], pipeline=pipeline)
    if passes:
        artifact, _ = export(spec, folder, probe)
        assert artifact.fidelity["max_error_vs_torch"] == pytest.approx(1e-3 / 256, rel=1e-2)
        assert artifact.params["pipeline"] == pipeline.record()
    else:
        with pytest.raises(FidelityError, match=r"max error 0\.001 of the output's range"):
            export(spec, folder, probe)


def test_untrained_weights_are_the_same_each_time_and_marked(line, folder):
    untrained = replace(line.spec, checkpoint=None)
    artifact, _ = export(untrained, folder, replace(line.probe, pairs=()))
    again, _ = export(untrained, folder, replace(line.probe, pairs=()), force=True)
    assert artifact.sha256 == again.sha256
    assert artifact.params["trained"] is False
    assert "psnr_db" not in artifact.fidelity


def test_a_network_that_onnx_runtime_cannot_follow_leaves_no_file(line, folder):
    noisy = replace(line.spec, factory=Noisy, checkpoint=None)
    with pytest.raises(FidelityError, match=r"small: ONNX Runtime against torch: max error"):
        export(noisy, folder, line.probe)
    assert list(folder.iterdir()) == []


def test_a_network_that_torch_cannot_export_is_named(line, folder):
    branching = replace(line.spec, factory=Branching, checkpoint=None)
    with pytest.raises(GraphError, match="torch cannot export small"):
        export(branching, folder, line.probe)
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_factory_that_gives_no_network_is_named(line, folder):
    with pytest.raises(UsageError, match="gave a dict"):
        export(replace(line.spec, factory=dict, checkpoint=None), folder, line.probe)


def test_a_checkpoint_of_another_network_leaves_no_file(line, folder):
    other = replace(line.spec, factory=lambda: nn.Conv2d(3, 3, 1))
    with pytest.raises(CheckpointError, match="does not fit Conv2d"):
        export(other, folder, line.probe)
    assert not folder.exists()
