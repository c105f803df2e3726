"""A network of the user's own, from `package.module:factory` to the report."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from cli_examples import QUICK, left_over, mofa, process, refusal

NETWORK = """
import torch
from torch import nn

print("imported")


def make_net():
    print("built")
    torch.manual_seed(1)
    return Net()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(3, 8, 3, padding=1)
        self.narrow = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, image):
        print("called")
        return image + 0.1 * self.narrow(self.wide(image).relu())
"""
QUALITY = ("psnr_db", "ssim", "degraded_psnr_db", "degraded_ssim")
SHAPE = ("--shape", "1,3,64,64")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a current folder with a package of the user's, and weights for its network."""
    current = tmp_path_factory.mktemp("users")
    (current / "users_nets").mkdir()
    (current / "users_nets" / "denoise.py").write_text(NETWORK)
    torch.manual_seed(2)
    weights = {
        "wide.weight": 0.1 * torch.randn(8, 3, 3, 3),
        "wide.bias": torch.zeros(8),
        "narrow.weight": 0.1 * torch.randn(3, 8, 3, 3),
        "narrow.bias": torch.zeros(3),
    }
    torch.save({"params": weights}, current / "net.pth")
    return current


@pytest.fixture(scope="module")
def run(folder, calibrated):
    """Run the whole line in a process of its own; give what it said."""

    def line(*options):
        model = ("--model", "users_nets.denoise:make_net", *SHAPE)
        bench = QUICK[:4]  # run has no --warmup
        return process("run", *model, *calibrated, *bench, *options, cwd=folder)

    return line


@pytest.fixture(scope="module")
def untrained(run):
    return run("--json", "--out", "untrained")


@pytest.fixture(scope="module")
def trained(run):
    return run("--json", "--checkpoint", "net.pth", "--out", "trained")


def test_run_gives_all_artifacts_and_the_report_as_json_whatever_the_network_prints(untrained):
    given = untrained.json()
    kinds = [artifact["kind"] for artifact in given["artifacts"]]
    assert kinds[:2] == ["plain", "fp32"]
    assert {"int8-x86", "int8-arm-cpu", "int8-opt-x86", "int8-opt-arm-cpu"} <= set(kinds)
    assert given["report"]["html"].endswith("report.html")
    assert "called" in untrained.err


def test_files_are_named_after_the_factory(untrained, folder):
    assert untrained.code == 0
    assert (folder / "untrained" / "make-net.plain.onnx").is_file()


def test_no_quality_is_given_anywhere_without_trained_weights(untrained, folder):
    artifacts = untrained.json()["artifacts"]
    assert [key for one in artifacts for key in one["fidelity"] if key in QUALITY] == []
    for sidecar in (folder / "untrained").glob("*.onnx.json"):
        assert set(QUALITY).isdisjoint(json.loads(sidecar.read_text())["fidelity"])
    for table in (*folder.glob("untrained/bench/*/runs.csv"), folder / "untrained/report/runs.csv"):
        assert pd.read_csv(table)[list(QUALITY)].isna().all(axis=None)
    assert pd.read_csv(folder / "untrained/report/summary.csv")["psnr_db"].isna().all()
    assert list((folder / "untrained").rglob("pictures")) == []


def test_quality_on_the_users_own_pairs_is_given_with_trained_weights(trained, folder):
    for artifact in trained.json()["artifacts"]:
        assert all(np.isfinite(artifact["fidelity"][key]) for key in QUALITY)
    summary = pd.read_csv(folder / "trained/report/summary.csv")
    assert summary["psnr_db"].notna().all()
    (pictures,) = (folder / "trained").rglob("pictures")
    assert {"degraded", "sharp", "plain"} <= {one.name.split(".")[2] for one in pictures.iterdir()}


def test_the_demo_photographs_do_not_judge_a_users_network(trained, folder):
    assert trained.code == 0
    plain = folder / "trained" / "make-net.plain.onnx"
    made = mofa("prepare", plain, "--json", "--out", folder / "unjudged").json()
    assert set(QUALITY).isdisjoint(made[0]["fidelity"])


def test_nothing_is_left_unfinished(untrained, trained, folder):
    assert untrained.code == trained.code == 0
    assert left_over(folder) == []


def test_a_second_run_makes_and_measures_nothing(trained, run, folder):
    assert trained.code == 0
    files = [*(folder / "trained").glob("*.onnx"), *folder.glob("trained/bench/*/*")]
    before = {file: file.stat().st_mtime_ns for file in files}
    again = run("--json", "--checkpoint", "net.pth", "--out", "trained")
    assert [one["made"] for one in again.json()["artifacts"]] == [False] * 6
    assert "measured already" in again.err
    assert {file: file.stat().st_mtime_ns for file in files} == before


@pytest.fixture
def export(folder, judged, monkeypatch):
    """Export the network in this process, which is quicker; give what it said."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    model = ("--model", "users_nets.denoise:make_net", *SHAPE, *judged)
    return lambda *options: mofa("export", *model, "--json", *options)


def test_other_weights_are_another_network(trained, folder, export):
    assert trained.code == 0
    weights = torch.load(folder / "net.pth", weights_only=True)["params"]
    torch.save({name: value + 0.01 for name, value in weights.items()}, folder / "other.pth")
    (artifact,) = export("--checkpoint", "other.pth", "--out", "trained").json()
    assert artifact["made"] is True


def test_force_exports_again(untrained, export):
    assert untrained.code == 0
    made = [export(*force, "--out", "untrained").json()[0]["made"] for force in ([], ["--force"])]
    assert made == [False, True]


def test_a_dynamic_export_is_refused_where_a_fixed_size_is_needed(export, calibrated):
    (artifact,) = export("--dynamic", "--out", "dynamic").json()
    assert artifact["params"]["dynamic"] is True
    assert "has dynamic shapes" in refusal(mofa("quantize", *calibrated, "--out", "dynamic"))
