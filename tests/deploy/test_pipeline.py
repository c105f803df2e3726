import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from calib.raw import OPPO_RENO_10X, PATTERNS, add_sensor_noise
from deploy.errors import DataError, UsageError
from deploy.pipeline import PMRID_RAW, RGB, PackedRaw, pipeline_of_record, read_pipeline

halves = st.integers(1, 20)
isos = st.floats(50, 12800)
pipelines = st.builds(
    PackedRaw,
    pattern=st.sampled_from(sorted(PATTERNS)),
    iso=isos,
    anchor_iso=isos,
    scale=st.sampled_from([1, 256]),
)


def mosaic(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width), dtype=np.float32)


@given(halves, halves)
def test_rgb_goes_through_unchanged(height, width):
    image = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
    batch = RGB.to_network(image)
    assert batch.shape == (1, 3, height, width)
    assert np.array_equal(RGB.from_network(batch), image)


@given(halves, halves, pipelines)
def test_raw_comes_back_from_what_the_network_takes(height, width, pipeline):
    image = mosaic(2 * height, 2 * width)
    batch = pipeline.to_network(image)
    assert batch.shape == (1, 4, height, width)
    assert batch.dtype == np.float32
    np.testing.assert_allclose(pipeline.from_network(batch), image, atol=1e-4)


def test_at_the_anchor_iso_the_network_gets_256_times_the_planes():
    image = mosaic(8, 12)
    batch = replace(PMRID_RAW, iso=1600).to_network(image)
    turned = image[::-1, ::-1]  # BGGR to RGGB
    np.testing.assert_allclose(batch[0, 0], turned[::2, ::2] * 256, rtol=1e-6)
    np.testing.assert_allclose(batch[0, 3], turned[1::2, 1::2] * 256, rtol=1e-6)


def test_k_sigma_is_the_papers_formula():
    def shot(iso):
        return 0.0005995267 * iso + 0.00868861

    def read(iso):
        return 7.11772e-7 * iso**2 + 6.514934e-4 * iso + 0.11492713

    image, iso, white = mosaic(4, 6), 3200, 959
    a = shot(1600) / shot(iso)
    b = (read(iso) / shot(iso) ** 2 - read(1600) / shot(1600) ** 2) * shot(1600)
    red = image[::-1, ::-1][::2, ::2].astype(np.float64)
    batch = replace(PMRID_RAW, iso=iso).to_network(image)
    np.testing.assert_allclose(batch[0, 0], (red * white * a + b) / white * 256, rtol=1e-5)


@pytest.mark.parametrize("iso", [800, 3200, 6400])
def test_k_sigma_makes_the_noise_of_any_iso_that_of_the_anchor(iso):
    pipeline, white = replace(PMRID_RAW, iso=iso, scale=1), 959
    flat = np.full((600, 600), 0.3, np.float32)
    noisy = add_sensor_noise(flat, iso, OPPO_RENO_10X, np.random.default_rng(0))
    seen = pipeline.to_network(noisy).astype(np.float64) * white
    expected = OPPO_RENO_10X.gain_at(1600) * seen.mean() + OPPO_RENO_10X.read_variance_at(1600)
    assert seen.var() == pytest.approx(expected, rel=0.02)


def test_samples_beyond_white_are_clipped():
    batch = replace(PMRID_RAW, iso=1600).to_network(np.array([[-1, 2], [0.5, 1]], np.float32))
    np.testing.assert_allclose(batch.ravel(), [256, 128, 256, 0])


@pytest.mark.parametrize(
    ("planes", "before", "after"),
    [(64, 16, 16), (48, 8, 8), (30, 1, 1), (33, 15, 16), (31, 0, 1)],
)
def test_whole_mosaics_get_a_black_margin_up_to_a_multiple_of_32_planes_pixels(
    planes, before, after
):
    image = mosaic(2 * planes, 128) + 1
    padded = PMRID_RAW.pad_whole(image)
    assert padded.shape == (2 * (before + planes + after), 128 + 64)
    assert np.flatnonzero(padded.any(axis=1))[0] == 2 * before
    assert np.array_equal(PMRID_RAW.crop_whole(padded, image), image)


def test_the_ends_of_a_pattern_stay_where_they_were_in_a_padded_mosaic():
    pipeline, image = replace(PMRID_RAW, iso=1600), mosaic(66, 62)
    inner = pipeline.to_network(pipeline.pad_whole(image))[0, :, 16:49, 1:32]
    assert np.array_equal(inner, pipeline.to_network(image)[0])


@pytest.mark.parametrize(
    ("name", "iso"),
    [
        ("scene.iso3200", 3200),
        ("ISO800/scene", 800),
        ("iso100/scene_iso-400", 400),
        ("scene-iso_6400.b", 6400),
    ],
)
def test_an_images_name_says_its_iso(name, iso):
    assert PMRID_RAW.for_image(name).iso == iso


def test_a_name_without_iso_is_refused():
    with pytest.raises(DataError, match=r"scene does not say its ISO: name it like scene\.iso3200"):
        PMRID_RAW.for_image("scene")


def test_one_iso_for_all_needs_no_names():
    fixed = replace(PMRID_RAW, iso=400)
    assert fixed.for_image("scene.iso3200") is fixed


@given(pipelines)
def test_a_record_is_json_and_gives_the_pipeline_back(pipeline):
    assert pipeline_of_record(json.loads(json.dumps(pipeline.record()))) == pipeline


def test_the_record_of_rgb_gives_rgb_back():
    assert pipeline_of_record(RGB.record()) == RGB


def test_a_record_may_leave_out_what_is_as_for_pmrid():
    assert pipeline_of_record({"name": "packed-raw"}) == PMRID_RAW


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"name": "yuv"}, "unknown pipeline 'yuv': use rgb or packed-raw"),
        ({}, "unknown pipeline None"),
        ({"name": "rgb", "iso": 100}, r'pipeline {"name": "rgb", "iso": 100}'),
        ({"name": "packed-raw", "gamma": 2}, "'gamma'"),
        ({"name": "packed-raw", "pattern": "RGBG"}, "Bayer pattern 'RGBG': use one of RGGB"),
        ({"name": "packed-raw", "iso": 0}, "iso of a raw pipeline is 0"),
        ({"name": "packed-raw", "iso": "high"}, '"iso": "high"'),
        ({"name": "packed-raw", "scale": float("nan")}, "scale of a raw pipeline is nan"),
        ({"name": "packed-raw", "sensor": {"gain": [1, 0]}}, "'read_variance'"),
        (
            {"name": "packed-raw", "sensor": {**PMRID_RAW.record()["sensor"], "gain": [1]}},
            "tuple index out of range",
        ),
        (
            {"name": "packed-raw", "sensor": {**PMRID_RAW.record()["sensor"], "gain": [0, 0]}},
            "gain at anchor_iso of a raw pipeline is 0",
        ),
    ],
)
def test_a_record_that_describes_no_pipeline_is_refused(record, said):
    with pytest.raises(UsageError, match=said):
        pipeline_of_record(record)


@pytest.mark.parametrize(
    ("text", "said"), [(None, "is no pipeline"), ("{", "is no pipeline"), ("[]", "no JSON object")]
)
def test_a_file_that_holds_no_record_is_refused(tmp_path, text, said):
    if text is not None:
        (tmp_path / "phone.json").write_text(text)
    with pytest.raises(UsageError, match=rf"phone\.json {said}|phone\.json holds {said}"):
        read_pipeline(tmp_path / "phone.json")


def test_a_raw_file_is_read_as_a_mosaic_and_a_photograph_is_not(tmp_path):
    Image.fromarray(np.full((4, 6), 65535, np.uint16)).save(tmp_path / "raw.png")
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "rgb.png")
    assert (PMRID_RAW.read(tmp_path / "raw.png") == np.ones((4, 6), np.float32)).all()
    with pytest.raises(DataError, match="no raw mosaic"):
        PMRID_RAW.read(tmp_path / "rgb.png")


def test_a_picture_of_raw_is_half_as_large_and_has_display_gamma():
    picture = PMRID_RAW.picture(np.full((4, 6), 0.5**2.2, np.float32))
    assert picture.shape == (2, 3, 3)
    np.testing.assert_allclose(picture, 0.5, rtol=1e-5)
