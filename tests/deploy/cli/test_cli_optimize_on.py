"""`optimize --device`: the graph as a phone's own ONNX Runtime saves it."""

import pytest
from bench_programs import programs_of_this_machine
from cli_examples import QUICK, left_over, mofa, refusal

from deploy.artifact import read_artifact
from deploy.commands import optimize_on


@pytest.fixture
def optimize(net, judged, out, monkeypatch):
    monkeypatch.setattr(optimize_on, "programs_for", programs_of_this_machine)
    words = ("optimize", net, "--target", "x86", *judged, "--out", out, "--json", "--device")
    return lambda serial, *more: mofa(*words, serial, *more)


def test_a_phone_saves_the_graph_and_the_file_says_whose_it_is(optimize, out, start_phone, judged):
    phone = start_phone()
    (made,) = optimize(phone.serial).json()
    artifact = read_artifact(next((out / "on").rglob("*.onnx")))
    assert str(artifact.path) == made["path"]
    valid_for = artifact.params["valid_for"]
    assert artifact.path.parent.name == valid_for["device_id"]
    assert valid_for["device"] == "Example Phone 14"
    assert len(valid_for["runtime_sha256"]) == 64
    assert "com.microsoft.nchwc" in artifact.fidelity["needs"]["opsets"]
    assert artifact.fidelity["psnr_vs_parent_db"] > 100
    assert list(out.glob("*.onnx")) == []
    assert list(phone.storage.iterdir()) == []
    assert left_over(out) == []
    on_host = mofa("bench", artifact.path, *QUICK, *judged, "--out", out)
    assert "was optimized by another device, for itself alone" in " ".join(on_host.err.split())
    assert [one["made"] for one in optimize(phone.serial).json()] == [False]


def test_a_graph_that_a_phone_saved_wrong_is_refused(optimize, out, start_phone, monkeypatch):
    honest = optimize_on.save_on_device

    def wrong(*args, **options):
        saved = honest(*args, **options)
        saved.output[:] = 0
        return saved

    monkeypatch.setattr(optimize_on, "save_on_device", wrong)
    said = optimize(start_phone().serial)
    assert "the graph that Example Phone 14 saved is wrong" in refusal(said)
    assert list(out.rglob("*.onnx")) == []


def test_a_phone_saves_in_one_format_alone(optimize, out):
    assert "a device saves onnx alone" in refusal(optimize("any", "--format", "onnx,ort"))
