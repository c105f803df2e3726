import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import assert_same_output, assert_untouched, drawn, ops, rewritten, small_graph

from deploy.rewrites.pads import use_conv_pads

sides = st.tuples(*[st.integers(0, 2)] * 4)  # top, left, bottom, right


def ints(name: str, values: object) -> str:
    return f"{name} = Constant <value_ints = {list(values)}> ()"


def padded_conv(
    extra: tuple[int, ...], own: tuple[int, ...] = (1, 1, 1, 1), stride: int = 1
) -> ir.Model:
    top, left, bottom, right = extra
    return small_graph(
        f"""g (float[1,2,5,6] x) => (float[1,3,h,w] y) {{
            {ints("extra", (0, 0, top, left, 0, 0, bottom, right))}
            p = Pad (x, extra)
            y = Conv <pads = {list(own)}, strides = [{stride}, {stride}]> (p, w, b)
        }}""",
        w=drawn(3, 2, 3, 3),
        b=drawn(3),
    )


@settings(max_examples=25, deadline=None)
@given(extra=sides, own=sides, stride=st.integers(1, 2))
def test_a_convolution_pads_as_well_as_a_pad_before_it(extra, own, stride):
    model = padded_conv(extra, own, stride)
    copy, outcome = rewritten(model, use_conv_pads)
    assert ops(copy) == {"Conv": 1}
    assert len(outcome.applied) == 1
    assert_same_output(model, copy, drawn(1, 2, 5, 6))


def test_every_convolution_that_reads_a_pad_takes_it():
    model = small_graph(
        f"""g (float[1,2,5,6] x) => (float[1,3,5,6] y) {{
            {ints("one", [1, 1, 1, 1])}
            {ints("axes", [2, 3])}
            p = Pad (x, one, , axes)
            a = Conv (p, v)
            b = Conv <pads = [1, 1, 1, 1], dilations = [2, 2]> (p, w)
            y = Add (a, b)
        }}""",
        v=drawn(3, 2, 3, 3),
        w=drawn(3, 2, 3, 3, seed=1),
    )
    copy, _ = rewritten(model, use_conv_pads)
    assert ops(copy) == {"Conv": 2, "Add": 1}
    assert_same_output(model, copy, drawn(1, 2, 5, 6))


@pytest.mark.parametrize(
    ("pad", "reason"),
    [
        ('p = Pad <mode = "reflect"> (x, spatial)', "pads by reflect values"),
        ("p = Pad (x, spatial, half)", "another value than zero"),
        ("p = Pad (x, channel)", "other axes than height and width"),
        ("p = Pad (x, crop)", "or crops"),
        ("p = Pad (x, spatial)\nr = Relu (p)", "not only convolutions read it"),
        ("p = Pad (x, given)", "is computed"),
    ],
)
def test_another_pad_is_left_with_its_reason(pad, reason):
    model = small_graph(
        f"""g (float[1,2,5,6] x, int64[8] given) => (float[n,c,h,w] y) {{
            {ints("spatial", (0, 0, 1, 1, 0, 0, 1, 1))}
            {ints("channel", (0, 1, 0, 0, 0, 1, 0, 0))}
            {ints("crop", (0, 0, -1, 0, 0, 0, 0, 0))}
            half = Constant <value_float = 0.5> ()
            {pad}
            y = Conv (p, w)
        }}""",
        w=drawn(3, 4 if "channel" in pad else 2, 3, 3),
    )
    outcome = assert_untouched(model, use_conv_pads)
    assert reason in next(iter(outcome.skipped.values()))


@pytest.mark.parametrize(
    "step",
    [
        "r = Identity (p)",
        f"{ints('none', [0] * 8)}\nr = Pad (p, none)",
        f"{ints('start', [0, 0])}\n{ints('end', [5, 9999])}\n{ints('axes', [2, 3])}\n"
        "r = Slice (p, start, end, axes)",
        f"{ints('start', [0, 0])}\n{ints('end', [1, 2])}\nr = Slice (p, start, end)",
    ],
    ids=["identity", "pad", "slice", "slice without axes"],
)
@pytest.mark.parametrize("where", ["inside", "at the end"])
def test_a_step_that_does_nothing_goes(step, where):
    end = "y = Relu (r)"
    if where == "at the end":
        step, end = step.replace("r = ", "y = "), ""
    model = small_graph(
        f"""g (float[1,2,5,6] x) => (float[1,2,5,6] y) {{
            p = Sigmoid (x)
            {step}
            {end}
        }}"""
    )
    copy, outcome = rewritten(model, use_conv_pads)
    assert len(outcome.applied) == 1
    assert set(ops(copy)) <= {"Sigmoid", "Relu"}
    assert copy.graph.outputs[0].name == "y"
    assert_same_output(model, copy, drawn(1, 2, 5, 6))


@pytest.mark.parametrize(
    "slicing",
    [
        f"{ints('a', [0])}\n{ints('b', [4])}\n{ints('c', [2])}\ny = Slice (x, a, b, c)",
        f"{ints('a', [0])}\n{ints('b', [99])}\n{ints('c', [2])}\n{ints('d', [2])}\n"
        "y = Slice (x, a, b, c, d)",
        f"{ints('a', [0])}\n{ints('b', [-1])}\n{ints('c', [2])}\ny = Slice (x, a, b, c)",
    ],
    ids=["part", "every second", "all but one"],
)
def test_a_slice_that_takes_something_away_stays(slicing):
    model = small_graph(f"g (float[1,2,5,6] x) => (float[n,c,h,w] y) {{ {slicing} }}")
    assert_untouched(model, use_conv_pads)


def test_an_identity_of_an_input_stays_where_it_is_the_output():
    model = small_graph("g (float[1,2,5,6] x) => (float[1,2,5,6] y) { y = Identity (x) }")
    assert_untouched(model, use_conv_pads)


def padded_to_a_multiple(
    order: str = "d, p", crop: tuple[int, int] = (5, 6), height: int | str = 5
) -> ir.Model:
    """A network that pads 5 x 6 to 8 x 8, adds what it made of that, and crops."""
    return small_graph(
        f"""g (float[1,3,{height},6] x) => (float[1,3,h,w] y) {{
            {ints("extra", (0, 0, 0, 0, 0, 0, 3, 2))}
            p = Pad (x, extra)
            f = Conv <pads = [1, 1, 1, 1]> (p, v)
            d = Conv <pads = [1, 1, 1, 1]> (f, w)
            s = Add ({order})
            {ints("start", (0, 0))}
            {ints("end", crop)}
            {ints("axes", (2, 3))}
            y = Slice (s, start, end, axes)
        }}""",
        v=drawn(4, 3, 3, 3),
        w=drawn(3, 4, 3, 3),
    )


@pytest.mark.parametrize("order", ["d, p", "p, d"])
def test_a_crop_that_undoes_a_pad_leaves_no_pad(order):
    model = padded_to_a_multiple(order)
    copy, outcome = rewritten(model, use_conv_pads)
    assert ops(copy) == {"Conv": 2, "Slice": 1, "Add": 1}
    assert len(outcome.applied) == 2
    assert_same_output(model, copy, drawn(1, 3, 5, 6))


def test_a_crop_of_something_else_stays_behind_the_sum():
    model = padded_to_a_multiple(crop=(5, 5))
    outcome = assert_untouched(model, use_conv_pads)
    assert list(outcome.skipped.values()) == ["not only convolutions read it"]
