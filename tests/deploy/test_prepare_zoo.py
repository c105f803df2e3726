"""plain against fp32 on real photographs: networks of every kind in the zoo, in every form."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from calib.photographs import degraded_pair
from calib.raw_photographs import noisy_pair
from deploy.artifact import Artifact
from deploy.commands.stages import model_spec
from deploy.export import export
from deploy.fidelity import Probe, tiles
from deploy.inference import open_run
from deploy.pipeline import PackedRaw
from deploy.prepare import MAX_ERROR, prepare
from deploy.rewrites.forms import choices, chosen
from deploy.spec import ModelSpec

pytestmark = pytest.mark.slow

SIDE_PX = 64
ISO = 1600.0
FORMS = ("layernorm", "shuffle", "gate", "attention", "ends")
NETWORKS = {
    "pmrid": {"transposed_convolution", "pixel_shuffle", "ends"},
    "pmrid-raw": {"transposed_convolution", "pixel_shuffle", "row_convolution"},
    "mofa-3-downsampling": {"ends"},
    "nafnet-mofa": {"layer_norm", "gate", "attention", "ends"},
    "nafnet-16-18-sa-normalization": {"layer_norm", "gate", "attention", "pixel_shuffle", "ends"},
    "nafnet-tiny, local": {"layer_norm", "gate", "pixel_shuffle", "ends"},
    "nafnet-tiny, no LayerNorm": {"gate", "attention", "pixel_shuffle", "ends"},
}


def spec_of(network: str) -> ModelSpec:
    name, *converted = network.split(", ")
    shape = (1, 4 if name == "pmrid-raw" else 3, SIDE_PX, SIDE_PX)
    local = "local" in converted
    return model_spec(
        name,
        None,
        shape,
        local=local,
        local_train_px=32 if local else None,
        no_layernorm="no LayerNorm" in converted,
    )


def alive(factory: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Give a factory that draws what starts at 0: NAFNet's scales, which would hide all else."""

    def make() -> nn.Module:
        network = factory()
        for parameter in network.parameters():
            if not parameter.any() or (parameter == 1).all():
                torch.nn.init.normal_(parameter, std=0.3)
        return network

    return make


def probe_of(spec: ModelSpec) -> Probe:
    pipeline = spec.pipeline
    if isinstance(pipeline, PackedRaw):
        image = noisy_pair("chelsea", ISO, 0, pipeline.pattern, pipeline.sensor)[0]
        pipeline = replace(pipeline, iso=ISO)
    else:
        image = degraded_pair("chelsea", 0)[0]
    return Probe("chelsea", tiles(image, (SIDE_PX, SIDE_PX), pipeline)[:4], pipeline=pipeline)


def exported(network: str, folder: Path) -> tuple[Artifact, Probe]:
    spec = spec_of(network)
    if spec.checkpoint is None:
        spec = replace(spec, factory=alive(spec.factory))
    probe = probe_of(spec)
    return export(spec, folder, probe)[0], probe


def assert_prepared(fp32: Artifact) -> None:
    assert fp32.fidelity["max_error_vs_plain"] <= MAX_ERROR
    assert [step["undone"] for step in fp32.fidelity["rewrites"] if step["undone"]] == []


@pytest.mark.parametrize("network", NETWORKS)
def test_a_prepared_network_gives_the_output_of_the_plain_one(network, tmp_path):
    plain, probe = exported(network, tmp_path)
    outputs = probe.outputs(open_run(plain.path))
    assert max(abs(output).max() for output in outputs) > 0.01 * probe.peak
    fp32, _ = prepare(plain, tmp_path, probe)
    assert_prepared(fp32)
    applied = {step["name"] for step in fp32.fidelity["rewrites"] if step["applied"]}
    assert NETWORKS[network] <= applied


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Probe]:
    return exported("nafnet-tiny", tmp_path_factory.mktemp("demo"))


@pytest.mark.parametrize(
    ("name", "form"), [(name, form) for name in FORMS for form in choices(name).split("|")]
)
def test_the_demo_network_gives_its_output_in_every_form(demo, name, form, tmp_path):
    plain, probe = demo
    others = dict.fromkeys(FORMS, "keep") | {name: form}
    fp32, _ = prepare(
        plain, tmp_path, replace(probe, crops=probe.crops[:2]), forms=chosen(**others)
    )
    assert_prepared(fp32)


def test_the_same_graph_comes_out_twice(demo, tmp_path):
    plain, probe = demo
    first, _ = prepare(plain, tmp_path / "first", probe)
    second, _ = prepare(plain, tmp_path / "second", probe)
    assert first.sha256 == second.sha256


def test_normalizations_of_the_demo_network_are_chosen_by_width(demo, tmp_path):
    plain, probe = demo
    fp32, _ = prepare(plain, tmp_path, probe)
    found = Counter(node.op_type for node in onnx.load(fp32.path).graph.node)
    # widths 16 and 32 on both sides, 64 on both sides and 128 in the middle; two to a block
    assert (found["LpNormalization"], found["LayerNormalization"]) == (8, 6)
