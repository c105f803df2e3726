"""Raw networks and odd sides on the command line: a user's own network through a pipeline file."""

import json
from dataclasses import replace

import numpy as np
import pytest
from cli_examples import mofa, refusal
from PIL import Image

from calib.raw import OPPO_RENO_10X, add_sensor_noise
from deploy.pipeline import PMRID_RAW

PHONE = replace(PMRID_RAW, pattern="GRBG", scale=16)

NETS = '''
from torch import nn


class Halving(nn.Module):
    """Takes even sides only."""

    def __init__(self, channels):
        super().__init__()
        self.down = nn.Conv2d(channels, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, channels, 2, stride=2)

    def forward(self, x):
        return x + self.up(self.down(x).relu())


def raw_halving():
    return Halving(4)


def rgb_halving():
    return Halving(3)
'''


def write_mosaic(path, mosaic):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(mosaic * 65535).astype(np.uint16)).save(path)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Give a folder with a raw pair at ISO 400 to judge on and to calibrate on."""
    folder = tmp_path_factory.mktemp("raw")
    slope = np.linspace(0.05, 0.7, 160, dtype=np.float32)
    sharp = np.add.outer(slope[:128] / 2, slope / 2)
    noisy = add_sensor_noise(sharp, 400, OPPO_RENO_10X, np.random.default_rng(0))
    for kind, mosaic in (("input", noisy), ("target", sharp)):
        write_mosaic(folder / kind / "scene.iso400.png", mosaic)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stand in a folder with a network of one's own and a phone's pipeline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    (tmp_path / "halving_nets.py").write_text(NETS)
    (tmp_path / "phone.json").write_text(json.dumps(PHONE.record()))
    return tmp_path


def export_raw(raw, *more):
    network = ("--model", "halving_nets:raw_halving", "--pipeline", "phone.json")
    return mofa("export", *network, "--shape", "1,4,32,32", "--held-out", raw, *more)


def test_a_pipeline_goes_with_every_file_that_is_made(here, raw):
    exported = export_raw(raw, "--json").json()
    data = ("--data", raw / "input", "--crops", "6", "--held-out", raw)
    quantized = mofa("quantize", "--target", "x86", *data, "--json").json()
    for artifact in (*exported, *quantized):
        assert artifact["params"]["pipeline"] == PHONE.record()
        assert artifact["params"]["trained"] is False
        assert "psnr_db" not in artifact["fidelity"]


def test_another_pipeline_is_another_calibration(here, raw):
    hashes = []
    for iso in (400, 800):
        (here / "phone.json").write_text(json.dumps(replace(PHONE, iso=iso).record()))
        export_raw(raw)
        data = ("--data", raw / "input", "--crops", "6", "--held-out", raw)
        made = mofa("quantize", "--target", "x86", *data, "--json").json()
        hashes.append(made[-1]["params"]["crops_sha256"])
    assert hashes[0] != hashes[1]


@pytest.mark.slow
def test_the_whole_line_takes_a_raw_network(here, raw):
    network = ("--model", "halving_nets:raw_halving", "--pipeline", "phone.json")
    data = ("--data", raw / "input", "--crops", "6", "--held-out", raw)
    quick = ("--launches", "1", "--seconds", "0.02", "--threads", "1")
    said = mofa("run", *network, "--shape", "1,4,32,32", *data, *quick)
    assert said.code == 0, said.err
    assert (here / "build" / "report" / "report.html").is_file()


def test_a_raw_network_without_its_pipeline_is_refused_with_the_option(here):
    line = refusal(mofa("export", "--model", "halving_nets:raw_halving", "--shape", "1,4,32,32"))
    assert "takes 1x4x32x32: its rgb images come as 1x3xHxW; see --shape" in line
    assert "--pipeline" in line


def test_a_pipeline_file_that_is_not_there_is_refused(here, raw):
    (here / "phone.json").unlink()
    assert "error: phone.json is no pipeline" in refusal(export_raw(raw))


def test_a_mosaic_whose_name_does_not_say_its_iso_is_refused_before_any_work(here, raw):
    export_raw(raw)
    write_mosaic(here / "data" / "scene.png", np.random.default_rng(0).random((128, 128)))
    data = ("--data", "data", "--crops", "4", "--held-out", raw)
    line = refusal(mofa("quantize", *data))
    assert "scene.png does not say its ISO" in line
    assert not list((here / "build").glob("*.fp32.onnx"))


def test_a_mosaic_of_odd_sides_is_refused_before_any_work(here, raw):
    export_raw(raw)
    write_mosaic(here / "data" / "scene.iso100.png", np.random.default_rng(0).random((127, 128)))
    line = refusal(mofa("quantize", "--data", "data", "--crops", "4", "--held-out", raw))
    assert "scene.iso100.png has an odd side: a Bayer mosaic has even sides" in line
    assert not list((here / "build").glob("*.fp32.onnx"))


def test_photographs_are_no_mosaics(here, raw, pictures):
    export_raw(raw)
    for path in (pictures / "train").iterdir():
        (here / "data").mkdir(exist_ok=True)
        (here / "data" / f"{path.stem}.iso100.png").write_bytes(path.read_bytes())
    line = refusal(mofa("quantize", "--data", "data", "--crops", "4", "--held-out", raw))
    assert "is no raw mosaic: it is in colour, or not of 16 bit" in line


def test_sides_that_a_network_does_not_take_are_refused_with_the_multiple(judged, out):
    line = refusal(
        mofa("export", "--model", "pmrid", "--shape", "1,3,72,72", *judged, "--out", out)
    )
    assert "pmrid takes sides that are multiples of 16, not 72x72" in line
    assert "pass --shape 1,3,80,80, or --pad" in line
    assert not out.exists() or not list(out.glob("*.onnx*"))


def test_a_padded_graph_takes_them_and_goes_through_the_line(here, judged, calibrated):
    odd = ("--model", "halving_nets:rgb_halving", "--shape", "1,3,63,63")
    assert "multiples of 2, not 63x63" in refusal(mofa("export", *odd, *judged))
    (exported,) = mofa("export", *odd, "--pad", *judged, "--json").json()
    assert exported["params"]["pad"] is True
    assert exported["fidelity"]["max_error_vs_torch"] <= 1e-4
    quantized = mofa("quantize", "--target", "x86", *calibrated, "--json").json()
    assert [one["kind"] for one in quantized] == ["fp32", "int8-x86"]


def test_padding_an_open_size_is_refused(here, judged):
    line = refusal(
        mofa("export", "--model", "halving_nets:rgb_halving", "--pad", "--dynamic", *judged)
    )
    assert "--pad with --dynamic: leave one out" in line
