import json
import subprocess
import sys

import numpy as np
import pytest
import torch
import train
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from calib.pairs import load_pairs
from deploy.errors import CheckpointError, DataError, UsageError
from deploy.pipeline import PMRID_RAW, RGB
from deploy.zoo.pmrid import Pmrid
from deploy.zoo.registry import find_model

CROP_PX = 16


def write_image(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(samples).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two noisy pairs; no pixel of the sharp ones occurs twice."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        sharp = rng.permutation(24 * 40 * 3).reshape(24, 40, 3)
        noisy = sharp + rng.integers(-500, 500, sharp.shape)
        for kind, values in (("input", noisy), ("target", sharp)):
            samples = (values / 3000 * 255).clip(0, 255).astype(np.uint8)
            write_image(tmp_path / "data" / kind / f"{name}.png", samples)
    return tmp_path / "data"


@pytest.fixture
def raw_folder(tmp_path):
    mosaic = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 20
    for kind in ("input", "target"):
        write_image(tmp_path / "raw" / kind / "one.iso1600.png", mosaic)
    return tmp_path / "raw"


def batches(folder, pipeline=RGB, seed=0):
    pairs = load_pairs(folder, pipeline.read)
    return train.FolderBatches(pairs, pipeline, CROP_PX, batch=6, seed=seed)


def command(*arguments):
    options = train.parser().parse_args([str(one) for one in arguments])
    train.run(options)


def test_a_step_draws_the_same_crops_each_time(folder):
    first, again = batches(folder)[7], batches(folder)[7]
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_steps_and_seeds_draw_other_crops(folder):
    drawn = [batches(folder)[0][0], batches(folder)[1][0], batches(folder, seed=1)[0][0]]
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_both_sides_of_a_pair_are_cut_and_turned_alike(folder):
    sharp_twice = folder.parent / "twice"
    for kind in ("input", "target"):
        (sharp_twice / kind).mkdir(parents=True)
        for path in (folder / "target").iterdir():
            (sharp_twice / kind / path.name).write_bytes(path.read_bytes())
    degraded, sharp = batches(sharp_twice)[0]
    assert degraded.shape == (6, 3, CROP_PX, CROP_PX)
    assert torch.equal(degraded, sharp)


def test_raw_crops_start_on_the_same_colour_and_are_never_turned(raw_folder):
    degraded, sharp = batches(raw_folder, PMRID_RAW)[0]
    assert degraded.shape == (6, 4, CROP_PX, CROP_PX)
    assert torch.equal(degraded, sharp)
    red, green, other_green, blue = (degraded / 256 * 65535).unbind(1)  # ISO 1600: k-sigma is 1
    # the mosaic counts up along its rows, and BGGR is turned by half a turn
    assert torch.allclose(red - green, torch.tensor(20.0), atol=0.1)
    assert torch.allclose(other_green - blue, torch.tensor(20.0), atol=0.1)
    assert torch.allclose(red - other_green, torch.tensor(64 * 20.0), atol=0.1)


def test_images_smaller_than_a_crop_are_refused(folder):
    with pytest.raises(DataError, match="40x24, a crop needs 32 a side"):
        train.FolderBatches(load_pairs(folder), RGB, 32, batch=1, seed=0)


def test_raw_images_that_do_not_say_their_iso_are_refused(raw_folder):
    for kind in ("input", "target"):
        (raw_folder / kind / "one.iso1600.png").rename(raw_folder / kind / "one.png")
    with pytest.raises(DataError, match="one does not say its ISO"):
        batches(raw_folder, PMRID_RAW)


def test_what_fits_a_checkpoint_by_name_and_shape_is_loaded_and_the_rest_is_named(tmp_path):
    donor, network = Pmrid(), find_model("mofa-1-row2").factory()
    path = tmp_path / "donor.safetensors"
    save_file({**donor.state_dict(), "out1.conv.bias": torch.zeros(5)}, path)
    fit = train.load_fitting(network, path)
    assert torch.equal(network.conv0.conv.weight, donor.conv0.conv.weight)
    assert {"conv0.conv.weight", "dec1.upsample.weight"} <= set(fit["loaded"])
    assert "out1.conv.bias" in fit["fresh"]
    assert "encdec.depthwise.weight" in fit["unused"]
    assert len(fit["loaded"]) + len(fit["fresh"]) == len(network.state_dict())


def test_a_checkpoint_of_which_nothing_fits_is_refused(tmp_path):
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match=r"nothing in .*other.safetensors fits Conv2d"):
        train.load_fitting(nn.Conv2d(3, 3, 1), tmp_path / "other.safetensors")


def test_a_step_of_the_roadmap_starts_from_the_step_before_it(tmp_path):
    spec = find_model("nafnet-tiny")
    before = train.build(spec, "partial", 32, seed=0)
    save_file(before.state_dict(), tmp_path / "partial.safetensors")
    after = train.build(spec, "depthwise", 32, seed=0)
    fit = train.load_fitting(after, tmp_path / "partial.safetensors")
    assert fit["loaded"]
    assert fit["fresh"]


def test_an_unknown_step_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"unknown step 'nope' .*baseline, partial"):
        train.build(find_model("nafnet-tiny"), "nope", 32, seed=0)


def test_a_network_without_parameters_is_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="gave a Identity without parameters"):
        command(
            *("--model", "torch.nn:Identity", "--crop", "16"),
            *("--data", folder, "--out", tmp_path / "w.st"),
        )


@pytest.mark.parametrize("option", ["--steps", "--crop", "--batch", "--learning-rate"])
def test_a_number_that_is_not_above_0_is_refused(folder, tmp_path, option):
    with pytest.raises(UsageError, match=f"{option} is 0"):
        command("--model", "pmrid", "--data", folder, "--out", tmp_path / "w.st", option, "0")


def test_bad_input_is_one_line_and_exit_code_1(tmp_path, pytestconfig):
    script = pytestconfig.rootpath / "tools/train.py"
    arguments = ["--model", "pmrid", "--data", tmp_path / "none", "--out", tmp_path / "w.st"]
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: no folder {tmp_path / 'none'}")
    assert len(done.stderr.splitlines()) == 1


def test_a_run_writes_weights_that_fit_and_facts_that_say_how(folder, tmp_path, capsys):
    out = tmp_path / "nets" / "small.safetensors"
    arguments = ["--model", "nafnet-tiny", "--data", folder, "--held-out", folder, "--out", out]
    small = ["--crop", "16", "--batch", "1", "--steps", "2", "--loss", "charbonnier+0.01fft"]
    command(*arguments, *small)
    find_model("nafnet-tiny").factory().load_state_dict(load_file(out))
    facts = json.loads(out.with_suffix(".json").read_text())
    assert facts["loss"] == "charbonnier+0.01fft"
    assert facts["loss_curve"][-1][0] == 2
    assert [row["photograph"] for row in facts["held_out"]] == ["a", "b"]
    assert f"{out}\n" in capsys.readouterr().out
