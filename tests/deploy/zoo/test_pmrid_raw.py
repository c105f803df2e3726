"""The public PMRID checkpoint on raw images made from photographs, through its pipeline."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

from calib.photographs import load_photograph
from calib.raw import OPPO_RENO_10X, add_sensor_noise, mosaic_of_photograph
from deploy.cli import run_app
from deploy.fidelity import psnr_between_db, restore, restore_whole
from deploy.pipeline import PMRID_RAW
from deploy.zoo.pmrid import Pmrid

ISOS = (800, 1600, 3200, 6400)
CHECKPOINT = "pmrid_torch_pretrained.ckp"


@cache
def clean_mosaic():
    return mosaic_of_photograph(load_photograph("chelsea")[64:192, 128:256], PMRID_RAW.pattern)


@cache
def noisy_mosaic(iso):
    return add_sensor_noise(clean_mosaic(), iso, OPPO_RENO_10X, np.random.default_rng(iso))


@pytest.fixture
def network(test_data):
    trained = Pmrid(4)
    trained.load_state_dict(
        torch.load(test_data(CHECKPOINT), map_location="cpu", weights_only=True)
    )
    trained.eval()

    def run(batch):
        with torch.inference_mode():
            return trained(torch.from_numpy(batch)).numpy()

    return run


def psnr_db(image):
    return psnr_between_db([clean_mosaic()], [image])


@pytest.mark.parametrize("iso", ISOS)
def test_noise_is_removed_at_every_iso(network, iso):
    restored = restore_whole(network, noisy_mosaic(iso), replace(PMRID_RAW, iso=iso))
    assert psnr_db(restored) > psnr_db(noisy_mosaic(iso)) + 2


@pytest.mark.parametrize("iso", [800, 3200, 6400])
def test_without_the_k_sigma_transform_the_result_is_worse(network, iso):
    with_it, without = (
        psnr_db(restore_whole(network, noisy_mosaic(iso), replace(PMRID_RAW, iso=one)))
        for one in (iso, PMRID_RAW.anchor_iso)
    )
    assert without < with_it - 0.3


@pytest.mark.parametrize("iso", ISOS)
def test_without_the_scale_of_256_the_image_is_ruined(network, iso):
    unscaled = replace(PMRID_RAW, iso=iso, scale=1)
    assert psnr_db(restore_whole(network, noisy_mosaic(iso), unscaled)) < 30


def test_tiles_restore_as_well_as_the_whole_mosaic(network):
    pipeline = replace(PMRID_RAW, iso=3200)
    whole = psnr_db(restore_whole(network, noisy_mosaic(3200), pipeline))
    assert psnr_db(restore(network, noisy_mosaic(3200), (64, 64), pipeline)) == pytest.approx(
        whole, abs=0.3
    )


def write_mosaic(path, mosaic):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(mosaic * 65535).astype(np.uint16)).save(path)


@pytest.mark.slow
def test_the_whole_line_works_and_restores(test_data, tmp_path, capsys):
    for iso in (800, 6400):
        for kind, mosaic in (("input", noisy_mosaic(iso)), ("target", clean_mosaic())):
            write_mosaic(tmp_path / "raw" / kind / f"chelsea.iso{iso}.png", mosaic)

    def mofa(*arguments):
        shared = ("--out", tmp_path / "build", "--held-out", tmp_path / "raw", "--json")
        assert run_app([str(one) for one in (*arguments, *shared)]) == 0
        return json.loads(capsys.readouterr().out)

    shape = ("--shape", "1,4,64,64")
    weights = ("--checkpoint", test_data(CHECKPOINT))
    (plain,) = mofa("export", "--model", "pmrid-raw", *weights, *shape)
    data = ("--data", tmp_path / "raw/input", "--crops", "8")
    fp32, int8 = mofa("quantize", "--target", "x86", *data)
    (optimized,) = mofa("optimize")
    gains = [
        one["fidelity"]["psnr_db"] - one["fidelity"]["degraded_psnr_db"]
        for one in (plain, fp32, int8, optimized)
    ]
    assert gains[0] > 3
    assert gains[1] == pytest.approx(gains[0], abs=0.01)
    assert gains[2] > 0.5
    assert gains[3] == pytest.approx(gains[2], abs=0.1)
    assert plain["fidelity"]["max_error_vs_torch"] <= 1e-4
    assert {json.dumps(one["params"]["pipeline"]) for one in (plain, fp32, int8, optimized)} == {
        json.dumps(PMRID_RAW.record())
    }
    mofa("bench", "--launches", "1", "--seconds", "0.02", "--warmup", "1")
    pictures = list((tmp_path / "build").glob("bench/*/pictures/chelsea.iso800.*.plain.png"))
    assert [Image.open(path).size for path in pictures] == [(128, 128)]
