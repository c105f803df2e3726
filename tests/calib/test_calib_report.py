import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statistics_examples import statistics_of

from calib.crops import Crop
from calib.report import OUTLIER_COLUMNS, outlier_crops, saturation, share_above, share_below
from calib.thresholds import ranges


def arrays(*scales, shape=(1, 2, 8, 8)):
    """One crop: an array a tensor, uniform in [-scale, scale] with both ends in it."""
    rng = np.random.default_rng(0)
    crop = [rng.uniform(-scale, scale, shape).astype(np.float32) for scale in scales]
    for array, scale in zip(crop, scales, strict=True):
        array.flat[:2] = -scale, scale
    return crop


def crops_of(*images):
    return [Crop(image, 8 * place, 4, 8) for place, image in enumerate(images)]


def test_minmax_clips_nothing():
    statistics = statistics_of([arrays(1, 30)])
    table = saturation(statistics, ranges(statistics, "minmax"))
    assert (table[["below", "above", "clipped"]] == 0).all(axis=None)


def test_the_share_that_a_range_clips_is_that_of_the_values():
    statistics = statistics_of([arrays(1, 1, shape=(1, 2, 100, 100))])
    table = saturation(statistics, {"a": (-0.5, 0.8), "b": (-2.0, 2.0)}).set_index("tensor")
    assert table.loc["a", "below"] == pytest.approx(0.25, abs=0.01)
    assert table.loc["a", "above"] == pytest.approx(0.10, abs=0.01)
    assert table.loc["a", "clipped"] == table.loc["a", "below"] + table.loc["a", "above"]
    assert table.loc["b", "clipped"] == 0


def test_the_most_clipped_tensor_comes_first():
    statistics = statistics_of([arrays(1, 1)])
    table = saturation(statistics, {"a": (-0.9, 0.9), "b": (-0.2, 0.2)})
    assert list(table["tensor"]) == ["b", "a"]


def test_tensors_without_a_range_have_no_row():
    assert list(saturation(statistics_of([arrays(1, 1)]), {"b": (0, 1)})["tensor"]) == ["b"]


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_shares_below_and_above_a_limit_are_all(one, other):
    histogram = statistics_of([arrays(2, 2)]).tensors["a"].histogram
    assert share_below(histogram, one) + share_above(histogram, one) == pytest.approx(1)
    low, high = sorted((one, other))
    assert share_below(histogram, low) <= share_below(histogram, high)


def test_a_crop_that_sets_a_range_alone_is_named_with_its_image_and_place():
    statistics = statistics_of([arrays(1, 1), arrays(1, 1), arrays(1, 8), arrays(1, 1)])
    table = outlier_crops(statistics, crops_of("x.png", "x.png", "y.png", "z.png"))
    (row,) = table.to_dict("records")
    assert row == {
        "tensor": "b",
        "crop": 2,
        "image": "y.png",
        "top": 16,
        "left": 4,
        "least": -8,
        "greatest": 8,
        "least_of_others": -1,
        "greatest_of_others": 1,
        "widening": 8,
    }


def test_crops_of_one_image_do_not_vouch_for_each_other():
    statistics = statistics_of([arrays(1, 1), arrays(1, 7), arrays(1, 8)])
    table = outlier_crops(statistics, crops_of("x.png", "y.png", "y.png"))
    assert table[["tensor", "crop", "widening"]].to_numpy().tolist() == [["b", 2, 8]]


def test_the_most_widened_tensor_comes_first():
    statistics = statistics_of([arrays(1, 1), arrays(3, 1), arrays(1, 9)])
    table = outlier_crops(statistics, crops_of("x", "y", "z"))
    assert list(zip(table["tensor"], table["image"], strict=True)) == [("b", "z"), ("a", "y")]


def test_a_side_that_only_one_image_has_widens_the_range():
    positive = [np.abs(one) for one in arrays(1, 1)]
    statistics = statistics_of([positive, positive, arrays(1, 1)])
    table = outlier_crops(statistics, crops_of("x", "y", "z"))
    assert list(table["widening"]) == [2, 2]
    assert list(table["crop"]) == [2, 2]


def test_a_tensor_that_is_zero_in_all_other_images_widens_without_end():
    zeros = [np.zeros((1, 2, 8, 8), np.float32) for _ in range(2)]
    statistics = statistics_of([zeros, arrays(0, 1)])
    table = outlier_crops(statistics, crops_of("x", "y"))
    assert table[["tensor", "widening"]].to_numpy().tolist() == [["b", np.inf]]


def test_of_one_image_nothing_can_be_said():
    table = outlier_crops(statistics_of([arrays(1, 1), arrays(1, 8)]), crops_of("x", "x"))
    assert table.empty and list(table.columns) == list(OUTLIER_COLUMNS)


def test_crops_of_another_number_are_refused():
    with pytest.raises(ValueError, match="3 crops for statistics of 1"):
        outlier_crops(statistics_of([arrays(1, 1)]), crops_of("x", "y", "z"))
