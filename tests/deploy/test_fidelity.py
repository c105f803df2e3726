from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import DataError, FidelityError, GraphError
from deploy.fidelity import (
    Probe,
    max_error,
    psnr_between_db,
    require_max_error,
    restore,
    restore_whole,
    score,
    tiles,
)
from deploy.pipeline import PMRID_RAW, PackedRaw

sizes = st.integers(1, 70)


@dataclass(frozen=True)
class Pair:
    name: str
    degraded: np.ndarray
    sharp: np.ndarray


def identity(batch):
    return batch


def image(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width, 3), dtype=np.float32)


@given(height=sizes, width=sizes, side=st.integers(1, 48))
def test_restoring_with_the_identity_gives_the_image_back(height, width, side):
    given_image = image(height, width)
    np.testing.assert_allclose(restore(identity, given_image, (side, side)), given_image, atol=1e-6)


@given(height=sizes, width=sizes, side=st.integers(1, 48))
def test_tiles_have_the_models_size_and_cover_the_image(height, width, side):
    assert {tile.shape for tile in tiles(image(height, width), (side, side))} == {
        (1, 3, side, side)
    }
    seen = np.zeros((height, width, 3), np.float32)
    marked = np.ones_like(seen)
    restored = restore(lambda batch: batch, marked, (side, side))
    assert (restored == marked).all()


raw_pipelines = st.builds(
    PackedRaw, pattern=st.sampled_from(["RGGB", "BGGR", "GRBG"]), iso=st.sampled_from([800, 6400])
)


@given(height=st.integers(1, 40), width=st.integers(1, 40), side=sizes, pipeline=raw_pipelines)
def test_restoring_a_mosaic_with_the_identity_gives_it_back(height, width, side, pipeline):
    mosaic = image(2 * height, 2 * width)[..., 0]
    np.testing.assert_allclose(restore(identity, mosaic, (side, side), pipeline), mosaic, atol=1e-5)
    np.testing.assert_allclose(restore_whole(identity, mosaic, pipeline), mosaic, atol=1e-5)
    assert {tile.shape for tile in tiles(mosaic, (side, side), pipeline)} == {(1, 4, side, side)}


def framed(batch):
    """Give a tile with an error of 0.1 in its outer two px."""
    wrong = batch * 0.8 + 0.1
    inside = np.s_[..., 2:-2, 2:-2]
    wrong[inside] = batch[inside]
    return wrong


def test_what_tiles_do_to_their_borders_shows_at_the_images_border_and_at_the_seams():
    sharp = np.full((224, 224, 3), 0.9, np.float32)
    pair = Pair("flat", sharp / 2, sharp)
    probe = Probe("flat", tiles(sharp, (128, 128)), [pair])
    wrong = lambda batch: framed(batch * 2)  # noqa: E731
    quality = probe.quality(wrong)
    assert quality["border_psnr_db"] < quality["psnr_db"]
    assert quality["seam_psnr_db"] < quality["psnr_db"]


def test_a_border_that_is_restored_without_error_has_no_infinite_psnr():
    sharp = np.ones((96, 96, 3), np.float32)
    sharp[40:56, 40:56] = 0.5
    pair = Pair("white frame", sharp * 0.9, sharp)
    brighter = lambda batch: np.minimum(batch * 1.25, 1)  # noqa: E731
    quality = Probe("one", tiles(sharp, (96, 96)), [pair]).quality(brighter)
    assert np.isfinite(quality["psnr_db"])
    assert "border_psnr_db" not in quality


def test_an_image_of_one_tile_has_no_seam():
    sharp = image(48, 64)
    quality = Probe("one", tiles(sharp, (64, 64)), [Pair("one", sharp / 2, sharp)]).quality(
        identity
    )
    assert "border_psnr_db" in quality
    assert "seam_psnr_db" not in quality


def test_quality_of_raw_is_judged_by_each_images_own_iso():
    sharp = image(64, 64)[..., 0]
    pairs = [Pair(f"scene.iso{iso}", sharp / 2, sharp) for iso in (800, 6400)]
    crops = tiles(sharp, (16, 16), replace(PMRID_RAW, iso=800))
    probe = Probe("raw", crops, pairs, PMRID_RAW)
    quality = probe.quality(identity)
    assert quality["psnr_db"] == pytest.approx(quality["degraded_psnr_db"], abs=1e-3)
    assert quality["ssim"] == pytest.approx(quality["degraded_ssim"], abs=1e-4)
    assert probe.peak == 256


def test_a_model_that_changes_the_size_cannot_be_judged():
    double = lambda batch: batch.repeat(2, axis=2).repeat(2, axis=3)  # noqa: E731
    with pytest.raises(GraphError, match=r"gives \(1, 3, 32, 32\) for \(1, 3, 16, 16\)"):
        restore(double, image(40, 40), (16, 16))


def test_a_restored_image_is_clipped():
    restored = restore(lambda batch: batch * 3 - 1, image(40, 40), (16, 16))
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_psnr_is_twenty_db_for_an_error_of_a_tenth():
    zero = np.zeros((2, 8, 8, 3))
    assert psnr_between_db(zero, zero + 0.1) == pytest.approx(20)


def test_psnr_and_errors_are_relative_to_the_peak():
    zero = np.zeros((2, 1, 4, 8, 8))
    assert psnr_between_db(zero, zero + 25.6, peak=256) == pytest.approx(20)
    assert max_error(identity, lambda batch: batch + 25.6, zero, peak=256) == pytest.approx(0.1)


def test_psnr_of_equal_images_is_infinite():
    assert psnr_between_db([image(8, 8)], [image(8, 8)]) == float("inf")


@given(seed=st.integers(0, 1000), noise=st.floats(0.01, 0.5))
def test_psnr_falls_as_noise_grows(seed, noise):
    truth = image(16, 16, seed)
    drawn = np.random.default_rng(seed).normal(size=truth.shape)
    little, much = truth + drawn * noise, truth + drawn * noise * 2
    assert psnr_between_db([truth], [little]) > psnr_between_db([truth], [much])


def test_a_score_is_the_mean_over_images():
    truth = [image(32, 32), image(32, 32, 1)]
    near, far = truth[0] + np.float32(0.01), truth[1] + np.float32(0.1)
    psnr_db, ssim = score(truth, [near, far])
    assert psnr_db == pytest.approx((40 + 20) / 2, abs=0.01)
    assert 0 < ssim < 1


def test_the_greatest_error_is_found_wherever_it_is():
    crops = [np.zeros((1, 3, 4, 4), np.float32) for _ in range(3)]
    crops[1][0, 2, 3, 1] = 1
    assert max_error(identity, lambda batch: batch * 1.5, crops) == 0.5


@pytest.mark.parametrize("error", [float("nan"), float("inf"), 2e-4])
def test_an_error_that_is_no_number_or_too_large_is_refused(error):
    with pytest.raises(FidelityError, match="net: max error"):
        require_max_error(error, 1e-4, "net")


def test_without_truth_there_is_no_quality():
    assert Probe("crops", tiles(image(8, 8), (8, 8))).quality(identity) == {}


def test_an_image_too_small_for_ssim_is_refused_with_its_size():
    small = image(5, 40)
    with pytest.raises(DataError, match="40x5"):
        score([small], [small])


@given(height=sizes, width=sizes, tile_height=st.integers(1, 48), tile_width=st.integers(1, 48))
def test_tiles_need_not_be_square(height, width, tile_height, tile_width):
    given_image = image(height, width)
    restored = restore(identity, given_image, (tile_height, tile_width))
    np.testing.assert_allclose(restored, given_image, atol=1e-6)
