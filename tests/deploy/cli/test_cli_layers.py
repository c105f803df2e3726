"""`models NAME --layers` and the plot: where the MACs are, and what the roadmap takes of them."""

import pytest
from cli_examples import mofa, refusal

from deploy.zoo.partial_conv import PartialConv, PConv
from deploy.zoo.registry import find_model
from deploy.zoo.roadmap import take_steps

MIDDLE_COLOUR = "#0072b2"

NETWORKS = """
from torch import nn


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(8, 8)

    def forward(self, image):
        return self.line(image)


class Flat(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1))


class Six(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(3, 6, 3, padding=1)
        self.down = nn.Conv2d(6, 6, 2, stride=2)
        self.inner = nn.Conv2d(6, 6, 3, padding=1)
        self.up = nn.ConvTranspose2d(6, 6, 2, stride=2)
        self.leave = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, image):
        return self.leave(self.up(self.inner(self.down(self.enter(image)))))
"""


def described(name, *options):
    return mofa("models", name, *options, "--json").json()


def lies_in(layer, parts):
    return any(layer == part or layer.startswith(f"{part}.") for part in parts)


def raised(before, after):
    """Give the convolutions, a pair as one, of which the second network has another portion."""
    pairs = {name for name, module in after.named_modules() if isinstance(module, PConv)}
    return {
        next((pair for pair in pairs if lies_in(name, [pair])), name)
        for name, module in after.named_modules()
        if isinstance(module, PartialConv) and module.portion != before.get_submodule(name).portion
    }


@pytest.mark.parametrize(
    "name",
    ["pmrid", "pmrid-raw", "pmrid-mofa", "nafnet-tiny", "nafnet-16-9-local", "nafnet-16-18-sa"],
)
def test_layers_sum_to_the_totals(name):
    counts = described(name)
    for key in ("parameters", "macs"):
        assert sum(layer[key] for layer in counts["layers"]) == counts[key]
    assert sum(layer["share"] for layer in counts["layers"]) == pytest.approx(1)


@pytest.mark.parametrize("name", ["pmrid", "pmrid-mofa", "nafnet-tiny"])
def test_layers_of_a_stage_sum_to_its_vanilla_macs(name):
    counts = described(name)
    for stage in counts["stages"]:
        inside = [layer for layer in counts["layers"] if layer["stage"] == stage["name"]]
        assert sum(layer["vanilla_macs"] for layer in inside) == stage["vanilla_macs"]


@pytest.mark.parametrize("name", ["pmrid", "nafnet-tiny", "nafnet-16-9"])
def test_what_the_steps_of_the_roadmap_change_is_marked_and_nothing_else(name):
    steps = take_steps(find_model(name).factory())
    middle = raised(steps["partial"], steps["middle"])
    both = raised(steps["partial"], steps["cheap"])
    assert middle
    for layer in described(name)["layers"]:
        assert layer["middle"] == lies_in(layer["name"], middle), layer
        assert (layer["middle"] or layer["cheap"]) == lies_in(layer["name"], both), layer


def test_what_is_taken_twice_has_both_marks():
    roles = {one["name"]: (one["middle"], one["cheap"]) for one in described("pmrid")["layers"]}
    assert roles["dec2.proj_conv.depthwise"] == (True, True)
    assert roles["dec2.upsample"] == (False, False)
    assert roles["enc3.0.conv1.depthwise"] == (False, False)  # the first block changes the size


def test_layers_are_printed_when_asked_for_with_their_stage_and_marks():
    layers = described("pmrid")["layers"]
    said = mofa("models", "pmrid", "--layers").out
    lines = [line.split() for line in said.splitlines()]
    for layer in layers:
        assert any(
            line[:3] == [layer["name"], layer["kind"], layer["stage"]]
            and line[3] == f"{layer['parameters']:,}"
            for line in lines
        ), layer
    (both,) = (line for line in said.splitlines() if "dec2.decode_conv.conv0.depthwise" in line)
    assert both.rstrip().endswith("middle, cheap")
    assert "dec2.decode_conv" not in mofa("models", "pmrid").out


def test_layers_without_a_name_are_refused():
    assert "--layers without NAME" in refusal(mofa("models", "--layers"))


def test_a_network_that_is_no_u_net_has_layers_without_stage_or_role(write_module):
    model = f"{write_module(NETWORKS)}:Flat"
    counts = described(model, "--shape", "1,3,16,16")
    assert {(one["stage"], one["middle"], one["cheap"]) for one in counts["layers"]} == {
        (None, None, None)
    }
    said = mofa("models", model, "--shape", "1,3,16,16", "--layers").out
    assert "no roadmap: Flat is not U-Net-like" in said


def test_a_u_net_that_the_roadmap_cannot_change_says_why(write_module):
    model = f"{write_module(NETWORKS)}:Six"
    counts = described(model, "--shape", "1,3,16,16")
    assert [layer["stage"] for layer in counts["layers"]] == [
        *("enter", "down", "inner", "up", "leave")
    ]
    assert "portion 1/4 of 6 channels" in counts["no_roadmap"]
    assert {layer["middle"] for layer in counts["layers"]} == {None}


def test_a_network_without_macs_has_no_shares(write_module):
    model = f"{write_module(NETWORKS)}:Dense"
    (line,) = described(model, "--shape", "1,1,8,8")["layers"]
    assert (line["parameters"], line["macs"], line["share"]) == (72, 0, None)
    assert mofa("models", model, "--shape", "1,1,8,8", "--layers").code == 0


def test_the_plot_has_a_piece_for_every_layer(tmp_path):
    assert mofa("models", "pmrid", "--plot", tmp_path / "stages.svg").code == 0
    middle = [
        layer for layer in described("pmrid")["layers"] if layer["middle"] and not layer["cheap"]
    ]
    pieces = sum(bool(layer["vanilla_macs"]) + bool(layer["macs"]) for layer in middle)
    drawn = (tmp_path / "stages.svg").read_text().count(f"fill: {MIDDLE_COLOUR}")
    assert drawn == pieces + 1  # and its place in the legend
