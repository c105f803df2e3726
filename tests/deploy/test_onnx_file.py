from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploy.errors import GraphError
from deploy.onnx_file import any_image_input, external_files, image_input, load_graph


def conv_model(
    shape: tuple[int | str, ...] = (1, 3, 8, 8), elem_type: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((3, 3, 1, 1), np.float32), "weight")
    image = helper.make_tensor_value_info("input", elem_type, shape)
    result = helper.make_tensor_value_info("output", elem_type, shape)
    node = helper.make_node("Conv", ["input", "weight"], ["output"])
    graph = helper.make_graph([node], "net", [image], [result], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def with_external_weight(folder: Path, location: str) -> Path:
    """The model as an attacker writes it: onnx's own saver refuses such locations."""
    model = conv_model()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("length", "36")):
        weight.external_data.add(key=key, value=value)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_of_over_2_gib_are_refused_before_they_are_read(tmp_path):
    path = with_external_weight(tmp_path, "weights.bin")
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].dims[:] = [30_000, 30_000, 1, 1]
    path.write_bytes(model.SerializeToString())
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(GraphError, match=r"model\.onnx holds 3\.4 GiB: a graph .* below 2 GiB"):
        load_graph(path)


def test_a_file_of_over_2_gib_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)  # a hole: takes no room on the disk
    with pytest.raises(GraphError, match=r"large\.onnx holds 3\.0 GiB"):
        load_graph(path)


def test_a_good_model_loads(tmp_path):
    assert load_graph(saved(conv_model(), tmp_path)).graph.node[0].op_type == "Conv"


@pytest.mark.parametrize("content", [b"", b"not a model", bytes(range(256)) * 8])
def test_a_corrupt_file_is_named(tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=r"broken\.onnx"):
        load_graph(path)


def test_a_truncated_model_is_refused(tmp_path):
    path = saved(conv_model(), tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(GraphError, match=r"model\.onnx"):
        load_graph(path)


def test_a_graph_that_breaks_the_standard_is_refused(tmp_path):
    model = conv_model()
    model.graph.node[0].input[0] = "nowhere"
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(GraphError, match="is no valid ONNX model"):
        load_graph(path)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "a/../../secret.bin"])
def test_weights_outside_the_models_folder_are_refused_unread(tmp_path, location):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(36))
    with pytest.raises(GraphError, match="outside its folder"):
        load_graph(with_external_weight(inner, location))


def test_a_link_does_not_lead_out_of_the_folder(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(36))
    (inner / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(GraphError, match="outside its folder"):
        load_graph(with_external_weight(inner, "weights.bin"))


def test_missing_external_weights_are_named(tmp_path):
    with pytest.raises(GraphError, match=r"weights\.bin"):
        load_graph(with_external_weight(tmp_path, "weights.bin"))


def test_weights_beside_the_model_are_read(tmp_path):
    path = with_external_weight(tmp_path, "weights.bin")
    (tmp_path / "weights.bin").write_bytes(np.full(9, 2, np.float32).tobytes())
    weight = numpy_helper.to_array(load_graph(path).graph.initializer[0])
    assert (weight == 2).all()


def test_the_input_of_a_static_model_is_its_shape(tmp_path):
    model = conv_model((1, 3, 16, 24))
    assert image_input(model, tmp_path).shape == (1, 3, 16, 24)


def test_dynamic_shapes_are_refused_with_the_dimensions(tmp_path):
    model = conv_model((1, 3, "height", "width"))
    assert any_image_input(model, tmp_path).shape == (1, 3, 0, 0)
    with pytest.raises(GraphError, match="1x3xheightxwidth"):
        image_input(model, tmp_path)


def test_another_type_or_rank_is_refused(tmp_path):
    with pytest.raises(GraphError, match="FLOAT16 of rank 4"):
        any_image_input(conv_model(elem_type=TensorProto.FLOAT16), tmp_path)
    with pytest.raises(GraphError, match="rank 3"):
        any_image_input(conv_model((3, 8, 8)), tmp_path)


def test_several_inputs_are_refused(tmp_path):
    model = conv_model()
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("other", 1, (1, 3, 8, 8)))
    with pytest.raises(GraphError, match="2 inputs and 1 outputs"):
        any_image_input(model, tmp_path)


def test_the_files_that_hold_weights_are_named(tmp_path):
    (tmp_path / "weights.bin").write_bytes(bytes(36))
    path = with_external_weight(tmp_path, "weights.bin")
    assert external_files(path) == [tmp_path / "weights.bin"]


def test_a_model_with_its_weights_inside_has_no_other_files(tmp_path):
    assert external_files(saved(conv_model(), tmp_path)) == []
