import json

import pytest

from deploy.cli import run_app

UNET = """
from deploy.zoo.nafnet import NAFNet
from torch import nn

def small():
    return NAFNet(8, (1,), 1, (1,))

def flat():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1))

def narrow():
    return NAFNet(3, (1,), 1, (1,))
"""
QUICK = ["--shape", "1,3,64,64", "--launches", "2", "--seconds", "0.02", "--threads", "1"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "roadmap_nets.py").write_text(UNET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_every_step_is_built_and_measured_and_the_fastest_named(here, capfd):
    arguments = ["roadmap", "roadmap_nets:small", "--threshold", "4", *QUICK, "--json"]
    assert run_app(arguments) == 0
    result = json.loads(capfd.readouterr().out)
    rows = {row["step"]: row for row in result["table"]}
    assert list(rows)[:4] == ["baseline", "partial", "middle", "cheap"]
    assert {"upsampling", "depthwise", "downsampling", "depthwise-downsampling"} <= set(rows)
    assert result["fastest"] in rows
    assert all(row["latency_median_ms"] > 0 and row["n_launches"] == 2 for row in rows.values())
    assert rows["middle"]["macs_g"] > rows["partial"]["macs_g"] > rows["depthwise"]["macs_g"]
    assert all(row["psnr_db"] is None for row in rows.values())  # none of them is trained
    sidecar = here / "build" / "small-roadmap-depthwise.plain.onnx.json"
    assert "threshold 4" in json.loads(sidecar.read_text())["params"]["source"]
    assert (here / "build" / "small-roadmap.md").read_text().startswith("| step | MACs G |")


def test_a_network_that_is_no_unet_is_told_what_was_looked_for(here, capfd):
    assert run_app(["roadmap", "roadmap_nets:flat", *QUICK]) == 1
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "Sequential" in error
    assert "U-Net" in error


def test_channels_that_a_quarter_does_not_divide_are_named(here, capfd):
    assert run_app(["roadmap", "roadmap_nets:narrow", *QUICK]) == 1
    assert "6" in capfd.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("text", ["depthwise", "=file", "depthwise="])
def test_weights_of_another_form_are_refused(here, capfd, text):
    assert run_app(["roadmap", "roadmap_nets:small", *QUICK, "--weights", text]) == 1
    assert f"weights {text!r} is not STEP=FILE" in capfd.readouterr().err


def test_weights_for_no_step_name_the_steps(here, capfd):
    assert run_app(["roadmap", "roadmap_nets:small", *QUICK, "--weights", "last=a.pth"]) == 1
    error = capfd.readouterr().err
    assert "unknown step 'last'" in error
    assert "depthwise-downsampling" in error


def test_an_unknown_device_is_named_before_any_step_is_built(here, capfd):
    assert run_app(["roadmap", "roadmap_nets:small", *QUICK, "--device", "toaster"]) == 1
    assert "toaster" in capfd.readouterr().err
    assert not (here / "build").exists()
