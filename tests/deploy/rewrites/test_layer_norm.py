from functools import cache

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from deploy.inference import open_run
from deploy.rewrites.layer_norm import use_fused_layer_norm
from deploy.zoo.nafnet import LayerNorm2d


class PublicLayerNorm(nn.Module):
    """The order of operations in the public NAFNet code: the mean is subtracted twice."""

    def __init__(self, channels, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels))
        self.bias = nn.Parameter(torch.randn(channels))
        self.eps = eps

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = ((x - mean) * (x - mean)).mean(1, keepdim=True)
        y = (x - mean) / torch.sqrt(variance + self.eps)
        return self.weight.view(1, -1, 1, 1) * y + self.bias.view(1, -1, 1, 1)


class WithoutAffine(nn.Module):
    def forward(self, x):
        centered = x - x.mean(1, keepdim=True)
        return centered / (centered.pow(2).mean(1, keepdim=True) + 1e-5).sqrt()


class OverWidth(nn.Module):
    """Looks like a LayerNorm, but normalizes over another axis."""

    def forward(self, x):
        centered = x - x.mean(3, keepdim=True)
        return centered / (centered.pow(2).mean(3, keepdim=True) + 1e-5).sqrt()


class CubedVariance(nn.Module):
    def forward(self, x):
        centered = x - x.mean(1, keepdim=True)
        return centered / (centered.pow(4).mean(1, keepdim=True) + 1e-5).sqrt()


class NormUsedTwice(nn.Module):
    """The product with the weight is read twice, so the bias cannot go into the fused node."""

    def __init__(self):
        super().__init__()
        self.norm = WithoutAffine()

    def forward(self, x):
        scaled = self.norm(x) * 2
        return (scaled + 1) * scaled


def to_ir(module: nn.Module, shape: tuple[int, ...]) -> ir.Model:
    program = torch.onnx.export(
        module.eval(), (torch.rand(shape),), dynamo=True, opset_version=18, verbose=False
    )
    return program.model


def run(model: ir.Model, x: np.ndarray) -> np.ndarray:
    return open_run(ir.to_proto(model).SerializeToString())(x)


def count(model: ir.Model, op_type: str) -> int:
    return sum(node.op_type == op_type for node in model.graph)


@pytest.mark.parametrize(
    "module", [LayerNorm2d(6), PublicLayerNorm(6, 1e-6), PublicLayerNorm(6, 1e-3), WithoutAffine()]
)
def test_each_way_to_write_it_becomes_one_node_with_the_same_output(module):
    if isinstance(module, LayerNorm2d):
        nn.init.normal_(module.weight)
        nn.init.normal_(module.bias)
    model = to_ir(module, (1, 6, 5, 7))
    x = np.random.default_rng(0).normal(size=(1, 6, 5, 7)).astype(np.float32)
    before = run(model, x)
    assert len(use_fused_layer_norm(model).applied) == 1
    assert count(model, "LayerNormalization") == 1
    np.testing.assert_allclose(run(model, x), before, atol=1e-5)


@cache
def normalizations() -> tuple[ir.Model, ir.Model]:
    """The written-out and the fused form, built once: hypothesis asks for many inputs."""
    written_out = to_ir(PublicLayerNorm(4, 1e-6), (1, 4, 3, 3))
    fused = ir.from_proto(ir.to_proto(written_out))
    assert len(use_fused_layer_norm(fused).applied) == 1
    return written_out, fused


@settings(max_examples=30, deadline=None)
@given(scale=st.floats(1e-3, 1e3), offset=st.floats(-100, 100), seed=st.integers(0, 2**31))
def test_it_holds_for_any_scale_and_offset(scale, offset, seed):
    written_out, fused = normalizations()
    x = np.random.default_rng(seed).normal(offset, scale, (1, 4, 3, 3)).astype(np.float32)
    # both lose digits where the offset dwarfs the spread: the bound is what float32 leaves
    lost = 1 + abs(offset) / scale
    np.testing.assert_allclose(run(fused, x), run(written_out, x), atol=2e-5 * lost**2)


@pytest.mark.parametrize("module", [OverWidth(), CubedVariance()])
def test_what_only_looks_like_it_is_left_alone(module):
    model = to_ir(module, (1, 6, 6, 6))
    assert len(use_fused_layer_norm(model).applied) == 0
    assert count(model, "LayerNormalization") == 0


def test_an_affine_that_others_read_too_stays_outside():
    model = to_ir(NormUsedTwice(), (1, 6, 5, 7))
    x = np.random.default_rng(0).normal(size=(1, 6, 5, 7)).astype(np.float32)
    before = run(model, x)
    assert len(use_fused_layer_norm(model).applied) == 1
    np.testing.assert_allclose(run(model, x), before, atol=1e-5)


def test_a_graph_of_an_opset_without_the_operator_is_left_alone():
    model = to_ir(WithoutAffine(), (1, 6, 5, 7))
    model.opset_imports[""] = 16
    assert len(use_fused_layer_norm(model).applied) == 0
