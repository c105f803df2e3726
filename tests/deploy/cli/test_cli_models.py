"""`models`: the list, one network, the papers' tables, a checkpoint; and conversions by option."""

import pytest
import torch
from cli_examples import command_without, mofa, process, refusal

from deploy.commands.images import is_demo
from deploy.files import file_sha256
from deploy.zoo.papers import TABLES
from deploy.zoo.registry import MODELS
from deploy.zoo.skeleton import checkpoint_shapes

ENCODER = ("enc1", "enc2", "enc3", "enc4")
DECODER = ("dec1", "dec2", "dec3", "dec4")

NETWORK = """
from torch import nn


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        print("a network that talks")
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, image):
        return self.conv(image)
"""


def state_of(name):
    """Give a state dict of a registered network, all of it zero."""
    shapes = checkpoint_shapes(MODELS[name])
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}


def test_the_list_has_every_name_and_needs_no_torch(tmp_path):
    said = process("models", "--json", command=command_without(tmp_path, "torch"))
    assert [row["model"] for row in said.json()] == list(MODELS)


def test_the_list_is_for_people_too():
    said = mofa("models")
    assert said.code == 0
    assert all(name in said.out for name in MODELS)


@pytest.mark.parametrize(
    "table",
    [name if name != "thesis" else pytest.param(name, marks=pytest.mark.slow) for name in TABLES],
)
def test_every_table_prints_all_its_rows_in_both_forms(table):
    rows = mofa("models", "--table", table, "--json").json()["rows"]
    said = mofa("models", "--table", table)
    assert [row["model"] for row in rows] == [row.model for row in TABLES[table].rows]
    for row in rows:
        assert f"{row['parameters']:,}" in said.out
        assert f"{row['macs'] / 1e9:.4f}" in said.out
        assert f"{row['macs_as_paper'] / 1e9:.4f}" in said.out
    assert "not measured here" in said.out


@pytest.mark.parametrize(
    ("table", "model", "which"),
    [("mofa-1", "mofa-1-row1", "macs"), ("mofa-4", "nafnet-mofa", "parameters")],
)
def test_what_does_not_reproduce_is_marked_with_its_reason(table, model, which):
    rows = mofa("models", "--table", table, "--json").json()["rows"]
    assert {row["model"]: list(row["doubts"]) for row in rows if row["doubts"]} == {model: [which]}
    (doubted,) = (row for row in rows if row["doubts"])
    said = mofa("models", "--table", table).out
    assert (
        f"✗ {doubted[f'{which}_in_paper']} does not reproduce: {doubted['doubts'][which]}" in said
    )


def test_the_papers_results_are_numbers_for_machines_and_as_printed_for_people():
    first, *_ = mofa("models", "--table", "mofa-4", "--json").json()["rows"]
    assert first["paper"]["sidd_ssim"] == 0.9556
    assert "0.9560" in mofa("models", "--table", "mofa-4").out  # the last digit is kept


def test_one_network_has_both_counts_beside_the_papers():
    described = mofa("models", "nafnet-tiny", "--json").json()
    assert (described["parameters"], described["parameters_as_paper"]) == (288_691, 286_579)
    assert [(one["table"], one["parameters"]) for one in described["papers"]] == [
        ("mofa-4", "286.6 K")
    ]


def test_stages_of_a_u_net_are_listed_in_the_order_in_which_they_run():
    described = mofa("models", "pmrid", "--json").json()
    names = [stage["name"] for stage in described["stages"]]
    assert names == ["conv0", *ENCODER, "encdec", *DECODER, "out0", "out1"]
    assert sum(stage["share"] for stage in described["stages"]) == pytest.approx(1)
    assert [one["name"] for one in described["stages"] if one["middle"]] == ["enc3", "dec2"]


def test_stages_are_printed_with_their_marks():
    said = mofa("models", "pmrid").out
    (dec2,) = (line for line in said.splitlines() if line.strip().startswith("dec2"))
    assert dec2.strip().endswith("middle, cheap")


def test_a_users_network_is_counted_at_the_shape_it_takes(write_module):
    model = f"{write_module(NETWORK)}:Flat"
    described = mofa("models", model, "--shape", "1,1,32,32", "--json").json()
    assert (described["parameters"], described["macs"]) == (10, 9 * 32 * 32)
    assert described["stages"] is None
    assert "Flat is not U-Net-like" in described["no_stages"]


def test_a_users_network_of_a_papers_name_gets_none_of_its_figures(write_module):
    module = write_module(NETWORK.replace("Flat", "PMRID"))
    described = mofa("models", f"{module}:PMRID", "--shape", "1,1,32,32", "--json").json()
    assert described["model"] == "pmrid"
    assert described["papers"] == []


def test_a_plot_is_drawn_and_is_the_same_each_time(tmp_path):
    paths = [tmp_path / "new" / "one.svg", tmp_path / "two.svg"]
    for path in paths:
        assert mofa("models", "pmrid", "--plot", path).code == 0
    assert "encdec" in paths[0].read_text()
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_checkpoint_is_identified():
    shipped = MODELS["nafnet-tiny"].checkpoint
    assert mofa("models", "--identify", shipped, "--json").json()["fits"] == ["nafnet-tiny"]
    assert "fits nafnet-tiny\n" in mofa("models", "--identify", shipped).out


def test_a_checkpoint_of_none_of_them_gets_the_nearest_with_the_first_misfits(tmp_path):
    state = state_of("nafnet-tiny")
    body = {name: value for name, value in state.items() if not name.startswith("intro")}
    torch.save(body, tmp_path / "net.pth")
    said = mofa("models", "--identify", tmp_path / "net.pth")
    assert said.code == 0
    assert "fits no registered model; the nearest is nafnet-tiny, with 99% of the" in said.out
    assert "in common: missing intro.weight; missing intro.bias\n" in said.out


def test_a_checkpoint_like_none_of_them_is_said_to_be(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "net[1].pth")
    said = mofa("models", "--identify", tmp_path / "net[1].pth")
    assert "net[1].pth fits no registered model and shares no tensor with any" in said.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nafnet-tini",), "did you mean nafnet-tiny"),
        (("--table", "mofa-5"), "unknown table 'mofa-5': use one of mofa-1"),
        (("--identify", "gone.pth"), "no checkpoint at gone.pth"),
        (("pmrid", "--table", "mofa-1"), "NAME and --table at once"),
        (("--table", "mofa-1", "--identify", "gone.pth"), "--table and --identify at once"),
        (("--plot", "stages.svg"), "--plot without NAME"),
        (("--shape", "1,3,64,64"), "--shape without NAME"),
        (("pmrid", "--plot", "stages.png"), "stages.png is no .svg file"),
        (("pmrid", "--shape", "1,3,100,100"), "multiple of 16"),
        (("pmrid", "--shape", "1,4,64,64"), "pmrid cannot be run on 1x4x64x64"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(arguments, problem):
    assert problem in refusal(mofa("models", *arguments))


def test_a_network_that_is_not_u_net_like_is_not_drawn(write_module, tmp_path):
    model = f"{write_module(NETWORK)}:Flat"
    plot = tmp_path / "stages.svg"
    line = refusal(mofa("models", model, "--shape", "1,1,32,32", "--plot", plot))
    assert "Flat is not U-Net-like: looked for convolutions that go down" in line
    assert not plot.exists()


def test_a_plot_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    line = refusal(mofa("models", "pmrid", "--plot", tmp_path / "file" / "stages.svg"))
    assert "pass another --plot FILE.svg" in line


@pytest.mark.parametrize(
    ("model", "demo"),
    [
        ("nafnet-tiny", True),
        ("nafnet-tiny-local", True),
        ("nafnet-tiny-local-128px", True),
        ("nafnet-tiny-no-layernorm", False),
        ("nafnet-tiny-local-no-layernorm", False),
        ("nafnet-mofa-local", False),
    ],
)
def test_demo_weights_are_judged_on_the_demo_photographs_with_tlc_too(model, demo):
    shipped = file_sha256(MODELS["nafnet-tiny"].checkpoint)
    assert is_demo(model, shipped) is demo


def exported(out, judged, *options):
    (artifact,) = mofa("export", *options, "--out", out, *judged, "--json").json()
    return artifact


@pytest.mark.slow
def test_tlc_is_named_recorded_and_judged(out, judged):
    artifact = exported(out, judged, "--local", "--shape", "1,3,64,64")
    assert artifact["model"] == "nafnet-tiny-local"
    assert artifact["params"]["conversions"] == ["local"]
    assert artifact["params"]["trained"] is True
    assert artifact["fidelity"]["psnr_db"] > 0


@pytest.mark.slow
def test_a_network_without_its_normalization_is_named_recorded_and_never_judged(out, judged):
    artifact = exported(out, judged, "--no-layernorm", "--shape", "1,3,64,64")
    assert artifact["model"] == "nafnet-tiny-no-layernorm"
    assert artifact["params"]["conversions"] == ["no-layernorm"]
    assert artifact["params"]["trained"] is False
    assert "psnr_db" not in artifact["fidelity"]
    (prepared,) = mofa("prepare", artifact["path"], "--out", out, *judged, "--json").json()
    assert "psnr_db" not in prepared["fidelity"]


@pytest.mark.slow
def test_tlc_says_where_it_changes_nothing(out, judged):
    said = mofa("export", "--local", "--shape", "1,3,64,64", "--out", out, *judged)
    assert said.code == 0
    assert "TLC changes nothing at 64x64: its windows of 384 px cover the image" in said.err


@pytest.mark.slow
def test_tlc_goes_by_the_training_size_that_is_given(out, judged):
    shape = ("--shape", "1,3,64,64", "--out", out, *judged)
    said = mofa("export", "--local", "--local-train-px", 32, *shape, "--json")
    assert "TLC changes nothing" not in said.err
    (artifact,) = said.json()
    assert artifact["model"] == "nafnet-tiny-local-32px"
    (plain,) = mofa("export", *shape, "--json").json()
    assert artifact["fidelity"]["psnr_db"] != plain["fidelity"]["psnr_db"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--model", "pmrid", "--local"), "pmrid-local has no global average pool"),
        (("--model", "pmrid", "--no-layernorm"), "Pmrid has no LayerNorm2d"),
        (("--local", "--local-train-px", 0), "TLC training size 0x0 has no pixels: give the side"),
        (("--local", "--local-train-px", 8), "size 8x8 gives the pool middle_blks.0.sca.0 a kern"),
        (("--local-train-px", 128), "--local-train-px 128 without --local"),
        (
            ("--model", "nafnet-16-9-local", "--local", "--local-train-px", 128),
            "nafnet-16-9-local is local for training crops of 256 px",
        ),
        (("--local", "--dynamic"), "nafnet-tiny-local with open height and width"),
        (("--model", "nafnet-16-9-local", "--dynamic"), "open height and width"),
    ],
)
def test_conversions_that_do_not_fit_are_refused(refuse, judged, options, problem):
    assert problem in refuse("export", "--shape", "1,3,64,64", *options, *judged)


def test_a_checkpoint_of_another_registered_network_is_said_to_be(refuse, judged, tmp_path):
    torch.save(state_of("pmrid-raw"), tmp_path / "net.pth")
    line = refuse("export", "--checkpoint", tmp_path / "net.pth", *judged)
    assert "does not fit NAFNet: missing intro.weight" in line
    assert "it fits pmrid-raw; pass --model pmrid-raw" in line
