"""prepare: the forms that can be asked for, and what it says of each node."""

import numpy as np
import pytest
from cli_examples import mofa, write_net
from onnx import helper

from deploy.rewrites.forms import Forms, choices

CHANNELS = 16
OPTIONS = tuple(Forms().record())


@pytest.fixture(scope="module")
def layered(tmp_path_factory):
    """Give a user's file with a LayerNorm2d before a 1x1 convolution, its nodes without names."""
    node = helper.make_node
    nodes = [
        node("Conv", ["image", "wide"], ["x"], pads=[1] * 4),
        node("ReduceMean", ["x", "axis"], ["mean"]),
        node("Sub", ["x", "mean"], ["centered"]),
        node("Mul", ["centered", "centered"], ["squares"]),
        node("ReduceMean", ["squares", "axis"], ["variance"]),
        node("Add", ["variance", "eps"], ["shifted"]),
        node("Sqrt", ["shifted"], ["root"]),
        node("Div", ["centered", "root"], ["normalized"]),
        node("Conv", ["normalized", "mixing"], ["mixed"]),
        node("Add", ["mixed", "x"], ["sum"]),
        node("Conv", ["sum", "narrow"], ["residual"], pads=[1] * 4),
        node("Add", ["image", "residual"], ["restored"]),
    ]
    nodes.insert(0, node("Constant", [], ["axis"], value_ints=[1]))
    weights = {
        "mixing": np.random.default_rng(1).standard_normal((CHANNELS, CHANNELS, 1, 1)) * 0.01,
        "eps": np.array(1e-6),
    }
    path = tmp_path_factory.mktemp("layered") / "net.onnx"
    return write_net(path, nodes=nodes, weights=weights)


@pytest.fixture(scope="module")
def explained(layered, judged, tmp_path_factory):
    """Give what each form of the normalization is said to have become."""
    said = {}
    for form in ("lp", "fused", "folded", "keep"):
        out = tmp_path_factory.mktemp(form)
        options = ("--layernorm", form, "--explain", "--json", *judged, "--out", out)
        said[form] = mofa("prepare", layered, *options).json()
    return said


@pytest.mark.parametrize("form", ["lp", "fused", "folded"])
def test_explained_for_machines_it_gives_a_row_a_node(explained, form):
    (row,) = [row for row in explained[form] if row["rewrite"] == "layer_norm"]
    assert row["node"]
    assert (row["rewritten"], row["form"], row["why"]) == (True, form, None)


def test_what_is_kept_has_no_row(explained):
    assert not any(row["rewrite"] == "layer_norm" for row in explained["keep"])


def test_explained_for_people_it_names_every_rewrite_and_what_it_did(layered, judged, out):
    said = mofa("prepare", layered, "--explain", *judged, "--out", out).out
    for line in ("layer_norm", "rewritten: lp", "attention", "nothing of the kind in the graph"):
        assert line in said


def test_it_explains_what_is_there_already(layered, judged, out):
    command = ("prepare", layered, "--explain", *judged, "--out", out)
    first, again = mofa(*command).out, mofa(*command).out
    assert "nothing to do" in again
    assert again.splitlines()[2:] == first.splitlines()[2:]


def test_another_form_makes_the_file_anew_and_the_same_one_does_not(layered, judged, out):
    def made(*options: str) -> dict:
        (record,) = mofa("prepare", layered, *options, "--json", *judged, "--out", out).json()
        return record

    first = made("--layernorm", "folded")
    assert made("--layernorm", "folded")["made"] is False
    other = made("--layernorm", "fused")
    assert other["made"] is True
    assert other["sha256"] != first["sha256"]
    assert other["params"]["forms"]["layernorm"] == "fused"


def test_quantize_keeps_the_forms_that_were_asked_for(layered, judged, calibrated, out):
    options = ("--layernorm", "fused", "--ends", "keep")
    mofa("prepare", layered, *options, *judged, "--out", out)
    records = mofa("quantize", layered, *calibrated, "--json", "--out", out).json()
    assert [record["made"] for record in records] == [False, True]
    for record in records:
        forms = record["params"]["forms"]
        assert (forms["layernorm"], forms["ends"], forms["gate"]) == ("fused", "keep", "auto")


@pytest.mark.parametrize("option", OPTIONS)
def test_a_form_that_there_is_not_is_refused_with_those_that_there_are(net, judged, refuse, option):
    line = refuse("prepare", net, f"--{option}", "fastest", *judged)
    assert f"unknown form 'fastest' of {option}: use auto, " in line


@pytest.mark.parametrize("option", OPTIONS)
def test_the_help_shows_every_form(option):
    assert f"--{option} {choices(option)}" in " ".join(mofa("prepare", "--help").out.split())
