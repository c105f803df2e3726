"""The whole way at 32x32, where the pieces are there; they are fetched by --set-up, never here."""

from dataclasses import replace

import onnxruntime
import pytest
from arm64.cpus import CPUS
from arm64.emulated import Job, count, profile
from arm64.kept import count_once
from arm64.nodes import parse_profile
from arm64.pieces import default_cache, find_pieces
from arm64_examples import absolute_of_doubles, two_convolutions, write_pair
from onnx import save

from deploy.errors import DeviceError, GraphError


@pytest.fixture(scope="module")
def pieces():
    try:
        return find_pieces(default_cache(), onnxruntime.__version__)
    except DeviceError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def int8_on_a76(pieces, models):
    return count(Job(models[1]), CPUS["a76"], pieces)


def test_a_count_repeats(int8_on_a76, pieces, models):
    again = count(Job(models[1]), CPUS["a76"], pieces)
    assert again.session == int8_on_a76.session
    assert again.steady.instructions == pytest.approx(int8_on_a76.steady.instructions, rel=1e-5)


def test_what_was_counted_before_is_kept(int8_on_a76, pieces, models, tmp_path):
    own = replace(pieces, cache=tmp_path)
    first = count_once(Job(models[1]), CPUS["a76"], own)
    kept = count_once(Job(models[1]), CPUS["a76"], replace(own, runner=tmp_path / "nowhere"))
    assert kept == first
    assert kept.session == int8_on_a76.session


def test_a_count_of_other_options_is_another(pieces, models, tmp_path):
    own = replace(pieces, cache=tmp_path)
    optimized = count_once(Job(models[1]), CPUS["a76"], own)
    assert count_once(Job(models[1], level="disable"), CPUS["a76"], own).steady.instructions > (
        optimized.steady.instructions
    )


def test_a_core_with_dot_products_uses_them(int8_on_a76):
    assert int8_on_a76.steady.dot > 0


def test_a_core_without_dot_products_needs_more_for_the_same_output(int8_on_a76, pieces, models):
    older = count(Job(models[1]), CPUS["a53"], pieces)
    assert older.steady.dot == 0
    assert older.steady.instructions > int8_on_a76.steady.instructions
    assert older.output_sha256 == int8_on_a76.output_sha256


def test_float_convolutions_multiply_as_often_as_the_graph_does(pieces, models):
    plain = count(Job(models[0]), CPUS["a76"], pieces)
    multiplications = 32 * 32 * (16 * 16 + 16 * 9)
    assert 4 * plain.steady.fmla == pytest.approx(multiplications, rel=0.3)


def test_nodes_add_up_to_the_plain_count(int8_on_a76, pieces, models):
    nodes = parse_profile(profile(Job(models[1]), CPUS["a76"], pieces))
    assert {"QLinearConv"} <= {node.operator for node in nodes}
    total = sum(node.instructions for node in nodes)
    assert total == pytest.approx(int8_on_a76.steady.instructions, rel=0.2)


def test_a_description_of_more_than_the_core_is_said_in_words(pieces, models):
    boasts = replace(CPUS["a76"], name="a53-that-boasts", qemu=CPUS["a53"].qemu)
    with pytest.raises(DeviceError, match="needs instructions that the emulated a53-that-boasts"):
        count(Job(models[1]), boasts, pieces)


def test_a_run_over_its_time_is_ended(pieces, models):
    with pytest.raises(DeviceError, match="raise --timeout-s"):
        count(Job(models[0], timeout_s=0.05), CPUS["a76"], pieces)


def test_an_open_shape_is_asked_for(pieces, tmp_path):
    save(two_convolutions(shape=(1, 16, "height", "width")), tmp_path / "open.onnx")
    with pytest.raises(GraphError, match="pass --shape"):
        count(Job(tmp_path / "open.onnx"), CPUS["a76"], pieces)


def test_an_input_that_is_no_float32_is_refused(pieces, tmp_path):
    save(absolute_of_doubles(), tmp_path / "double.onnx")
    with pytest.raises(GraphError, match="one float32 input"):
        count(Job(tmp_path / "double.onnx"), CPUS["a76"], pieces)
