"""Folders of images that cannot be calibrated on or judged on."""

from pathlib import Path

import pytest
from cli_examples import QUICK, left_over, mofa, write_picture
from PIL import Image


@pytest.fixture
def quantize(refuse, net, judged):
    """Quantize with the images of a folder, which has to be refused; give the line."""

    def run(data: Path, *options: object) -> str:
        return refuse("quantize", net, "--data", data, *judged, *options)

    return run


def test_a_missing_folder_is_named(quantize, tmp_path):
    line = quantize(tmp_path / "nosuch")
    assert f"no folder {tmp_path / 'nosuch'}" in line
    assert "check the path" in line


def test_a_file_in_place_of_a_folder_is_named(quantize, net):
    line = quantize(net)
    assert f"{net} is a file" in line
    assert "name the folder" in line


def test_a_folder_without_images_is_named_with_the_kinds_that_are_read(quantize, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    line = quantize(tmp_path)
    assert f"no images in {tmp_path}" in line
    assert "png, jpg" in line


def test_an_image_smaller_than_a_crop_is_named_with_both_sizes(quantize, tmp_path):
    write_picture(tmp_path / "large.png")
    small = write_picture(tmp_path / "small.png", width=100, height=40)
    line = quantize(tmp_path)
    assert f"{small} is 100x40, a crop needs 64x64" in line
    assert "remove it" in line


@pytest.mark.parametrize("content", [b"", b"no picture at all"], ids=["empty", "text"])
def test_an_image_that_cannot_be_read_is_named(quantize, tmp_path, content):
    broken = tmp_path / "broken.png"
    broken.write_bytes(content)
    line = quantize(tmp_path)
    assert f"{broken} cannot be read as an image" in line
    assert "replace it or remove it" in line


def test_too_few_windows_for_1000_crops_says_how_many_there_are(quantize, tmp_path):
    write_picture(tmp_path / "one.png", width=96, height=80)  # 3 by 2 windows at the least stride
    line = quantize(tmp_path)
    assert "6 windows of 64x64" in line
    assert "in 1 images, 1000 are needed" in line
    assert "--crops 6" in line


# Pixels are read when the graph that they are for is there already


@pytest.fixture
def prepared(refuse, net, judged):
    assert mofa("prepare", net, *judged, "--out", refuse.out).code == 0


@pytest.mark.usefixtures("prepared")
def test_an_image_of_one_value_is_named_with_it(quantize, tmp_path):
    Image.new("RGB", (128, 128), (51, 0, 255)).save(tmp_path / "flat.png")
    line = quantize(tmp_path, "--crops", "4")
    assert f"{tmp_path / 'flat.png'} has the same value everywhere (0.2, 0, 1)" in line
    assert "remove it" in line


@pytest.mark.usefixtures("prepared")
def test_an_image_that_is_cut_short_is_named(quantize, tmp_path):
    cut = write_picture(tmp_path / "cut.png")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    line = quantize(tmp_path, "--crops", "4")
    assert f"{cut} cannot be read as an image" in line


@pytest.mark.usefixtures("prepared")
def test_a_calibration_that_fails_saves_no_ranges(quantize, refuse, tmp_path):
    write_picture(tmp_path / "a.png")
    Image.new("RGB", (128, 128)).save(tmp_path / "b.png")
    quantize(tmp_path, "--crops", "4")
    assert list(refuse.out.rglob("ranges-*")) == []
    assert left_over(refuse.out) == []


# Images to judge on


@pytest.fixture(params=["prepare", "quantize", "optimize", "bench"])
def judging(request, refuse, net, pictures):
    """Run a command that judges on a folder and has to refuse it; give the line."""
    options = {
        "quantize": ("--data", pictures / "train", "--crops", "4"),
        "optimize": ("--target", "x86"),
        "bench": QUICK,
    }.get(request.param, ())

    def run(held_out: Path) -> str:
        return refuse(request.param, net, *options, "--held-out", held_out)

    return run


def test_a_folder_to_judge_on_without_its_parts_is_named(judging, tmp_path):
    assert f"no folder {tmp_path / 'input'}" in judging(tmp_path)


def test_an_image_without_its_truth_is_named(judging, tmp_path):
    write_picture(tmp_path / "input" / "a.png")
    write_picture(tmp_path / "target" / "b.png")
    line = judging(tmp_path)
    assert f"{tmp_path / 'input' / 'a.png'} has no partner in {tmp_path / 'target'}" in line
    assert "same name" in line


def test_a_pair_of_two_sizes_is_named_with_both(judging, tmp_path):
    write_picture(tmp_path / "input" / "a.png", width=100, height=90)
    write_picture(tmp_path / "target" / "a.png", width=200, height=180)
    line = judging(tmp_path)
    assert "is 100x90" in line
    assert "is 200x180" in line
