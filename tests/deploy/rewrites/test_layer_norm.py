import io
import re
from functools import partial

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import (
    assert_same_output,
    assert_untouched,
    drawn,
    ops,
    rewritten,
    run,
    small_graph,
)
from torch import nn

from deploy.prepare import readable
from deploy.rewrites.layer_norm import LP_CHANNELS, use_layer_norm
from deploy.rewrites.layer_norm_forms import MAX_OFFSET
from deploy.zoo.nafnet import LayerNorm2d

FORMS = ("lp", "fused", "folded")
SQUARES = {"by a power": "q = Pow (c, two)", "by a product": "q = Mul (c, c)"}
QUOTIENTS = {
    "over a root": "d = Sqrt (s)\nn = Div (c, d)",
    "over a power": "d = Pow (s, half)\nn = Div (c, d)",
    "times a reciprocal": "d = Sqrt (s)\ni = Reciprocal (d)\nn = Mul (c, i)",
    "times one over": "d = Sqrt (s)\ni = Div (one, d)\nn = Mul (i, c)",
    "times a power": "i = Pow (s, minus)\nn = Mul (c, i)",
}
SCALARS = {"two": 2.0, "half": 0.5, "one": 1.0, "minus": -0.5}


def normalized(
    value: str = "x",
    axis: int = 1,
    *,
    square: str = "by a power",
    quotient: str = "over a root",
    affine: bool = True,
    axes_as_input: bool = True,
) -> str:
    """Write a normalization of a value, from its mean to its bias; its result is called z."""
    axes, given = ("", ", axis") if axes_as_input else (f", axes = [{axis}]", "")
    return f"""
        {f"axis = Constant <value_ints = [{axis}]> ()" if axes_as_input else ""}
        m = ReduceMean <keepdims = 1{axes}> ({value}{given})
        c = Sub ({value}, m)
        {SQUARES[square]}
        v = ReduceMean <keepdims = 1{axes}> (q{given})
        s = Add (v, eps)
        {QUOTIENTS[quotient]}
        {"w = Mul (gamma, n)" if affine else "w = Identity (n)"}
        {"z = Add (w, beta)" if affine else "z = Identity (w)"}
    """


def layered(
    body: str,
    *,
    channels: int = 8,
    eps: float = 1e-2,
    affine_shape: tuple[int, ...] = (-1, 1, 1),
    reader: str = "y = Conv (z, after)",
    before: str = "x = Conv (image, before)",
    opset: int = 18,
    seed: int = 0,
) -> ir.Model:
    """Give a graph of a convolution, a normalization, and a convolution."""
    arrays = {
        "gamma": drawn(channels, seed=seed).reshape(affine_shape),
        "beta": drawn(channels, seed=seed + 1).reshape(affine_shape),
        "before": drawn(channels, 3, 1, 1, seed=seed),
        "after": drawn(5, channels, 1, 1, seed=seed),
        "kernel": drawn(5, channels, 3, 3, seed=seed),
        "halves": drawn(4, channels // 2, 1, 1, seed=seed),
        "eps": np.array(eps),
        **{name: np.array(value) for name, value in SCALARS.items()},
    }
    text = f"g (float[1,3,4,6] image) => (float[n,c,h,w] y) {{\n{before}\n{body}\n{reader}\n}}"
    arrays = {name: array for name, array in arrays.items() if name in text}
    return small_graph(text, opset, **arrays)


def use(form: str):
    return partial(use_layer_norm, form=form, crops=[image()])


def image(seed: int = 5) -> np.ndarray:
    return drawn(1, 3, 4, 6, seed=seed)


def assert_rewritten(model: ir.Model, form: str) -> ir.Model:
    copy, outcome = rewritten(model, use(form))
    assert len(outcome.applied) == 1
    assert list(outcome.forms.values()) == [form]
    assert not {"ReduceMean", "Div", "Pow"} & set(ops(copy))
    assert_same_output(model, copy, image())
    return copy


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize("quotient", QUOTIENTS)
def test_each_way_to_write_it_out_is_found(square, quotient, form):
    assert_rewritten(layered(normalized(square=square, quotient=quotient)), form)


@pytest.mark.parametrize("form", FORMS)
def test_axes_written_as_attributes_are_read(form):
    assert_rewritten(layered(normalized(axes_as_input=False), opset=17), form)


TO_LAST = "l = Transpose <perm = [0, 2, 3, 1]> (x)"
TO_FIRST = "a = Transpose <perm = [0, 3, 1, 2]> (z)"
TOKENS = f"""{TO_LAST}
    flat = Constant <value_ints = [1, 24, 8]> ()
    t = Reshape (l, flat)"""
FROM_TOKENS = """square = Constant <value_ints = [1, 4, 6, 8]> ()
    b = Reshape (z, square)
    a = Transpose <perm = [0, 3, 1, 2]> (b)"""
FLAT = """flat = Constant <value_ints = [1, 8, 24]> ()
    k = Reshape (x, flat)
    t = Transpose <perm = [0, 2, 1]> (k)"""
FROM_FLAT = """square = Constant <value_ints = [1, 8, 4, 6]> ()
    b = Transpose <perm = [0, 2, 1]> (z)
    a = Reshape (b, square)"""
ONE_NODE = "z = LayerNormalization <axis = -1, epsilon = 0.01> ({}, gamma, beta)"
LAYOUTS = {
    "written out": f"{TO_LAST}\n{normalized('l', -1)}\n{TO_FIRST}",
    "one node": f"{TO_LAST}\n{ONE_NODE.format('l')}\n{TO_FIRST}",
    "tokens": f"{TOKENS}\n{normalized('t', -1)}\n{FROM_TOKENS}",
    "tokens, one node": f"{TOKENS}\n{ONE_NODE.format('t')}\n{FROM_TOKENS}",
    "rows": f"{FLAT}\n{normalized('t', 2)}\n{FROM_FLAT}",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("body", LAYOUTS.values(), ids=LAYOUTS)
def test_it_is_found_between_changes_of_layout(body, form):
    model = layered(body, affine_shape=(-1,), reader="y = Conv (a, after)")
    copy = assert_rewritten(model, form)
    assert ops(copy)["Transpose"] == (0 if form == "folded" else 2)
    assert ops(copy)["Reshape"] == 0


@pytest.mark.parametrize(
    ("form", "kinds"),
    [
        ("lp", {"Conv": 3, "Transpose": 2, "LpNormalization": 1}),
        ("fused", {"Conv": 2, "Transpose": 2, "LayerNormalization": 1}),
    ],
)
def test_the_affine_goes_into_the_convolution_after_it(form, kinds):
    assert ops(assert_rewritten(layered(normalized()), form)) == kinds


def test_folded_needs_one_full_product_and_no_centering():
    found = ops(assert_rewritten(layered(normalized()), "folded"))
    assert found["Conv"] == 4  # before, after, and the two means of one channel
    assert found["Mul"] == 3  # x x, mean mean, x r


@pytest.mark.parametrize("form", FORMS)
def test_open_sizes_stay_open(form):
    text = "g (float[n,3,rows,columns] image) => (float[m,c,h,w] y) {\nx = Conv (image, before)\n"
    model = small_graph(
        f"{text}{normalized()}\ny = Conv (z, after)\n}}",
        gamma=drawn(8, 1, 1),
        beta=drawn(8, 1, 1, seed=1),
        before=drawn(8, 3, 1, 1),
        after=drawn(5, 8, 1, 1),
        eps=np.array(1e-2),
        two=np.array(2.0),
    )
    copy, outcome = rewritten(model, use(form))
    assert len(outcome.applied) == 1
    assert_same_output(model, copy, image())
    assert run(copy, drawn(2, 3, 7, 9)).shape == (2, 5, 7, 9)


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 17),
    eps=st.sampled_from([1e-12, 1e-6, 1e-2, 10.0]),
    form=st.sampled_from(FORMS),
    affine=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_the_algebra_holds_for_any_weights_channels_and_eps(channels, eps, form, affine, seed):
    body = normalized(affine=affine)
    model = layered(body, channels=channels, eps=eps, seed=seed)
    if channels == 1:  # all is eps, and float32 leaves nothing of it
        model = layered(body, channels=1, eps=1.0, seed=seed)
    copy, outcome = rewritten(model, use(form))
    assert len(outcome.applied) == 1
    # two channels nearly alike lose digits to their mean, in all forms
    worst = np.abs(run(model, image()) - run(copy, image())).max()
    assert worst <= 2e-4 * max(1.0, np.abs(run(model, image())).max())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("offset", [0.0, 1.0, 100.0])
def test_a_flat_pixel_gives_the_bias_and_no_nan(form, offset):
    text = f"g (float[1,8,4,6] x) => (float[n,c,h,w] y) {{\n{normalized()}\ny = Conv (z, after)\n}}"
    arrays = {"gamma": drawn(8, 1, 1), "beta": drawn(8, 1, 1), "after": drawn(5, 8, 1, 1)}
    model = small_graph(text, eps=np.array(1e-6), two=np.array(2.0), **arrays)
    flat = np.full((1, 8, 4, 6), offset, np.float32)
    copy, _ = rewritten(model, partial(use_layer_norm, form=form, crops=[drawn(1, 8, 4, 6)]))
    expected = np.einsum("oc,c->o", arrays["after"][..., 0, 0], arrays["beta"].reshape(-1))
    np.testing.assert_allclose(run(copy, flat)[0, :, 0, 0], expected, atol=0.05)


def test_a_variance_that_float32_would_cancel_is_taken_of_centered_values():
    text = f"g (float[1,8,4,6] x) => (float[n,c,h,w] y) {{\n{normalized()}\ny = Conv (z, after)\n}}"
    arrays = {"gamma": drawn(8, 1, 1), "beta": drawn(8, 1, 1), "after": drawn(5, 8, 1, 1)}
    model = small_graph(text, eps=np.array(1e-6), two=np.array(2.0), **arrays)
    far = drawn(1, 8, 4, 6) + np.float32(3 * MAX_OFFSET**0.5)
    copy, _ = rewritten(model, partial(use_layer_norm, form="folded", crops=[far]))
    assert ops(copy)["Mul"] == 2  # of the centered values and the inverse root: no mean^2
    assert_same_output(model, copy, far - np.float32(3 * MAX_OFFSET**0.5))
    np.testing.assert_allclose(run(copy, far), run(model, far), atol=2e-3)


def test_it_takes_lp_for_few_channels_and_one_kernel_for_many():
    for channels, form in ((LP_CHANNELS, "lp"), (LP_CHANNELS + 1, "fused")):
        _, outcome = rewritten(layered(normalized(), channels=channels), use("auto"))
        assert list(outcome.forms.values()) == [form]


READERS = {
    "no convolution": "r = Relu (z)\ny = Conv (r, after)",
    "a padding one": "y = Conv <pads = [1, 1, 1, 1]> (z, kernel)",
    "one of groups": "y = Conv <group = 2> (z, halves)",
    "a graph output too": "y = Identity (z)\nu = Conv (z, after)",
    "another one too": "u = Conv (z, after)\nk = ReduceMax (z)\ny = Add (u, k)",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_what_cannot_take_the_affine_gets_it_as_it_was(reader, form):
    model = layered(normalized(), reader=reader)
    copy, outcome = rewritten(model, use(form))
    assert len(outcome.applied) == 1
    assert_same_output(model, copy, image())


@pytest.mark.parametrize(
    ("reader", "reason"),
    [
        ("no convolution", "Relu node_.* reads it, no convolution"),
        ("a padding one", "pads with zeros"),
        ("one of groups", "has groups"),
    ],
)
def test_where_nothing_takes_the_centering_folded_becomes_one_kernel(reader, reason):
    _, outcome = rewritten(layered(normalized(), reader=READERS[reader]), use("folded"))
    (said,) = outcome.forms.values()
    assert said.startswith("fused; not folded: ")
    assert re.search(reason, said)


def test_a_kernel_without_padding_takes_the_affine_too():
    model = layered(normalized(), reader="y = Conv (z, kernel)")
    assert ops(assert_rewritten(model, "lp"))["Conv"] == 3


def test_all_convolutions_that_read_it_take_the_affine():
    reader = "one_ = Conv (z, after)\ntwo_ = Conv (z, after)\ny = Mul (one_, two_)"
    copy = assert_rewritten(layered(normalized(), reader=reader), "fused")
    assert ops(copy)["Conv"] == 3


def test_the_bias_is_left_out_where_the_product_with_the_weight_is_read_again():
    model = layered(normalized(), reader="t = Mul (z, w)\ny = Conv (t, after)")
    copy, outcome = rewritten(model, use("fused"))
    assert len(outcome.applied) == 1
    assert ops(copy)["Add"] == 1
    assert_same_output(model, copy, image())


def test_an_older_opset_without_the_operator_gets_another_form():
    copy, outcome = rewritten(layered(normalized(axes_as_input=False), opset=13), use("fused"))
    assert list(outcome.forms.values()) == ["lp; not fused: the operator needs opset 17, not 13"]
    assert ops(copy)["LpNormalization"] == 1


def test_a_kernel_with_nothing_to_take_out_of_it_is_left_alone():
    body = f"{TO_LAST}\n{ONE_NODE.format('l')}\n{TO_FIRST}"
    reader = "r = Relu (a)\ny = Conv (r, after)"
    model = layered(body, affine_shape=(-1,), reader=reader)
    outcome = assert_untouched(model, use("fused"))
    assert list(outcome.skipped.values()) == ["it is fused already"]


def test_it_can_be_kept():
    assert assert_untouched(layered(normalized()), use("keep")).skipped == {}


@pytest.mark.parametrize(
    "body",
    [
        normalized(axis=3),
        normalized().replace("Pow (c, two)", "Pow (c, half)"),
        normalized().replace("q = Pow (c, two)", "q = Mul (c, x)"),
        normalized().replace("c = Sub (x, m)", "c = Sub (m, x)"),
        normalized().replace("ReduceMean <keepdims = 1> (q", "ReduceSum <keepdims = 1> (q"),
        normalized().replace("Add (v, eps)", "Add (v, m)"),
        normalized().replace("ReduceMean <keepdims = 1> (x, axis", "ReduceMean (x, both"),
        f"{TO_LAST}\n{normalized('l', 2)}\n{TO_FIRST}",
    ],
    ids=[
        "over the width",
        "a root of the variance",
        "no variance",
        "mean minus value",
        "sum of squares",
        "no eps",
        "two axes",
        "over the width, channels last",
    ],
)
def test_what_only_looks_like_it_is_left_alone(body):
    both = "both = Constant <value_ints = [1, 2]> ()\n" if "both" in body else ""
    reader = "y = Conv (a, after)" if "perm" in body else "y = Conv (z, after)"
    assert_untouched(layered(both + body, reader=reader), use("lp"))


def test_tokens_that_stay_tokens_are_named():
    body = f"{TOKENS}\n{ONE_NODE.format('t')}"
    reader = "p = Transpose <perm = [0, 2, 1]> (z)\nr = Relu (p)\ny = Reshape (r, back)"
    back = "back = Constant <value_ints = [1, 8, 4, 6]> ()\n"
    model = layered(back + body, affine_shape=(-1,), reader=reader)
    outcome = assert_untouched(model, use("fused"))
    assert "does not go back to (N, C, H, W)" in next(iter(outcome.skipped.values()))


class PublicLayerNorm(nn.Module):
    """The order of operations in the public NAFNet code: the mean is subtracted twice."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6))
        self.bias = nn.Parameter(torch.randn(6))

    def forward(self, x):
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        y = (x - mean) / (variance + 1e-6).sqrt()
        return self.weight.view(1, -1, 1, 1) * y + self.bias.view(1, -1, 1, 1)


class PermutedLayerNorm(nn.Module):
    """torch's own, over the last axis, as ConvNeXt uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(6)
        nn.init.normal_(self.norm.weight)

    def forward(self, x):
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def exported(module: nn.Module, *, dynamo: bool) -> ir.Model:
    """Give what one of torch's two exporters makes of a normalization and a convolution."""
    torch.manual_seed(0)
    network = nn.Sequential(module, nn.Conv2d(6, 4, 1)).eval()
    example = torch.rand(1, 6, 4, 6)
    if dynamo:
        return readable(torch.onnx.export(network, (example,), dynamo=True).model_proto)
    file = io.BytesIO()
    torch.onnx.export(network, (example,), file, dynamo=False, opset_version=16)
    return readable(onnx.load_from_string(file.getvalue()))


@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "TorchScript"])
@pytest.mark.parametrize("module", [LayerNorm2d, PublicLayerNorm, PermutedLayerNorm])
@pytest.mark.filterwarnings("ignore")
def test_it_is_found_in_what_torch_writes(module, dynamo):
    model = exported(module(6) if module is LayerNorm2d else module(), dynamo=dynamo)
    copy, outcome = rewritten(model, partial(use_layer_norm, form="lp"))
    assert len(outcome.applied) == 1
    assert_same_output(model, copy, drawn(1, 6, 4, 6))
