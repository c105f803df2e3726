import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import assert_same_output, assert_untouched, drawn, ops, rewritten, small_graph

from deploy.rewrites.pixel_shuffle import use_pixel_shuffle
from deploy.rewrites.transposed_convolution import use_shuffled_convolution


def upsampling(block: int = 2, channels: int = 3, outputs: int = 2, bias: bool = True) -> ir.Model:
    text = f"""g (float[1,{channels},3,4] x) => (float[1,{outputs},{3 * block},{4 * block}] y) {{
        y = ConvTranspose <strides = [{block}, {block}]> (x, w{", b" if bias else ""})
    }}"""
    arrays = {"w": drawn(channels, outputs, block, block), "b": drawn(outputs)}
    return small_graph(text, **(arrays if bias else {"w": arrays["w"]}))


@settings(max_examples=20, deadline=None)
@given(
    block=st.integers(2, 4),
    channels=st.integers(1, 4),
    outputs=st.integers(1, 4),
    bias=st.booleans(),
)
def test_a_kernel_as_large_as_its_stride_is_a_1x1_convolution_and_a_shuffle(
    block, channels, outputs, bias
):
    model = upsampling(block, channels, outputs, bias)
    copy, outcome = rewritten(model, use_shuffled_convolution)
    assert ops(copy) == {"Conv": 1, "DepthToSpace": 1}
    assert len(outcome.applied) == 1
    assert_same_output(model, copy, drawn(1, channels, 3, 4))


def test_the_shuffle_that_it_makes_is_one_that_can_be_rewritten():
    model = upsampling()
    made, _ = rewritten(model, use_shuffled_convolution)
    copy, outcome = rewritten(made, use_pixel_shuffle)
    assert len(outcome.applied) == 1
    assert_same_output(model, copy, drawn(1, 3, 3, 4))


def test_an_open_size_stays_open():
    model = small_graph(
        """g (float[n,3,h,w] x) => (float[n,2,h2,w2] y) {
            y = ConvTranspose <strides = [2, 2]> (x, k)
        }""",
        k=drawn(3, 2, 2, 2),
    )
    copy, _ = rewritten(model, use_shuffled_convolution)
    for shape in ((1, 3, 2, 5), (2, 3, 4, 3)):
        assert_same_output(model, copy, drawn(*shape))


@pytest.mark.parametrize(
    ("attributes", "kernel", "reason"),
    [
        ("strides = [2, 2]", (3, 3), "its kernel 3x3 is not its stride 2x2"),
        ("strides = [3, 3]", (2, 2), "its kernel 2x2 is not its stride 3x3"),
        ("strides = [2, 1]", (2, 1), "its kernel 2x1 is not its stride 2x1"),
        ("strides = [1, 1]", (1, 1), "its kernel 1x1 is not its stride 1x1"),
        ("strides = [2, 2], pads = [1, 0, 0, 0]", (2, 2), "padded"),
        ("strides = [2, 2], output_padding = [1, 1]", (2, 2), "padded"),
        ("strides = [2, 2], dilations = [2, 2]", (2, 2), "padded, dilated"),
        ('strides = [2, 2], auto_pad = "SAME_UPPER"', (2, 2), "padded"),
        ("strides = [2, 2], output_shape = [7, 7]", (2, 2), "a given output size"),
        ("strides = [2, 2], group = 2", (2, 2), "it has groups"),
    ],
)
def test_another_one_is_left_with_its_reason(attributes, kernel, reason):
    model = small_graph(
        f"""g (float[1,4,4,4] x) => (float[n,c,h,w] y) {{
            y = ConvTranspose <{attributes}> (x, w)
        }}""",
        w=drawn(4, 2, *kernel),
    )
    outcome = assert_untouched(model, use_shuffled_convolution)
    assert reason in next(iter(outcome.skipped.values()))


def test_computed_weights_are_a_reason_to_leave_it():
    model = small_graph(
        """g (float[1,1,2,2] x) => (float[1,1,4,4] y) {
            y = ConvTranspose <strides = [2, 2]> (x, x)
        }"""
    )
    outcome = assert_untouched(model, use_shuffled_convolution)
    assert list(outcome.skipped.values()) == ["its weights are computed"]
