import io
import zipfile

import numpy as np
import pytest
from statistics_examples import same, statistics_of

from calib.statistics import (
    EVERY_VALUE,
    Sampling,
    load_statistics,
    merge_statistics,
    tensor_statistics,
)
from deploy.errors import DataError, OutputError


@pytest.fixture
def crops():
    rng = np.random.default_rng(0)
    shapes = (1, 3, 8, 8), (1, 5, 4, 4)
    return [[rng.normal(0, size, shape).astype(np.float32) for shape in shapes] for size in (1, 9)]


def test_limits_are_of_each_channel():
    values = np.random.default_rng(0).standard_normal((2, 3, 5, 7)).astype(np.float32)
    found = tensor_statistics(values, Sampling(), 256)
    np.testing.assert_array_equal(found.channel_least, values.min(axis=(0, 2, 3)))
    np.testing.assert_array_equal(found.channel_greatest, values.max(axis=(0, 2, 3)))
    assert (found.least, found.greatest) == (values.min(), values.max())


@pytest.mark.parametrize("shape", [(7,), (2, 6), (1, 4, 4, 2, 2)])
def test_tensors_of_another_rank_have_one_channel(shape):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    found = tensor_statistics(values, Sampling(), 256)
    assert (found.channel_least, found.channel_greatest) == (values.min(), values.max())


def test_small_tensors_are_counted_whole():
    values = np.zeros((1, 64, 16, 16), np.float32)
    assert tensor_statistics(values, Sampling(), 256).histogram.total == values.size


def test_of_large_tensors_a_fifteenth_is_counted():
    values = np.zeros((1, 16, 128, 128), np.float32)
    total = tensor_statistics(values, Sampling(), 256).histogram.total
    assert total == pytest.approx(values.size / 15, rel=0.02)


def test_every_value_is_counted_if_asked_for():
    values = np.zeros((1, 16, 128, 128), np.float32)
    assert tensor_statistics(values, EVERY_VALUE, 256).histogram.total == values.size


@pytest.mark.parametrize("shape", [(1, 16, 128, 128), (1, 128, 128, 16), (1, 128, 128, 12)])
def test_a_sample_holds_every_channel_and_every_phase_of_a_shuffle_alike(shape):
    places = np.indices(shape)
    parts = Sampling().of(np.arange(np.prod(shape)).reshape(shape))
    sampled = np.concatenate([part.ravel() for part in parts])
    for axis in (1, 2, 3):
        for phases in (2, 4, shape[axis]):
            found = np.bincount(places[axis].ravel()[sampled] % phases, minlength=phases)
            assert found.max() <= 1.5 * found.min()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_shows_in_a_limit(bad):
    values = np.zeros((1, 2, 4, 4), np.float32)
    values[0, 1, 2, 3] = bad
    found = tensor_statistics(values, Sampling(), 256)
    assert not np.isfinite([found.least, found.greatest]).all()


def test_saved_statistics_come_back_to_the_last_bit(tmp_path, crops):
    statistics = statistics_of(crops)
    statistics.save(tmp_path / "s.npz")
    loaded = load_statistics(tmp_path / "s.npz")
    assert same(loaded, statistics)
    assert loaded.origin == statistics.origin


def test_saving_twice_gives_the_same_bytes(tmp_path, crops):
    for name in ("a.npz", "b.npz"):
        statistics_of(crops).save(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "a.npz") as one, zipfile.ZipFile(tmp_path / "b.npz") as two:
        assert [one.read(name) for name in one.namelist()] == [
            two.read(name) for name in two.namelist()
        ]


def test_a_place_that_cannot_be_written_is_named(tmp_path, crops):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is not a folder"):
        statistics_of(crops).save(tmp_path / "file" / "s.npz")


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def cut(whole):
    return whole[: len(whole) // 2]


def flipped(whole):
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]


BROKEN = {
    "empty": lambda whole: b"",
    "cut": cut,
    "flipped": flipped,
    "text": lambda whole: b"{}",
    "other arrays": lambda whole: npz(a=np.zeros(3)),
    "pickle": lambda whole: npz(record=np.array([{"schema": 2}], object)),
    "no record": lambda whole: npz(record=np.array("[]")),
    "a newer schema": lambda whole: npz(record=np.array('{"schema": 99}')),
}


@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused(tmp_path, crops, damage):
    statistics_of(crops).save(tmp_path / "s.npz")
    (tmp_path / "s.npz").write_bytes(damage((tmp_path / "s.npz").read_bytes()))
    with pytest.raises(DataError, match=r"s\.npz holds no statistics"):
        load_statistics(tmp_path / "s.npz")


@pytest.mark.parametrize(
    "lost", ["channel_least", "channels", "range", "counts", "crop_least", "crop_input"]
)
def test_a_file_whose_arrays_do_not_fit_each_other_is_refused(tmp_path, crops, lost):
    statistics_of(crops).save(tmp_path / "s.npz")
    with np.load(tmp_path / "s.npz") as file:
        arrays = dict(file)
    (tmp_path / "s.npz").write_bytes(npz(**{**arrays, lost: arrays[lost][:-1]}))
    with pytest.raises(DataError, match="holds no statistics"):
        load_statistics(tmp_path / "s.npz")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"s\.npz holds no statistics"):
        load_statistics(tmp_path / "s.npz")


def test_parts_merge_to_the_whole(crops):
    parts = [statistics_of([crop], crops_sha256=str(place)) for place, crop in enumerate(crops)]
    assert same(merge_statistics(parts), statistics_of(crops))


def test_merged_statistics_are_of_other_crops_than_their_parts(crops):
    part = statistics_of(crops)
    assert merge_statistics([part, part]).origin.crops_sha256 != part.origin.crops_sha256


@pytest.mark.parametrize(
    "change",
    [{"model_sha256": "other"}, {"bins": 512}, {"onnxruntime_version": "1.0"}],
    ids=lambda change: next(iter(change)),
)
def test_statistics_of_another_origin_do_not_merge(crops, change):
    with pytest.raises(DataError, match=f"differ in {next(iter(change))}"):
        merge_statistics([statistics_of(crops), statistics_of(crops, **change)])


def test_statistics_of_other_tensors_do_not_merge(crops):
    with pytest.raises(DataError, match="different tensors"):
        merge_statistics([statistics_of(crops), statistics_of(crops, names=("a", "other"))])


def test_no_statistics_do_not_merge():
    with pytest.raises(DataError, match="no statistics to merge"):
        merge_statistics([])
