"""What a graph costs with more or fewer nodes in float; node names are those of their outputs."""

import pytest
from float_graphs import conv_weights, drawn, float_graph

from deploy.kernel_costs import ARM, KERNELS, X86, GraphCost
from deploy.placement import place
from deploy.targets import TARGETS

PIXELS = 8 * 8
DEPTHWISE = """a = Conv(x, w)  d = Conv <group=64, pads=[2, 2, 2, 2]> (a, k)
               e = Conv <group=64, pads=[2, 2, 2, 2]> (d, k)  y = Conv(e, v)"""
WIDE = conv_weights("w", "v", channels=64)


def cost_of(body, hardware="x86", channels=4, **arrays):
    model = float_graph(body, channels=channels, **arrays)
    target = TARGETS["x86" if hardware == "x86" else "arm-cpu"]
    cost = GraphCost(model, place(model, target), KERNELS[hardware])
    return lambda *float_nodes: cost.of(float_nodes)


def test_every_hardware_that_files_are_made_for_has_its_kernels():
    assert {target.hardware for target in TARGETS.values()} <= set(KERNELS)


def test_a_convolution_costs_its_multiply_adds_and_its_outputs():
    cost = cost_of("y = Conv(x, w)", channels=16, **conv_weights("w", channels=16))
    outputs = PIXELS * 16
    # the output goes to float
    assert cost() == outputs * (16 * X86.int_mac + X86.int_output + X86.rounding)


def test_in_float_it_costs_the_channels_that_are_computed_at_a_time():
    cost = cost_of("y = Conv(x, w)", **conv_weights("w", outputs=3))
    # 4 channels are read as they are, 3 take as long as 16; what leaves the layout is the 3
    assert cost("y") == PIXELS * (4 * 16 + 3 * X86.layout)


def test_float_between_integers_pays_for_going_to_and_fro():
    body = "a = Conv(x, w) b = Conv(a, w) y = Conv(b, w)"
    cost = cost_of(body, channels=16, **conv_weights("w", channels=16))
    elements = PIXELS * 16
    kernel = elements * (16 - 16 * X86.int_mac - X86.int_output)
    assert cost("b") - cost() == kernel + 2 * elements * (X86.rounding + X86.layout)


def test_neighbours_in_float_pay_once():
    body = "a = Conv(x, w) b = Conv(a, w) c = Conv(b, w) y = Conv(c, w)"
    cost = cost_of(body, channels=16, **conv_weights("w", channels=16))
    alone = cost("b") + cost("c") - 2 * cost()
    border = PIXELS * 16 * (X86.rounding + X86.layout)
    assert alone - (cost("b", "c") - cost()) == 2 * border


@pytest.mark.parametrize("hardware", KERNELS)
def test_depthwise_layers_are_faster_in_float_on_x86_and_slower_on_arm(hardware):
    few = {"w": drawn(16, 64, 1, 1), "k": drawn(16, 1, 5, 5), "v": drawn(64, 16, 1, 1)}
    cost = cost_of(DEPTHWISE.replace("64,", "16,"), hardware, channels=64, **few)
    assert (cost("d", "e") < cost()) == (hardware == "x86")


def test_a_sum_between_float_convolutions_is_in_float_itself():
    body = "a = Conv(x, w) b = Conv(a, w) s = Add(a, b) y = Conv(s, w)"
    cost = cost_of(body, channels=16, **conv_weights("w", channels=16))
    assert cost("a", "b", "y") == cost("a", "b", "s", "y")


def test_a_bound_costs_nothing_and_a_copy_in_float_does():
    arrays = conv_weights("w", channels=16)
    plain = cost_of("a = Conv(x, w) y = Conv(a, w)", channels=16, **arrays)
    bounded = cost_of("a = Conv(x, w) r = Relu(a) y = Conv(r, w)", channels=16, **arrays)
    assert (bounded(), bounded("a", "y")) == (plain(), plain("a", "y"))
    body = "a = Conv(x, w) t = Transpose <perm=[0, 1, 3, 2]> (a) y = Conv(t, w)"
    copied = cost_of(body, channels=16, **arrays)
    assert copied() == plain()
    # out of the layout of float convolutions, copied, and back into it
    assert copied("a", "t", "y") - plain("a", "y") == PIXELS * 16 * (
        X86.float_moved + 2 * X86.layout
    )


def test_what_a_preset_has_in_float_is_counted_so():
    body = "a = Conv(x, w) b = Conv(a, w) s = Add(a, b) c = Conv(s, w) y = Conv(c, w)"
    model = float_graph(body, channels=16, **conv_weights("w", channels=16))
    fast, accurate = (
        GraphCost(model, place(model, TARGETS["arm-cpu"], preset=preset), ARM)
        for preset in ("fast", "accurate")
    )
    assert accurate.of(()) == fast.of(("s", "y"))
