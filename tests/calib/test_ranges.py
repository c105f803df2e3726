import json
import random
import tracemalloc
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnxruntime import quantization
from onnxruntime.quantization.calibrate import MinMaxCalibrater
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from PIL import Image

from calib.crops import choose_crops
from calib.ranges import Ranges, cached_ranges, collect_ranges, load_ranges
from deploy.errors import DataError, OutputError


class Reader(quantization.CalibrationDataReader):
    def __init__(self, crops):
        self.left = [{"image": crop} for crop in crops]

    def get_next(self):
        return self.left.pop(0) if self.left else None


@pytest.fixture
def ranges():
    limits = {"a": (-1.5, float(np.float32(0.1))), "b": (0.0, 1e-30)}
    return Ranges(limits, count=3, crops_sha256="c", model_sha256="m")


def test_ranges_are_those_of_numpy_over_all_crops(tmp_path, arithmetic, crops):
    batch = crops(7)
    ranges = collect_ranges(arithmetic(tmp_path / "m.onnx"), batch)
    scaled = np.concatenate(batch) * np.float32(2.5)
    shifted = scaled - np.float32(1)
    expected = {
        "image": np.concatenate(batch),
        "restored": np.maximum(shifted, 0),
        "scaled": scaled,
        "shifted": shifted,
    }
    assert ranges.limits == {name: (all_.min(), all_.max()) for name, all_ in expected.items()}
    assert ranges.count == 7


def test_tensors_are_in_the_order_of_their_names(tmp_path, convolution, crops):
    limits = collect_ranges(convolution(tmp_path / "m.onnx"), crops(1)).limits
    assert list(limits) == sorted(limits)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), cut=st.integers(1, 5))
def test_ranges_of_all_crops_are_those_of_the_parts_in_any_order(
    tmp_path_factory, convolution, crops, seed, cut
):
    model = tmp_path_factory.getbasetemp() / "parts.onnx"
    if not model.exists():
        convolution(model)
    batch = crops(6, seed=seed)
    whole = collect_ranges(model, batch).limits
    random.Random(seed).shuffle(batch)
    first, second = (collect_ranges(model, part).limits for part in (batch[:cut], batch[cut:]))
    for name, limits in whole.items():
        lows, highs = zip(first[name], second[name], strict=True)
        assert limits == (min(lows), max(highs))


def test_ranges_are_those_that_onnxruntime_collects_itself(tmp_path, convolution, crops):
    model = convolution(tmp_path / "m.onnx")
    ours = collect_ranges(model, crops(5)).to_tensors_data()
    calibrator = MinMaxCalibrater(model, augmented_model_path=str(tmp_path / "augmented.onnx"))
    calibrator.augment_graph()
    calibrator.create_inference_session()
    calibrator.collect_data(Reader(crops(5)))
    theirs = calibrator.compute_data()
    assert set(ours.keys()) == set(theirs.keys())
    for name in ours:
        assert ours[name].range_value == theirs[name].range_value
        assert ours[name].lowest.dtype == theirs[name].lowest.dtype
        assert ours[name].lowest.shape == theirs[name].lowest.shape


def test_quantizing_with_them_gives_what_quantize_static_gives(tmp_path, convolution, crops):
    model = convolution(tmp_path / "m.onnx")
    kind = quantization.QuantType.QInt8
    quantization.quantize_static(
        model, tmp_path / "theirs.onnx", Reader(crops(5)), per_channel=True
    )
    quantizer = QDQQuantizer(
        quantization.quant_utils.load_model_with_shape_infer(model),
        per_channel=True,
        reduce_range=False,
        weight_qType=kind.tensor_type,
        activation_qType=kind.tensor_type,
        tensors_range=collect_ranges(model, crops(5)).to_tensors_data(),
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=["Conv", "Relu", "Add"],
        extra_options={},
    )
    quantizer.quantize_model()
    ours, theirs = (
        {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
        for graph in (quantizer.model.model.graph, onnx.load(tmp_path / "theirs.onnx").graph)
    )
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])


def test_progress_is_told_after_each_crop(tmp_path, arithmetic, crops):
    told = []
    collect_ranges(arithmetic(tmp_path / "m.onnx"), crops(3), on_crop=told.append)
    assert told == [1, 2, 3]


def test_no_crops_are_refused(tmp_path, arithmetic):
    with pytest.raises(DataError, match=r"no crops to calibrate .*m\.onnx"):
        collect_ranges(arithmetic(tmp_path / "m.onnx"), iter([]))


def test_a_bad_crop_in_the_middle_is_named_by_its_place(tmp_path, arithmetic, crops):
    batch = crops(5)
    batch[3][0, 0, 0, 1] = np.inf
    with pytest.raises(DataError, match="crop 3 holds"):
        collect_ranges(arithmetic(tmp_path / "m.onnx"), batch)


def test_without_a_hash_the_crops_values_are_hashed(tmp_path, arithmetic, crops):
    model = arithmetic(tmp_path / "m.onnx")
    first, again, other = (
        collect_ranges(model, crops(2, seed=seed)).crops_sha256 for seed in (0, 0, 1)
    )
    assert first == again != other


def collect_peak_bytes(model, crops, count):
    tracemalloc.start()
    collect_ranges(model, (crop for seed in range(count) for crop in crops(1, 64, seed)))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak_bytes


def test_five_times_the_crops_take_no_more_memory_to_calibrate(tmp_path, write_model, crops):
    nodes = [onnx.helper.make_node("Relu", ["image"], ["restored"])]
    model = write_model(tmp_path / "m.onnx", nodes, shape=(1, 3, 64, 64))
    collect_peak_bytes(model, crops, 10)  # what is loaded once
    few, many = (collect_peak_bytes(model, crops, count) for count in (10, 50))
    assert many < 1.1 * few


def test_saved_ranges_come_back_to_the_last_bit(tmp_path, ranges):
    ranges.save(tmp_path / "r.json")
    assert load_ranges(tmp_path / "r.json", model_sha256="m", crops_sha256="c") == ranges


@pytest.mark.parametrize(("model", "crops_"), [("other", "c"), ("m", "other")])
def test_ranges_of_another_model_or_other_crops_are_not_loaded(tmp_path, ranges, model, crops_):
    ranges.save(tmp_path / "r.json")
    assert load_ranges(tmp_path / "r.json", model_sha256=model, crops_sha256=crops_) is None


@pytest.mark.parametrize("change", [{"onnxruntime_version": "1.0"}, {"method": "entropy"}])
def test_ranges_of_another_runtime_or_method_are_not_loaded(tmp_path, ranges, change):
    replace(ranges, **change).save(tmp_path / "r.json")
    assert load_ranges(tmp_path / "r.json", model_sha256="m", crops_sha256="c") is None


def test_ranges_of_a_newer_schema_are_not_loaded(tmp_path, ranges):
    ranges.save(tmp_path / "r.json")
    record = json.loads((tmp_path / "r.json").read_text())
    (tmp_path / "r.json").write_text(json.dumps({**record, "schema": record["schema"] + 1}))
    assert load_ranges(tmp_path / "r.json", model_sha256="m", crops_sha256="c") is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"schema": 1}', '{"schema": 1, "limits": {"a": 3}}']
)
def test_a_broken_cache_file_is_not_loaded(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    assert load_ranges(tmp_path / "r.json", model_sha256="m", crops_sha256="c") is None


def test_a_missing_cache_file_is_not_loaded(tmp_path):
    assert load_ranges(tmp_path / "r.json", model_sha256="m", crops_sha256="c") is None


@pytest.fixture
def setting(tmp_path, write_pictures, arithmetic):
    """(model, folder of images, cache folder)."""
    images = write_pictures(tmp_path / "images", {"a.png": (16, 16), "b.png": (16, 16)})
    return arithmetic(tmp_path / "m.onnx"), images, tmp_path / "cache"


def cached(setting):
    """Give the ranges, and how many crops were run for them."""
    model, images, cache = setting
    crop_set = choose_crops(images, count=4, side=8, stride=8)
    told = []
    return cached_ranges(model, crop_set, cache, on_crop=told.append), len(told)


def test_ranges_are_collected_once(setting):
    first, crops_run = cached(setting)
    assert crops_run == 4
    assert cached(setting) == (first, 0)


def test_ranges_carry_the_hash_of_the_crop_set(setting):
    crop_set = choose_crops(setting[1], count=4, side=8, stride=8)
    assert cached(setting)[0].crops_sha256 == crop_set.sha256


def test_another_model_is_calibrated_anew(setting, convolution):
    cached(setting)
    convolution(setting[0])
    assert cached(setting)[1] == 4


def test_a_changed_image_is_calibrated_anew(setting):
    cached(setting)
    with Image.open(setting[1] / "a.png") as image:
        Image.fromarray(255 - np.asarray(image)).save(setting[1] / "a.png")
    assert cached(setting)[1] == 4


def test_a_broken_cache_is_collected_anew_and_mended(setting):
    first, _ = cached(setting)
    (file,) = setting[2].iterdir()
    file.write_text(file.read_text()[:50])
    assert cached(setting) == (first, 4)
    assert cached(setting) == (first, 0)


def test_a_run_that_fails_leaves_no_cache_file(setting):
    Image.new("L", (16, 16)).save(setting[1] / "b.png")
    with pytest.raises(DataError, match="same value everywhere"):
        cached(setting)
    assert not setting[2].exists()


def test_a_cache_that_is_a_file_is_refused(setting):
    setting[2].touch()
    with pytest.raises(OutputError, match="cache is not a folder"):
        cached(setting)
