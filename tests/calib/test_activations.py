import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from calib.activations import ActivationLimits
from deploy.errors import DataError, GraphError


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


def test_every_float_activation_is_named_the_input_and_output_among_them(tmp_path, convolution):
    activations = ActivationLimits(convolution(tmp_path / "m.onnx"))
    names = {"image", "wide", "active", "residual", "restored"}
    assert set(activations.tensors) == names


def test_limits_of_a_crop_are_those_of_numpy(tmp_path, arithmetic, crops):
    activations = ActivationLimits(arithmetic(tmp_path / "m.onnx"))
    (crop,) = crops(1)
    limits = dict(zip(activations.tensors, activations.of_crop(crop, 0).tolist(), strict=True))
    scaled = crop * np.float32(2.5)
    assert limits["scaled"] == [scaled.min(), scaled.max()]
    assert limits["restored"] == [0, (scaled - np.float32(1)).max()]


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (0, 1, 4, 4), (0, 2, 7, 7)])
def test_a_nan_is_named_with_its_tensor_and_crop_wherever_it_stands(
    tmp_path, write_chain, crops, place
):
    steps = [("Sub", ["limit"], "below"), ("Sqrt", [], "root"), ("Relu", [], "restored")]
    model = write_chain(tmp_path / "m.onnx", steps, limit=-1.0)
    (crop,) = crops(1)
    crop[place] = -3
    with pytest.raises(DataError, match=r"root of .*m\.onnx is NaN or infinite on crop 4"):
        ActivationLimits(model).of_crop(crop, 4)


def test_an_infinity_inside_is_named_even_if_the_output_is_finite(tmp_path, write_chain, crops):
    steps = [("Reciprocal", [], "inverse"), ("Sigmoid", [], "restored")]
    (crop,) = crops(1)
    crop[0, 1, 2, 3] = 0
    with pytest.raises(DataError, match=r"inverse of .* is NaN or infinite on crop 0"):
        ActivationLimits(write_chain(tmp_path / "m.onnx", steps)).of_crop(crop, 0)


def test_a_nan_in_a_crop_is_named(tmp_path, arithmetic, crops):
    (crop,) = crops(1)
    crop[0, 0, 3, 3] = np.nan
    with pytest.raises(DataError, match="crop 2 holds NaN or infinity"):
        ActivationLimits(arithmetic(tmp_path / "m.onnx")).of_crop(crop, 2)


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (3, 8, 8), (1, 1, 8, 8)])
def test_a_crop_of_another_shape_is_named_with_both(tmp_path, arithmetic, shape):
    text = "x".join(map(str, shape))
    activations = ActivationLimits(arithmetic(tmp_path / "m.onnx"))
    with pytest.raises(DataError, match=f"crop 1 is float32 {text}, .* takes float32 1x3x8x8"):
        activations.of_crop(np.zeros(shape, np.float32), 1)


def test_a_crop_of_another_type_is_named(tmp_path, arithmetic):
    activations = ActivationLimits(arithmetic(tmp_path / "m.onnx"))
    with pytest.raises(DataError, match="crop 0 is float64"):
        activations.of_crop(np.zeros((1, 3, 8, 8)), 0)


def test_a_model_of_any_size_takes_every_size(tmp_path, write_model, crops):
    nodes = [helper.make_node("Relu", ["image"], ["restored"])]
    model = write_model(tmp_path / "m.onnx", nodes, shape=(1, 3, "height", "width"))
    activations = ActivationLimits(model)
    for side in (8, 12):
        assert activations.of_crop(*crops(1, side=side), 0).shape == (2, 2)


def test_nothing_is_written_beside_the_model(tmp_path, arithmetic, crops):
    ActivationLimits(arithmetic(tmp_path / "m.onnx")).of_crop(*crops(1), 0)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_model_with_its_weights_beside_it_is_read(tmp_path, convolution, crops):
    model = onnx.load(convolution(tmp_path / "whole.onnx"))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    limits = [
        ActivationLimits(tmp_path / name).of_crop(*crops(1), 0) for name in ("m.onnx", "whole.onnx")
    ]
    np.testing.assert_array_equal(np.sort(limits[0], axis=0), np.sort(limits[1], axis=0))


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
        ActivationLimits(tmp_path / "m.onnx")


MEASURE_PEAK = """
import resource, sys
from pathlib import Path
import numpy as np
from calib.activations import ActivationLimits

activations = ActivationLimits(Path(sys.argv[1]))
before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
activations.of_crop(np.zeros((1, 3, 512, 512), np.float32), 0)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) // 1024)
"""


def test_activations_are_freed_once_their_limits_are_known(tmp_path, write_chain):
    """A hundred activations of 3 MiB in a row; the peak is the process's own, as ORT allocates."""
    names = [*(f"t{number}" for number in range(99)), "restored"]
    steps = [("Relu", [], name) for name in names]
    model = write_chain(tmp_path / "m.onnx", steps, shape=(1, 3, 512, 512))
    measured = subprocess.run(
        [sys.executable, "-c", MEASURE_PEAK, str(model)], check=True, capture_output=True, text=True
    )
    assert int(measured.stdout) < 100  # all of them are 300
