import json
import shutil
import tempfile
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from calib.crops import STRIDES_PX, Crop, choose_crops, read_crops
from deploy.errors import DataError, UsageError

SIDES = st.integers(4, 24)


def save_blank(path, height, width):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (width, height)).save(path)


def all_windows(size, side, stride):
    """Say it again, by testing every position: those on the grid, and those at the far border."""
    tops, lefts = (
        [at for at in range(length - side + 1) if at % stride == 0 or at == length - side]
        for length in size
    )
    return {(top, left) for top in tops for left in lefts}


@st.composite
def choices(draw):
    """Sizes of images, a side, a stride, and a count that they can give."""
    side = draw(st.integers(1, 4))
    length = st.integers(side, 24)
    sizes = draw(st.lists(st.tuples(length, length), min_size=1, max_size=5))
    stride = draw(st.integers(1, 9))
    most = sum(len(all_windows(size, side, stride)) for size in sizes)
    return sizes, side, stride, draw(st.integers(1, most)), draw(st.integers(0, 2**32))


def chosen(choice, where="data"):
    """Choose from blank images; give the set and each image's (height, width) by its name."""
    sizes, side, stride, count, seed = choice
    with tempfile.TemporaryDirectory() as folder:
        named = {f"{number}.bmp": size for number, size in enumerate(sizes)}
        for name, size in named.items():
            save_blank(Path(folder, where, name), *size)
        crop_set = choose_crops(
            Path(folder, where), count=count, side=side, stride=stride, seed=seed
        )
    return crop_set, named


quick = settings(deadline=None, max_examples=60)


@quick
@given(choices())
def test_every_crop_is_a_window_of_the_grid_or_flush_with_the_border(choice):
    crop_set, sizes = chosen(choice)
    for crop in crop_set.crops:
        windows = all_windows(sizes[crop.image], crop_set.side, crop_set.stride)
        assert (crop.top, crop.left) in windows


@quick
@given(choices())
def test_there_are_as_many_crops_as_asked_for_and_none_twice(choice):
    crop_set, _ = chosen(choice)
    assert len(set(crop_set.crops)) == len(crop_set.crops) == choice[3]


@quick
@given(choices())
def test_images_that_have_more_windows_give_the_same_number_but_for_one(choice):
    crop_set, sizes = chosen(choice)
    given_by = Counter(crop.image for crop in crop_set.crops)
    windows = {name: len(all_windows(size, *choice[1:3])) for name, size in sizes.items()}
    able = [given_by[name] for name in sizes if given_by[name] < windows[name]]
    exhausted = [given_by[name] for name in sizes if given_by[name] == windows[name]]
    assert max(able, default=0) - min(able, default=0) <= 1
    assert max(exhausted, default=0) <= min(able, default=10**9) + 1


@quick
@given(choices())
def test_the_same_seed_gives_the_same_set_wherever_the_folder_lies(choice):
    first, _ = chosen(choice)
    again, _ = chosen(choice, where="else/where")
    assert replace(again, folder=first.folder) == first


@quick
@given(choices())
def test_crops_come_image_by_image_and_from_the_top_left(choice):
    crop_set, _ = chosen(choice)
    order = [(crop.image, crop.top, crop.left) for crop in crop_set.crops]
    assert order == sorted(order)


def test_choosing_every_window_gives_the_whole_grid(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (21, 16)})
    crops = choose_crops(tmp_path, count=12, side=8, stride=5).crops
    corners = [(crop.top, crop.left) for crop in crops]
    assert corners == [(top, left) for top in (0, 5, 10, 13) for left in (0, 5, 8)]


def test_an_image_of_exactly_the_crop_gives_one_window(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (8, 8)})
    assert choose_crops(tmp_path, count=1, side=8).crops == (Crop("a.png", 0, 0, 8),)


@pytest.mark.parametrize(("count", "stride"), [(1, 256), (4, 256), (5, 128), (10, 64), (26, 32)])
def test_the_largest_stride_with_enough_windows_is_taken(tmp_path, count, stride):
    save_blank(tmp_path / "a.png", 512, 512)
    assert choose_crops(tmp_path, count=count, side=256).stride == stride


def test_a_stride_that_was_asked_for_is_kept(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (40, 40)})
    assert choose_crops(tmp_path, count=2, side=8, stride=7).stride == 7


def test_another_seed_gives_another_choice(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (64, 64)})
    first, other = (choose_crops(tmp_path, count=8, side=8, seed=seed) for seed in (0, 1))
    assert first.crops != other.crops
    assert first.sha256 != other.sha256


def test_fewer_crops_than_images_are_not_all_from_the_first(tmp_path):
    names = [f"{number:03}.bmp" for number in range(60)]
    for name in names:
        save_blank(tmp_path / name, 8, 8)
    used = [crop.image for crop in choose_crops(tmp_path, count=20, side=8).crops]
    assert len(set(used)) == 20
    assert used != names[:20]


def test_an_image_more_leaves_the_choice_within_the_others_alone(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (64, 64)})
    before = choose_crops(tmp_path, count=5, side=8, stride=8)
    write_pictures(tmp_path, {"b.png": (64, 64)})
    after = choose_crops(tmp_path, count=10, side=8, stride=8)
    assert before.crops == after.crops[:5]


def test_the_hash_changes_with_the_pixels_of_an_image_in_use(tmp_path, write_pictures):
    before = choose_crops(write_pictures(tmp_path, {"a.png": (16, 16)}), count=1, side=8)
    with Image.open(tmp_path / "a.png") as image:
        Image.fromarray(255 - np.asarray(image)).save(tmp_path / "a.png")
    after = choose_crops(tmp_path, count=1, side=8)
    assert before.crops == after.crops
    assert before.sha256 != after.sha256


def test_the_hash_changes_with_the_name_of_an_image_in_use(tmp_path, write_pictures):
    before = choose_crops(write_pictures(tmp_path, {"a.png": (8, 8)}), count=1, side=8)
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    assert choose_crops(tmp_path, count=1, side=8).sha256 != before.sha256


def test_the_hash_is_known(tmp_path):
    """Pinned, because caches on other machines are found by it."""
    (tmp_path / "a.bmp").write_bytes(
        bytes.fromhex("424d3a000000000000003600000028000000010000000100000001001800000000000400")
        + bytes(18)
        + b"\1\2\3\0"
    )
    digest = choose_crops(tmp_path, count=1, side=1).sha256
    assert digest == "0b0a8c2f5f8ac910d07a6b233e48bfb24e6470d0bc97f7ad39c35a216dbd1c0e"


def test_a_record_is_json_with_one_line_an_image_and_no_absolute_path(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (16, 16), "b/c.png": (16, 16)})
    crop_set = choose_crops(tmp_path, count=8, side=8, stride=8)
    record = json.loads(json.dumps(crop_set.record()))
    assert record.pop("sha256") == crop_set.sha256
    corners = "0,0 0,8 8,0 8,8"
    assert record == {
        "crops": 8,
        "side": 8,
        "stride": 8,
        "seed": 0,
        "top_left": {"a.png": corners, "b/c.png": corners},
    }


def test_crops_are_read_as_the_pixels_they_name(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (20, 30), "b.png": (16, 16)})
    crop_set = choose_crops(tmp_path, count=9, side=8, stride=4)
    crops = list(read_crops(crop_set))
    assert len(crops) == 9
    for crop, pixels in zip(crop_set.crops, crops, strict=True):
        with Image.open(tmp_path / crop.image) as image:
            window = np.asarray(image)[crop.top : crop.top + 8, crop.left : crop.left + 8]
        np.testing.assert_allclose(pixels[0].transpose(1, 2, 0), window / 255, atol=1e-6)


def test_crops_go_through_the_input_of_another_network_and_get_another_hash(
    tmp_path, write_pictures
):
    write_pictures(tmp_path, {"a.png": (20, 16), "b.png": (16, 16)})
    plain = choose_crops(tmp_path, count=3, side=16, stride=4)
    other, third = (plain.through(lambda window, name: (window.shape, name), key) for key in "xy")
    assert list(read_crops(other)) == [((16, 16, 3), name) for name in ("a.png", "a.png", "b.png")]
    assert len({plain.sha256, other.sha256, third.sha256}) == 3


@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_crops_are_contiguous_float32_batches_of_one(tmp_path, mode):
    levels = np.arange(256).reshape(16, 16)
    samples = levels.astype(np.uint16) if mode == "I;16" else levels.astype(np.uint8)
    Image.fromarray(samples).convert(mode).save(tmp_path / "a.png")
    (crop,) = read_crops(choose_crops(tmp_path, count=1, side=8))
    assert crop.shape == (1, 3, 8, 8)
    assert crop.dtype == np.float32
    assert crop.flags["C_CONTIGUOUS"]


def test_a_turned_image_is_cropped_as_it_is_displayed(tmp_path, picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(16, 8)).save(tmp_path / "a.png", exif=exif)
    crops = choose_crops(tmp_path, count=2, side=8, stride=8)
    assert [(crop.top, crop.left) for crop in crops.crops] == [(0, 0), (0, 8)]
    assert len(list(read_crops(crops))) == 2


def read_peak_bytes(folder, count):
    crop_set = choose_crops(folder, count=count, side=64, stride=8)
    tracemalloc.start()
    for _ in read_crops(crop_set):
        pass
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak_bytes


def test_five_times_the_crops_take_no_more_memory(tmp_path, write_pictures):
    write_pictures(tmp_path, {f"{number}.bmp": (256, 256) for number in range(10)})
    read_peak_bytes(tmp_path, 10)  # what is loaded once
    few, many = (read_peak_bytes(tmp_path, count) for count in (10, 50))
    assert many < 1.1 * few


def test_five_times_the_images_take_no_more_memory(tmp_path, write_pictures):
    for count in (10, 50):
        sizes = {f"{number}.bmp": (256, 256) for number in range(count)}
        write_pictures(tmp_path / str(count), sizes)
    read_peak_bytes(tmp_path / "10", 10)
    few, many = (read_peak_bytes(tmp_path / str(count), count) for count in (10, 50))
    assert many < 1.1 * few


def test_an_image_smaller_than_a_crop_is_named_with_both_sizes(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (16, 16), "low.png": (7, 30)})
    with pytest.raises(DataError, match=r"low\.png is 30x7, a crop needs 8x8: remove it"):
        choose_crops(tmp_path, count=1, side=8)


def test_too_few_windows_are_counted_at_the_smallest_stride(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (48, 48), "b.png": (32, 32)})
    with pytest.raises(
        DataError, match=r"has 5 windows of 32x32 at stride 16 in 2 images, 6 .*--crops 5"
    ):
        choose_crops(tmp_path, count=6, side=32)
    assert STRIDES_PX[-1] == 16


def test_too_few_windows_are_counted_at_the_stride_that_was_asked_for(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (48, 48)})
    with pytest.raises(DataError, match="has 1 windows of 48x48 at stride 3 in 1 images"):
        choose_crops(tmp_path, count=2, side=48, stride=3)


@pytest.mark.parametrize("level", [0, 255, 90])
def test_an_image_of_one_value_is_named(tmp_path, level):
    Image.new("RGB", (16, 16), (level, 7, 7)).save(tmp_path / "flat.png")
    crop_set = choose_crops(tmp_path, count=2, side=8, stride=8)
    with pytest.raises(DataError, match=r"flat\.png has the same value everywhere"):
        next(read_crops(crop_set))


def test_a_flat_crop_of_a_varied_image_is_used(tmp_path):
    pixels = np.zeros((16, 16), np.uint8)
    pixels[15, 15] = 1
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert len(list(read_crops(choose_crops(tmp_path, count=4, side=8, stride=8)))) == 4


def test_an_unreadable_image_is_named_when_crops_are_chosen(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (16, 16)})
    (tmp_path / "b.png").write_bytes(b"not a png")
    with pytest.raises(DataError, match=r"b\.png cannot be read"):
        choose_crops(tmp_path, count=1, side=8)


def test_a_truncated_image_is_named_when_crops_are_read(tmp_path, write_pictures):
    path = write_pictures(tmp_path, {"a.png": (64, 64)}) / "a.png"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"a\.png cannot be read as an image"):
        list(read_crops(choose_crops(tmp_path, count=1, side=8)))


def test_an_image_that_shrank_after_the_choice_is_named(tmp_path, write_pictures):
    write_pictures(tmp_path, {"a.png": (64, 64)})
    crop_set = choose_crops(tmp_path, count=49, side=16, stride=8)
    write_pictures(tmp_path, {"a.png": (32, 32)})
    with pytest.raises(DataError, match=r"a\.png changed after its crops were chosen"):
        list(read_crops(crop_set))


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=f"no images in {tmp_path}"):
        choose_crops(tmp_path, count=1)


@pytest.mark.parametrize("option", [{"count": 0}, {"side": 0}, {"stride": 0}, {"seed": -1}])
def test_an_option_out_of_range_is_named(tmp_path, write_pictures, option):
    write_pictures(tmp_path, {"a.png": (16, 16)})
    ((name, value),) = option.items()
    with pytest.raises(UsageError, match=f"{name} of crops is {value}: pass"):
        choose_crops(tmp_path, **{"count": 1, "side": 8, **option})


def test_a_copied_folder_gives_the_same_hash(tmp_path, write_pictures):
    write_pictures(tmp_path / "here", {"a.png": (16, 16), "b/c.png": (20, 20)})
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    here, there = (choose_crops(tmp_path / name, count=6, side=8) for name in ("here", "there"))
    assert here.sha256 == there.sha256
