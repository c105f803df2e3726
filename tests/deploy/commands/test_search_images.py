import shutil

import numpy as np
import pytest

from calib.images import load_image
from deploy.commands.search_images import (
    FEWEST_IMAGES,
    MOST_HELD_BACK,
    WINDOWS,
    held_back,
    search_probe,
)
from deploy.pipeline import RGB

SIZE = (64, 64)


def crowd(photographs, count: int):
    """Give a folder with so many copies of one photograph."""
    folder = photographs.parent / "crowd"
    folder.mkdir()
    for place in range(count):
        shutil.copy(photographs / "input" / "cat0.png", folder / f"{place:03}.png")
    return folder


def test_images_are_held_back_from_all_over_the_folder(photographs, tmp_path):
    back = held_back(tmp_path, photographs / "input", RGB)
    assert back == ["cat2.png", "cat3.png"]


def test_of_few_images_none_is_held_back(photographs, tmp_path):
    assert held_back(tmp_path, crowd(photographs, FEWEST_IMAGES - 1), RGB) == []


def test_of_many_images_a_bounded_number_is_held_back(photographs, tmp_path):
    back = held_back(tmp_path, crowd(photographs, 100), RGB)
    assert len(back) == len(set(back)) == MOST_HELD_BACK


def test_pairs_of_the_user_give_windows_of_the_models_size_with_their_truth(
    line, photographs, tmp_path
):
    probe = search_probe(tmp_path, None, line.fp32, SIZE, images=(), search_on=photographs, seed=0)
    assert len(probe.pairs) == 18  # three of each of six: at least WINDOWS, as many of each
    assert len(probe.pairs) >= WINDOWS
    assert {one.shape for one in probe.crops} == {(1, 3, *SIZE)}
    assert {pair.sharp.shape for pair in probe.pairs} == {(*SIZE, 3)}


def test_a_window_and_its_truth_are_of_the_same_place(line, photographs, tmp_path):
    probe = search_probe(tmp_path, None, line.fp32, SIZE, images=(), search_on=photographs, seed=0)
    first = probe.pairs[0]
    whole = {kind: load_image(photographs / kind / "cat0.png") for kind in ("input", "target")}
    top, left = (80 - 64) // 4, (96 - 64) // 4  # the first of three inner points of the diagonal
    at = np.s_[top : top + 64, left : left + 64]
    np.testing.assert_array_equal(first.degraded, whole["input"][at])
    np.testing.assert_array_equal(first.sharp, whole["target"][at])


@pytest.mark.parametrize("images", [["cat2.png", "cat3.png"], []], ids=["held back", "of few"])
def test_without_truth_crops_come_from_the_images_held_back(line, photographs, tmp_path, images):
    probe = search_probe(
        tmp_path, photographs / "input", line.fp32, SIZE, images=images, search_on=None, seed=0
    )
    assert len(probe.crops) == (WINDOWS if not images else WINDOWS // 2)  # two small images
    assert not probe.pairs
    sources = [load_image(photographs / "input" / name) for name in images or ["cat0.png"]]
    flat = [image.transpose(2, 0, 1) for image in sources]
    inside = [any(_holds(image, crop[0]) for image in flat) for crop in probe.crops]
    assert all(inside) if images else not all(inside)


def _holds(image: np.ndarray, crop: np.ndarray) -> bool:
    windows = np.lib.stride_tricks.sliding_window_view(image, crop.shape)[0]
    return bool((windows == crop).all(axis=(-3, -2, -1)).any())
