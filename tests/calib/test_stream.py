import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image
from statistics_examples import same

from calib import stream
from calib.crops import choose_crops, read_crops, rgb_input
from calib.statistics import EVERY_VALUE, merge_statistics
from calib.stream import collect_statistics, stream_statistics
from deploy.errors import DataError, GraphError, OutputError, UsageError


@pytest.fixture
def write_chain(write_model):
    """A model of named single-input operators, in a row; constants by name."""

    def write(path, steps, shape=(1, 3, 8, 8), **constants):
        names = ["image", *(name for _, _, name in steps)]
        nodes = [
            helper.make_node(op, [before, *more], [after])
            for (op, more, after), before in zip(steps, names, strict=False)
        ]
        return write_model(path, nodes, shape, **constants)

    return write


@pytest.fixture(scope="session")
def network(tmp_path_factory, convolution):
    """Two convolutions with a skip around them."""
    return convolution(tmp_path_factory.mktemp("network") / "m.onnx")


def test_every_float_activation_is_read_in_the_order_of_the_graph(network, crops):
    tensors = stream_statistics(network, crops(1)).tensors
    assert list(tensors) == ["image", "wide", "active", "residual", "restored"]


def test_only_the_tensors_asked_for_are_read_in_the_order_of_the_graph(network, crops):
    tensors = stream_statistics(network, crops(1), tensors=["residual", "image", "wide"]).tensors
    assert list(tensors) == ["image", "wide", "residual"]


def test_constants_and_what_is_made_of_them_are_not_read(tmp_path, write_model, crops):
    nodes = [
        helper.make_node("Exp", ["weights"], ["folded"]),
        helper.make_node("Mul", ["image", "folded"], ["restored"]),
    ]
    model = write_model(tmp_path / "m.onnx", nodes, weights=np.ones((1, 3, 1, 1)))
    assert list(stream_statistics(model, crops(1)).tensors) == ["image", "restored"]


def test_statistics_are_those_of_numpy_over_all_crops(tmp_path, arithmetic, crops):
    batch = crops(7)
    statistics = stream_statistics(arithmetic(tmp_path / "m.onnx"), batch, sampling=EVERY_VALUE)
    whole = np.concatenate(batch)
    expected = {"image": whole, "scaled": whole * np.float32(2.5)}
    expected["shifted"] = expected["scaled"] - np.float32(1)
    expected["restored"] = np.maximum(expected["shifted"], 0)
    for place, (name, values) in enumerate(expected.items()):
        one = statistics.tensors[name]
        np.testing.assert_array_equal(one.channel_least, values.min(axis=(0, 2, 3)))
        np.testing.assert_array_equal(one.channel_greatest, values.max(axis=(0, 2, 3)))
        counted = np.histogram(values[values < one.greatest], one.histogram.edges)[0]
        counted[-1] += (values == one.greatest).sum()
        np.testing.assert_array_equal(one.histogram.counts, counted)
        np.testing.assert_array_equal(statistics.crop_least[:, place], values.min(axis=(1, 2, 3)))
        np.testing.assert_array_equal(
            statistics.crop_greatest[:, place], values.max(axis=(1, 2, 3))
        )
    np.testing.assert_allclose(statistics.crop_input[:, 1], whole.mean(axis=(1, 2, 3)), rtol=1e-6)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000), cut=st.integers(1, 5))
def test_the_parts_of_a_set_in_any_order_merge_to_the_whole(network, crops, seed, cut):
    batch = [
        crop * scale for crop, scale in zip(crops(6, seed=seed), (1, 9, 0.1, 3, 2, 5), strict=True)
    ]
    order = np.random.default_rng(seed).permutation(6)
    whole = stream_statistics(network, [batch[place] for place in order])
    parts = [
        stream_statistics(network, [batch[place] for place in part])
        for part in (order[:cut], order[cut:])
    ]
    assert same(merge_statistics(parts), whole)
    first = stream_statistics(network, batch)
    unordered = replace(
        whole,
        **{
            name: getattr(whole, name)[np.argsort(order)]
            for name in ("crop_least", "crop_greatest", "crop_input")
        },
    )
    assert same(unordered, first)


def test_a_model_in_parts_gives_what_it_gives_whole(network, crops):
    whole = stream_statistics(network, crops(3))
    parts = stream_statistics(network, crops(3), fetch_bytes=1)
    for name, one in whole.tensors.items():
        assert parts.tensors[name].least == pytest.approx(one.least, rel=1e-5)
        assert parts.tensors[name].greatest == pytest.approx(one.greatest, rel=1e-5)


def test_a_model_with_its_weights_beside_it_is_read(tmp_path, network, crops):
    model = tmp_path / "m.onnx"
    onnx.save(onnx.load(network), model, save_as_external_data=True, size_threshold=0)
    assert same(stream_statistics(model, crops(2)), stream_statistics(network, crops(2)))


def test_nothing_is_written_beside_the_model(tmp_path, arithmetic, crops):
    stream_statistics(arithmetic(tmp_path / "m.onnx"), crops(1))
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (0, 1, 4, 4), (0, 2, 7, 7)])
def test_a_nan_is_named_with_its_tensor_and_crop_wherever_it_stands(
    tmp_path, write_chain, crops, place
):
    steps = [("Sub", ["limit"], "below"), ("Sqrt", [], "root"), ("Relu", [], "restored")]
    model = write_chain(tmp_path / "m.onnx", steps, limit=-1.0)
    batch = crops(5)
    batch[4][place] = -3
    with pytest.raises(DataError, match=r"root of .*m\.onnx is NaN or infinite on crop 4"):
        stream_statistics(model, batch)


def test_an_infinity_inside_is_named_even_if_the_output_is_finite(tmp_path, write_chain, crops):
    steps = [("Reciprocal", [], "inverse"), ("Sigmoid", [], "restored")]
    (crop,) = crops(1)
    crop[0, 1, 2, 3] = 0
    with pytest.raises(DataError, match=r"inverse of .* is NaN or infinite on crop 0"):
        stream_statistics(write_chain(tmp_path / "m.onnx", steps), [crop])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_crop_that_is_not_finite_is_named(network, crops, bad):
    batch = crops(3)
    batch[2][0, 0, 3, 3] = bad
    with pytest.raises(DataError, match="crop 2 holds NaN or infinity"):
        stream_statistics(network, batch)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (3, 8, 8), (1, 1, 8, 8)])
def test_a_crop_of_another_shape_is_named_with_both(network, crops, shape):
    text = "x".join(map(str, shape))
    with pytest.raises(DataError, match=f"crop 1 is float32 {text}, .* takes float32 1x3x8x8"):
        stream_statistics(network, [*crops(1), np.zeros(shape, np.float32)])


def test_a_crop_of_another_type_is_named(network):
    with pytest.raises(DataError, match="crop 0 is float64"):
        stream_statistics(network, [np.zeros((1, 3, 8, 8))])


def test_no_crops_are_refused(network):
    with pytest.raises(DataError, match=r"no crops to calibrate .*m\.onnx"):
        stream_statistics(network, iter([]))


def test_crops_of_one_value_each_are_refused(network):
    flat = [np.full((1, 3, 8, 8), level, np.float32) for level in (0, 0.5)]
    with pytest.raises(DataError, match=r"each of the 2 crops .* holds one value, the first 0:"):
        stream_statistics(network, flat)


def test_crops_that_are_all_the_same_are_refused(network, crops):
    with pytest.raises(DataError, match=r"all 3 crops .* are the same picture"):
        stream_statistics(network, crops(1) * 3)


def test_one_flat_crop_among_others_is_taken(network, crops):
    flat = np.zeros((1, 3, 8, 8), np.float32)
    assert stream_statistics(network, [flat, *crops(1)]).count == 2


@pytest.mark.parametrize("kinds", [[TensorProto.FLOAT] * 2, [TensorProto.FLOAT16]])
def test_a_model_that_takes_no_single_float32_image_is_refused(tmp_path, kinds):
    names = ["image", "mask"][: len(kinds)]
    inputs = [
        helper.make_tensor_value_info(name, kind, [1, 3, 8, 8])
        for name, kind in zip(names, kinds, strict=True)
    ]
    node = helper.make_node("Add", [names[0], names[-1]], ["restored"])
    output = helper.make_tensor_value_info("restored", kinds[0], [1, 3, 8, 8])
    graph = helper.make_graph([node], "two", inputs, [output])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(GraphError, match=r"m\.onnx takes image: .* one float32 input"):
        stream_statistics(tmp_path / "m.onnx", [])


def test_dynamic_shapes_are_refused(tmp_path, write_model):
    nodes = [helper.make_node("Relu", ["image"], ["restored"])]
    model = write_model(tmp_path / "m.onnx", nodes, shape=(1, 3, "height", 8))
    with pytest.raises(GraphError, match=r"dynamic shapes \(image: 1x3xheightx8\)"):
        stream_statistics(model, [])


def test_a_tensor_that_the_model_does_not_compute_is_named(network):
    with pytest.raises(GraphError, match="computes no 'elsewhere'"):
        stream_statistics(network, [], tensors=["wide", "elsewhere"])


def test_a_tensor_that_is_not_float_is_named(tmp_path, write_model):
    nodes = [
        helper.make_node("Shape", ["image"], ["sides"]),
        helper.make_node("Relu", ["image"], ["restored"]),
    ]
    model = write_model(tmp_path / "m.onnx", nodes)
    with pytest.raises(GraphError, match=r"sides of .* is tensor\(int64\)"):
        stream_statistics(model, [], tensors=["sides"])


@pytest.mark.parametrize("bins", [0, 255, 65537])
def test_too_few_or_too_many_bins_are_refused(network, bins):
    with pytest.raises(UsageError, match=f"histograms of {bins} bins"):
        stream_statistics(network, [], bins=bins)


# Memory -------------------------------------------------------------------------------------------

MEASURE_PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
from calib.stream import stream_statistics

def peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def crops(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.random((1, 3, 512, 512), np.float32)

before = peak_mib()
peaks = []
for count in (2, 12):
    stream_statistics(Path(sys.argv[1]), crops(count))
    peaks.append(peak_mib() - before)
print(*peaks)
"""


def test_memory_is_that_of_one_crop_however_many_there_are(tmp_path, write_chain):
    """Thirty activations of 3 MiB in a row; the peak is the process's own, as ORT allocates."""
    names = [*(f"t{number}" for number in range(29)), "restored"]
    steps = [("Relu", [], name) for name in names]
    model = write_chain(tmp_path / "m.onnx", steps, shape=(1, 3, 512, 512))
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE_PEAK, str(model)], check=True, capture_output=True, text=True
    )
    few, many = map(float, measured.stdout.split())
    assert few < 1.5 * 30 * 3 + 100
    assert many < few + 30  # one activation of each crop kept would be as much


# The cache ----------------------------------------------------------------------------------------


@pytest.fixture
def setting(tmp_path, write_pictures, network):
    """(model, folder of images, cache folder)."""
    images = write_pictures(tmp_path / "images", {"a.png": (16, 16), "b.png": (16, 16)})
    return network, images, tmp_path / "cache"


def collected(setting, **options):
    """Give the statistics, and the numbers of done crops that were told."""
    model, images, cache = setting
    crop_set = choose_crops(images, count=6, side=8, stride=8)
    told = []
    statistics = collect_statistics(model, crop_set, cache, on_crop=told.append, **options)
    return statistics, told


def test_statistics_are_collected_once(setting):
    first, told = collected(setting)
    assert told == [1, 2, 3, 4, 5, 6]
    again, told = collected(setting)
    assert told == []
    assert same(again, first)


def test_statistics_carry_the_hash_of_the_crop_set(setting):
    crop_set = choose_crops(setting[1], count=6, side=8, stride=8)
    assert collected(setting)[0].origin.crops_sha256 == crop_set.sha256


def test_the_cache_gives_what_arrays_give(setting):
    crop_set = choose_crops(setting[1], count=6, side=8, stride=8)
    assert same(collected(setting)[0], stream_statistics(setting[0], read_crops(crop_set)))


class Stopped(BaseException):
    """Stands for Ctrl-C, which would stop the tests as well if it went wrong."""


@pytest.mark.parametrize("after", [1, 3, 5])
def test_an_interrupted_run_goes_on_at_the_next_crop_to_the_same_end(setting, tmp_path, after):
    model, images, cache = setting
    whole, _ = collected((model, images, tmp_path / "elsewhere"))

    def stop(done):
        if done == after:
            raise Stopped

    crop_set = choose_crops(images, count=6, side=8, stride=8)
    with pytest.raises(Stopped):
        collect_statistics(model, crop_set, cache, on_crop=stop)
    resumed, told = collected(setting)
    assert told == list(range(after + 1, 7))
    assert same(resumed, whole)


def test_a_run_that_is_killed_goes_on_where_it_was_last_saved(setting, monkeypatch):
    model, images, cache = setting
    monkeypatch.setattr(stream, "SAVE_EVERY_S", 0.0)
    crop_set = choose_crops(images, count=6, side=8, stride=8)
    copies = []
    collect_statistics(
        model,
        crop_set,
        cache,
        on_crop=lambda _: copies.append([path.read_bytes() for path in cache.iterdir()]),
    )
    (file,) = cache.iterdir()
    ((there,),) = copies[3:4]  # what a kill after the fourth crop leaves
    file.write_bytes(there)
    assert collected(setting)[1] == [5, 6]


def test_another_model_is_calibrated_anew(setting, tmp_path, arithmetic):
    collected(setting)
    assert len(collected((arithmetic(tmp_path / "m.onnx"), *setting[1:]))[1]) == 6


def test_other_weights_beside_the_model_are_calibrated_anew(setting, tmp_path):
    model = onnx.load(setting[0])
    for factor in (1, 2):
        for tensor in model.graph.initializer:
            scaled = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(scaled, tensor.name))
        copy = onnx.ModelProto.FromString(model.SerializeToString())
        onnx.save(copy, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
        assert len(collected((tmp_path / "m.onnx", *setting[1:]))[1]) == 6


def test_a_changed_image_is_calibrated_anew(setting):
    collected(setting)
    with Image.open(setting[1] / "a.png") as image:
        Image.fromarray(255 - np.asarray(image)).save(setting[1] / "a.png")
    assert len(collected(setting)[1]) == 6


def test_another_preprocessing_is_calibrated_anew(setting):
    model, images, cache = setting
    collected(setting)
    crop_set = choose_crops(images, count=6, side=8, stride=8)
    doubled = crop_set.through(lambda window, name: 2 * rgb_input(window, name), "doubled")
    assert collect_statistics(model, doubled, cache).tensors["image"].greatest > 1


@pytest.mark.parametrize(
    "options",
    [{"bins": 512}, {"sampling": EVERY_VALUE}, {"tensors": ["wide"]}, {"fetch_bytes": 1}],
    ids=lambda options: next(iter(options)),
)
def test_another_way_of_collecting_is_calibrated_anew(setting, options):
    collected(setting)
    assert len(collected(setting, **options)[1]) == 6


@pytest.mark.parametrize("library", ["onnxruntime", "np"])
def test_another_version_of_a_library_is_calibrated_anew(setting, monkeypatch, library):
    collected(setting)
    monkeypatch.setattr(getattr(stream, library), "__version__", "1.0")
    assert len(collected(setting)[1]) == 6


@pytest.mark.parametrize("damaged", [lambda whole: whole[:500], lambda whole: b"", bytes.upper])
def test_a_broken_cache_is_collected_anew_and_mended(setting, damaged):
    first, _ = collected(setting)
    (file,) = setting[2].iterdir()
    file.write_bytes(damaged(file.read_bytes()))
    again, told = collected(setting)
    assert len(told) == 6
    assert same(again, first)
    assert collected(setting)[1] == []


def test_statistics_of_something_else_under_the_same_name_are_not_taken(setting, tmp_path):
    first, _ = collected(setting)
    (file,) = setting[2].iterdir()
    other = replace(first, origin=replace(first.origin, crops_sha256="others"))
    other.save(file)
    assert len(collected(setting)[1]) == 6


def test_a_run_that_meets_a_bad_image_leaves_no_cache_file(setting):
    Image.new("L", (16, 16)).save(setting[1] / "b.png")
    with pytest.raises(DataError, match="same value everywhere"):
        collected(setting)
    assert not setting[2].exists()


def test_a_crop_with_a_bad_activation_is_named_with_its_image_and_place(
    tmp_path, setting, write_chain
):
    steps = [("Log", [], "logarithm"), ("Relu", [], "restored")]
    with Image.open(setting[1] / "b.png") as image:
        pixels = np.asarray(image).clip(1, None)
        pixels[12, 3] = 0
        Image.fromarray(pixels).save(setting[1] / "b.png")
    with Image.open(setting[1] / "a.png") as image:
        Image.fromarray(np.asarray(image).clip(1, None)).save(setting[1] / "a.png")
    model = write_chain(tmp_path / "log.onnx", steps)
    crop_set = choose_crops(setting[1], count=8, side=8, stride=8)
    wanted = r"logarithm of .* on crop 6 \(b\.png at row 8, column 0\)"
    with pytest.raises(DataError, match=wanted):
        collect_statistics(model, crop_set, setting[2])


def test_a_cache_that_is_a_file_is_refused(setting):
    setting[2].touch()
    with pytest.raises(OutputError, match="cache is not a folder"):
        collected(setting)
