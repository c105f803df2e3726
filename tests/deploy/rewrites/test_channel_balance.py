"""Whatever is scaled, the graph computes the same, and 8 bits waste less of their range."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import assert_same_output, drawn, run, small_graph

from deploy.channel_balance import balance_channels, typical_limits
from deploy.channel_scales import read_scales
from deploy.inference import open_session

SIDE = 6
IMAGE = drawn(1, 3, SIDE, SIDE)


def limits_of(model: ir.Model, image: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Give the limits of every tensor of rank 4 that a node makes."""
    exposed = ir.to_proto(model)
    values = [value for node in model.graph for value in node.outputs]
    names = [value.name for value in values if value.shape is not None and len(value.shape) == 4]
    del exposed.graph.output[:]
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = open_session(exposed.SerializeToString(), level="disable")
    arrays = session.run(names, {exposed.graph.input[0].name: image})
    axes = (0, 2, 3)
    found = zip(names, arrays, strict=True)
    return {str(name): (one.min(axes), one.max(axes)) for name, one in found}


def uneven(*shape: int, seed: int = 0) -> np.ndarray:
    """Give weights whose output channels differ by up to 100 times."""
    sizes = np.geomspace(0.05, 5, shape[0]).astype(np.float32)
    return drawn(*shape, seed=seed) * sizes.reshape(-1, *[1] * (len(shape) - 1))


def pair(between: str = "Relu", seed: int = 0) -> ir.Model:
    """Give a convolution, something between, and a padded convolution that alone reads it."""
    return small_graph(
        f"""g (float[1,3,{SIDE},{SIDE}] x) => (float[1,2,{SIDE},{SIDE}] y) {{
            a = Conv <pads = [1,1,1,1]> (x, w0, b0)
            r = {between} (a)
            y = Conv <pads = [1,1,1,1]> (r, w1, b1)
        }}""",
        w0=uneven(4, 3, 3, 3, seed=seed),
        b0=drawn(4, seed=seed),
        w1=drawn(2, 4, 3, 3, seed=seed),
        b1=drawn(2, seed=seed),
    )


def gate() -> ir.Model:
    """Give a depthwise convolution, its halves' product, attention on it, and what reads that."""
    return small_graph(
        f"""g (float[1,3,{SIDE},{SIDE}] x) => (float[1,3,{SIDE},{SIDE}] y) {{
            a = Conv (x, w0, b0)
            d = Conv <group = 8, pads = [1,1,1,1]> (a, w1, b1)
            p, q = Split <axis = 1> (d, halves)
            m = Mul (p, q)
            pool = GlobalAveragePool (m)
            f = Conv (pool, w2, b2)
            n = Mul (m, f)
            y = Conv (n, w3, b3)
        }}""",
        halves=np.array([4, 4], np.int64),
        w0=uneven(8, 3, 1, 1),
        b0=drawn(8),
        w1=uneven(8, 1, 3, 3, seed=1),
        b1=drawn(8, seed=1),
        w2=drawn(4, 4, 1, 1),
        b2=drawn(4),
        w3=drawn(3, 4, 1, 1),
        b3=drawn(3),
    )


def residual_stream() -> ir.Model:
    """Give two sums on one stream, an added constant among them, and two readers of it."""
    return small_graph(
        f"""g (float[1,3,{SIDE},{SIDE}] x) => (float[1,2,{SIDE},{SIDE}] y) {{
            s0 = Conv (x, w0, b0)
            c0 = Conv (s0, w1, b1)
            s1 = Add (s0, c0)
            s2 = Add (s1, k)
            u = Conv (s2, w2)
            v = Conv (s2, w3)
            y = Add (u, v)
        }}""",
        w0=uneven(4, 3, 1, 1),
        b0=drawn(4),
        w1=uneven(4, 4, 1, 1, seed=2),
        b1=drawn(4, seed=2),
        k=drawn(1, 4, 1, 1),
        w2=drawn(2, 4, 1, 1),
        w3=drawn(2, 4, 1, 1, seed=3),
    )


def shuffle() -> ir.Model:
    """Give a pixel shuffle in channels-last order, as Transpose and Reshape."""
    side = 2 * SIDE
    return small_graph(
        f"""g (float[1,3,{SIDE},{SIDE}] x) => (float[1,3,{side},{side}] y) {{
            a = Conv (x, w0, b0)
            t = Transpose <perm = [0,2,3,1]> (a)
            r = Reshape (t, parts)
            s = Transpose <perm = [0,1,3,2,4]> (r)
            l = Reshape (s, pixels)
            f = Transpose <perm = [0,3,1,2]> (l)
            y = Conv (f, w1)
        }}""",
        parts=np.array([SIDE, SIDE, 2, 2, 4], np.int64),
        pixels=np.array([1, side, side, 4], np.int64),
        w0=uneven(16, 3, 1, 1),
        b0=drawn(16),
        w1=drawn(3, 4, 1, 1),
    )


def upsampling() -> ir.Model:
    """Give a ConvTranspose in groups, a concatenation and a slice."""
    side = 2 * SIDE
    return small_graph(
        f"""g (float[1,3,{SIDE},{SIDE}] x) => (float[1,2,{side},{side}] y) {{
            a = Conv (x, w0)
            u = ConvTranspose <group = 2, strides = [2,2]> (a, w1, b1)
            c = Concat <axis = 1> (u, u)
            z = Slice (c, start, end, axis)
            y = Conv (z, w2)
        }}""",
        start=np.array([1], np.int64),
        end=np.array([7], np.int64),
        axis=np.array([1], np.int64),
        w0=uneven(4, 3, 1, 1),
        w1=drawn(4, 3, 2, 2),
        b1=drawn(6),
        w2=drawn(2, 6, 1, 1),
    )


def normalization() -> ir.Model:
    """Give a LayerNormalization between two transposes, a bound, a pool and DepthToSpace."""
    return small_graph(
        f"""g (float[1,3,{SIDE},{SIDE}] x) => (float[1,2,{SIDE},{SIDE}] y) {{
            a = Conv (x, w0, b0)
            t = Transpose <perm = [0,2,3,1]> (a)
            n = LayerNormalization <axis = -1> (t, scale, shift)
            f = Transpose <perm = [0,3,1,2]> (n)
            c = Conv (f, w1, b1)
            m = Max (c, k)
            p = MaxPool <kernel_shape = [2,2], strides = [2,2]> (m)
            d = DepthToSpace <blocksize = 2, mode = "CRD"> (p)
            y = Conv (d, w2)
        }}""",
        w0=uneven(4, 3, 1, 1),
        b0=drawn(4),
        scale=uneven(4),
        shift=drawn(4),
        w1=uneven(8, 4, 1, 1, seed=1),
        b1=drawn(8),
        k=drawn(1, 8, 1, 1),
        w2=drawn(2, 2, 1, 1),
    )


GRAPHS = {
    "normalization": normalization,
    "pair": pair,
    "gate": gate,
    "residual stream": residual_stream,
    "shuffle": shuffle,
    "upsampling": upsampling,
}


def balanced(model: ir.Model, limits: dict | None = None) -> ir.Model:
    copy = model.clone()
    assert balance_channels(copy, limits or limits_of(model, IMAGE)).applied
    return copy


def wasted(model: ir.Model) -> float:
    """Give how much wider tensors are than their channels, in the mean of logarithms."""
    shares = []
    for least, greatest in limits_of(model, IMAGE).values():
        reach = np.maximum(greatest, 0) - np.minimum(least, 0)
        if reach.max() > 0 and len(reach) > 1:
            shares.append(np.log(reach.max() / np.maximum(reach, 1e-3 * reach.max())).mean())
    return float(np.mean(shares))


@pytest.mark.parametrize("name", GRAPHS)
def test_the_output_is_the_same(name):
    model = GRAPHS[name]()
    assert_same_output(model, balanced(model), IMAGE)


@pytest.mark.parametrize("name", GRAPHS)
def test_tensors_are_filled_better(name):
    model = GRAPHS[name]()
    assert wasted(balanced(model)) < wasted(model)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), sizes=st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4))
def test_the_output_is_the_same_for_any_weights_and_any_limits(seed, sizes):
    model = pair(seed=seed)
    greatest = np.array(sizes, np.float32)
    copy = model.clone()
    balance_channels(copy, {"a": (-greatest, greatest), "r": (0 * greatest, greatest)})
    assert_same_output(model, copy, drawn(1, 3, SIDE, SIDE, seed=seed))


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.floats(0.05, 1), min_size=4, max_size=4))
def test_where_only_two_convolutions_meet_noise_is_near_the_least_there_can_be(sizes):
    model = pair()
    greatest = np.array(sizes, np.float32)
    copy = model.clone()
    balance_channels(copy, {"r": (0 * greatest, greatest)})
    before, after = (limits_of(one, IMAGE)["a"][1] for one in (model, copy))
    divisors = before / after
    noise = (divisors**2).mean() * (greatest / divisors).max() ** 2
    least = (greatest**2).mean()  # no channel can do better than to fill all 8 bits
    assert noise < 1.2 * least


def test_names_and_shapes_stay():
    model = gate()
    copy = balanced(model)
    assert [node.name for node in copy.graph] == [node.name for node in model.graph]
    values = [[v.name for node in one.graph for v in node.outputs] for one in (model, copy)]
    assert values[0] == values[1]


def test_the_same_limits_give_the_same_bytes():
    model = gate()
    made = [ir.to_proto(balanced(model)).SerializeToString(deterministic=True) for _ in range(2)]
    assert made[0] == made[1]


def test_what_a_sigmoid_reads_keeps_its_scale():
    model = pair("Sigmoid")
    copy = model.clone()
    outcome = balance_channels(copy, limits_of(model, IMAGE))
    assert outcome.applied == []
    assert_same_output(model, copy, IMAGE)


def test_the_input_and_the_output_keep_their_scale():
    scales = read_scales(gate())
    free = np.diff(scales.basis.indptr) > 0
    first, last = scales.linears[0], scales.linears[-1]
    assert not free[first.inputs].any()
    assert not free[last.outputs].any()
    assert free[first.outputs].all()


def test_weights_that_others_share_stay_for_them():
    model = small_graph(
        f"""g (float[1,3,{SIDE},{SIDE}] x) => (float[1,3,{SIDE},{SIDE}] y) {{
            a = Conv (x, w)
            r = Relu (a)
            b = Conv (r, w)
            s = Sigmoid (b)
            y = Conv (s, w)
        }}""",
        w=uneven(3, 3, 1, 1),
    )
    assert_same_output(model, balanced(model), IMAGE)


def test_a_channel_that_hardly_lives_is_not_blown_up():
    model = pair()
    greatest = np.array([1, 1, 1e-9, 0], np.float32)
    copy = model.clone()
    balance_channels(copy, {"r": (0 * greatest, greatest)})
    before, after = (limits_of(one, IMAGE)["a"][1] for one in (model, copy))
    assert (before / after).min() / (before / after).max() > 1 / 80


def test_a_graph_inside_a_node_may_read_anything_so_all_keeps_its_scale():
    model = pair()
    branch = ir.Graph([], [], nodes=[], name="branch")
    node = ir.node("If", [model.graph.inputs[0]], {"then_branch": branch, "else_branch": branch})
    node.outputs[0].name = "z"
    model.graph.append(node)
    assert read_scales(model).basis[1:].nnz < read_scales(pair()).basis.nnz + 1
    labels = read_scales(model).of_channels(model.graph[1].outputs[0])
    assert labels is not None
    assert read_scales(model).basis[labels].nnz == 0


def test_nothing_is_scaled_without_limits():
    model = pair()
    assert balance_channels(model, {}).applied == []


def test_outliers_do_not_widen_typical_limits():
    model = pair()
    rng = np.random.default_rng(0)
    quiet = rng.normal(size=IMAGE.shape).astype(np.float32)
    loud = quiet.copy()
    loud[0, :, 2, 2] = 1000
    limits = limits_of(model, loud)
    narrowed = typical_limits(ir.to_proto(model), [quiet] * 40 + [loud], limits)
    for name, (least, greatest) in narrowed.items():
        assert (least >= limits[name][0]).all()
        assert (greatest <= limits[name][1]).all()
    assert narrowed["a"][1].max() < 0.5 * limits["a"][1].max()


def test_typical_limits_leave_the_graph_as_it_is():
    proto = ir.to_proto(gate())
    before = proto.SerializeToString(deterministic=True)
    typical_limits(proto, [IMAGE], limits_of(gate(), IMAGE))
    assert proto.SerializeToString(deterministic=True) == before
    assert run(gate(), IMAGE).shape == (1, 3, SIDE, SIDE)
