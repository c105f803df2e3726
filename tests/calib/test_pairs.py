import numpy as np
import pytest
from PIL import Image

from calib.pairs import load_pairs
from deploy.errors import DataError


def test_pairs_are_matched_by_name_whatever_the_suffix(tmp_path, write_pictures):
    write_pictures(tmp_path, dict.fromkeys(["input/b.png", "input/deep/a.png"], (8, 9)))
    write_pictures(tmp_path, dict.fromkeys(["target/b.bmp", "target/deep/a.png"], (8, 9)))
    assert [pair.name for pair in load_pairs(tmp_path)] == ["b", "deep/a"]


def test_a_pair_gives_the_pixels_of_both(tmp_path, write_pictures):
    write_pictures(tmp_path, dict.fromkeys(["input/a.png", "target/a.png"], (8, 9)))
    (pair,) = load_pairs(tmp_path)
    for part, pixels in (("input", pair.degraded), ("target", pair.sharp)):
        with Image.open(tmp_path / part / "a.png") as image:
            np.testing.assert_allclose(pixels, np.asarray(image) / 255, atol=1e-6)
    assert pair.sharp.dtype == np.float32


def test_a_pair_is_read_by_the_reader_it_was_given(tmp_path, write_pictures):
    write_pictures(tmp_path, {"input/a.png": (4, 5), "target/a.png": (4, 5)})
    (pair,) = load_pairs(tmp_path, lambda path: path.parent.name)
    assert (pair.degraded, pair.sharp) == ("input", "target")


def test_pixels_are_not_read_before_they_are_asked_for(tmp_path, write_pictures):
    write_pictures(tmp_path, dict.fromkeys(["input/a.png", "target/a.png"], (64, 64)))
    broken = tmp_path / "target" / "a.png"
    broken.write_bytes(broken.read_bytes()[:1000])
    (pair,) = load_pairs(tmp_path)
    with pytest.raises(DataError, match=r"target/a\.png cannot be read"):
        _ = pair.sharp


@pytest.mark.parametrize(("there", "missing"), [("input", "target"), ("target", "input")])
def test_a_missing_part_is_named(tmp_path, write_pictures, there, missing):
    write_pictures(tmp_path, {f"{there}/a.png": (8, 8)})
    with pytest.raises(DataError, match=f"no folder {tmp_path / missing}"):
        load_pairs(tmp_path)


@pytest.mark.parametrize(("more", "less"), [("input", "target"), ("target", "input")])
def test_a_missing_partner_is_named(tmp_path, write_pictures, more, less):
    names = ["input/a.png", "target/a.png", f"{more}/b.png"]
    write_pictures(tmp_path, dict.fromkeys(names, (8, 8)))
    with pytest.raises(DataError, match=rf"{more}/b\.png has no partner in {tmp_path / less} "):
        load_pairs(tmp_path)


def test_unlike_sizes_are_named_with_both(tmp_path, write_pictures):
    write_pictures(tmp_path, {"input/a.png": (8, 9), "target/a.png": (16, 18)})
    with pytest.raises(DataError, match=r"input/a\.png is 9x8, .*target/a\.png is 18x16"):
        load_pairs(tmp_path)


def test_two_files_of_one_name_are_named(tmp_path, write_pictures):
    names = ["input/a.png", "input/a.bmp", "target/a.png"]
    write_pictures(tmp_path, dict.fromkeys(names, (8, 8)))
    with pytest.raises(DataError, match=r"a\.bmp and .*a\.png have one name"):
        load_pairs(tmp_path)
