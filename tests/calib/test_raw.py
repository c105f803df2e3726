import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from calib.images import load_image
from calib.raw import (
    OPPO_RENO_10X,
    PATTERNS,
    add_sensor_noise,
    load_mosaic,
    mosaic_of_photograph,
    pack,
    turn_to_rggb,
    unpack,
)
from calib.raw_photographs import write_raw_demo_data
from deploy.errors import DataError

patterns = st.sampled_from(sorted(PATTERNS))
halves = st.integers(1, 9)


def mosaic(height, width, seed=0):
    return np.random.default_rng(seed).random((height, width), dtype=np.float32)


@given(halves, halves)
def test_unpacking_undoes_packing(height, width):
    given_mosaic = mosaic(2 * height, 2 * width)
    assert np.array_equal(unpack(pack(given_mosaic)), given_mosaic)


@given(halves, halves, patterns)
def test_turning_twice_changes_nothing(height, width, pattern):
    given_mosaic = mosaic(2 * height, 2 * width)
    turned = turn_to_rggb(turn_to_rggb(given_mosaic, pattern), pattern)
    assert np.array_equal(turned, given_mosaic)


@given(halves, halves, patterns)
def test_a_mosaic_of_any_pattern_is_turned_to_red_green_green_blue(height, width, pattern):
    colours = np.tile(np.array(list(pattern)).reshape(2, 2), (height, width))
    planes = pack(turn_to_rggb(colours, pattern))
    assert [set(plane.flat) for plane in planes] == [{"R"}, {"G"}, {"G"}, {"B"}]


def test_bggr_is_turned_by_half_a_turn():
    given_mosaic = mosaic(6, 8)
    assert np.array_equal(turn_to_rggb(given_mosaic, "BGGR"), np.rot90(given_mosaic, 2))


@pytest.mark.parametrize(
    ("iso", "gain", "read_variance"),
    [(1600, 0.96793133, 2.97944), (6400, 3.84565949, 33.43861)],
)
def test_the_sensors_noise_is_that_of_its_coefficients(iso, gain, read_variance):
    assert OPPO_RENO_10X.gain_at(iso) == pytest.approx(gain, rel=1e-6)
    assert OPPO_RENO_10X.read_variance_at(iso) == pytest.approx(read_variance, rel=1e-5)


@pytest.mark.parametrize("iso", [800, 6400])
@pytest.mark.parametrize("level", [0.2, 0.6])
def test_noise_has_the_mean_of_the_signal_and_the_models_variance(iso, level):
    flat = np.full((400, 400), level, np.float32)
    noisy = add_sensor_noise(flat, iso, OPPO_RENO_10X, np.random.default_rng(0)) * 959.0
    rounding = 1 / 12
    expected = OPPO_RENO_10X.gain_at(iso) * level * 959 + OPPO_RENO_10X.read_variance_at(iso)
    assert noisy.mean() == pytest.approx(level * 959, rel=2e-3)
    assert noisy.var() == pytest.approx(expected + rounding, rel=0.02)


def test_noisy_samples_are_steps_of_the_sensor_between_black_and_white():
    ends = np.repeat(np.array([0, 1], np.float32), 500).reshape(20, 50)
    noisy = add_sensor_noise(ends, 6400, OPPO_RENO_10X, np.random.default_rng(0))
    assert noisy.dtype == np.float32
    assert (noisy.min(), noisy.max()) == (0, 1)
    np.testing.assert_allclose(noisy * 959, np.rint(noisy * 959), atol=1e-4)


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_a_photograph_becomes_linear_planes_of_its_own_colours(pattern):
    colour = np.array([0.8, 0.5, 0.2], np.float32)
    planes = pack(turn_to_rggb(mosaic_of_photograph(np.tile(colour, (6, 8, 1)), pattern), pattern))
    assert planes.shape == (4, 6, 8)
    for plane, value in zip(planes, colour[[0, 1, 1, 2]], strict=True):
        np.testing.assert_allclose(plane, value**2.2, rtol=1e-5)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_16_bit_file_is_read_in_full(tmp_path, suffix):
    samples = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1365
    Image.fromarray(samples).save(tmp_path / f"raw{suffix}")
    np.testing.assert_allclose(load_mosaic(tmp_path / f"raw{suffix}") * 65535, samples, rtol=1e-6)


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3)])
def test_a_file_of_8_bit_or_in_colour_is_refused(tmp_path, shape):
    Image.fromarray(np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)).save(
        tmp_path / "photo.png"
    )
    with pytest.raises(DataError, match=r"photo\.png is no raw mosaic"):
        load_mosaic(tmp_path / "photo.png")


@pytest.mark.parametrize("size", [(6, 7), (5, 8)])
def test_odd_sides_are_refused(tmp_path, size):
    Image.fromarray(np.zeros(size, np.uint16)).save(tmp_path / "odd.png")
    with pytest.raises(DataError, match=f"odd.png is {size[1]}x{size[0]}: .*even sides"):
        load_mosaic(tmp_path / "odd.png")


@pytest.mark.slow
def test_demo_mosaics_come_in_pairs_whose_names_say_their_iso(tmp_path):
    folder = write_raw_demo_data(tmp_path / "demo", "BGGR", OPPO_RENO_10X, isos=(800, 6400))
    for part, count in (("training", 20), ("held-out", 4)):
        names = {path.name for path in (folder / part / "input").iterdir()}
        assert len(names) == count
        assert names == {path.name for path in (folder / part / "target").iterdir()}
    errors = []
    for iso in (800, 6400):
        noisy, clean = (
            load_mosaic(folder / "held-out" / kind / f"coffee.iso{iso}.png")
            for kind in ("input", "target")
        )
        errors.append(np.square(noisy - clean).mean())
    assert errors[1] > 3 * errors[0]
    told = []
    write_raw_demo_data(
        folder, "BGGR", OPPO_RENO_10X, isos=(800, 6400), on_progress=lambda *step: told.append(step)
    )
    assert told == []
    assert load_image(folder / "held-out/input/coffee.iso800.png").shape == (800, 1200, 3)
