import json

import numpy as np
import pytest
from PIL import Image

from calib.crops import choose_crops
from calib.images import load_image
from calib.pairs import load_pairs
from calib.photographs import HELD_OUT, TRAINING, degraded_pair, write_demo_data
from deploy.errors import OutputError


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo_data(tmp_path_factory.mktemp("build") / "demo")


def stop(*_):
    raise KeyboardInterrupt


def names(folder):
    return {path.stem for path in folder.iterdir()}


@pytest.mark.parametrize(("part", "photographs"), [("training", TRAINING), ("held-out", HELD_OUT)])
def test_each_photograph_stands_as_a_pair_in_its_part(demo, part, photographs):
    assert names(demo / part / "input") == names(demo / part / "target") == set(photographs)


@pytest.mark.parametrize("name", HELD_OUT)
def test_files_hold_the_pair_without_loss(demo, name):
    degraded, sharp = degraded_pair(name, seed=0)
    for kind, pixels in (("input", degraded), ("target", sharp)):
        with Image.open(demo / "held-out" / kind / f"{name}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), (pixels * 255).round())


def test_loading_gives_the_pair_to_float_precision(demo):
    name = HELD_OUT[0]
    degraded, _ = degraded_pair(name, seed=0)
    loaded = load_image(demo / "held-out" / "input" / f"{name}.png")
    np.testing.assert_allclose(loaded, degraded, atol=1e-7)


def test_the_held_out_part_is_readable_as_pairs(demo):
    assert [pair.name for pair in load_pairs(demo / "held-out")] == sorted(HELD_OUT)


def test_the_training_part_has_windows_for_1000_crops(demo):
    crop_set = choose_crops(demo / "training" / "input", count=1000, side=256)
    assert {crop.image.removesuffix(".png") for crop in crop_set.crops} == set(TRAINING)


def test_training_and_held_out_share_no_photograph():
    assert not set(TRAINING) & set(HELD_OUT)


def test_finished_data_are_used_again(demo):
    assert write_demo_data(demo, on_progress=stop) == demo


def test_data_of_another_seed_are_not_used(demo):
    with pytest.raises(KeyboardInterrupt):
        write_demo_data(demo, seed=1, on_progress=stop)


def test_data_of_other_library_versions_are_not_used(tmp_path):
    record = {"schema": 1, "seed": 0, "versions": {"numpy": "1.0"}}
    (tmp_path / "demo-data.json").write_text(json.dumps(record))
    with pytest.raises(KeyboardInterrupt):
        write_demo_data(tmp_path, on_progress=stop)


def test_a_run_that_stops_half_way_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_demo_data(tmp_path / "demo", on_progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_stops_half_way_keeps_the_old_data(demo):
    with pytest.raises(KeyboardInterrupt):
        write_demo_data(demo, seed=1, on_progress=stop)
    assert write_demo_data(demo, seed=0, on_progress=stop) == demo
    assert [path.name for path in demo.parent.iterdir()] == [demo.name]


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputError, match=f"{tmp_path} holds other files"):
        write_demo_data(tmp_path, on_progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_way_is_refused_by_name(tmp_path):
    (tmp_path / "demo").touch()
    with pytest.raises(OutputError, match="demo"):
        write_demo_data(tmp_path / "demo", on_progress=stop)


@pytest.mark.slow
def test_data_with_a_missing_file_are_written_again_to_the_same_bytes(tmp_path):
    told = []
    folder = write_demo_data(tmp_path / "demo", on_progress=lambda *step: told.append(step))
    assert told == [(done, len(TRAINING + HELD_OUT)) for done in range(1, 13)]
    missing = folder / "training" / "input" / "coins.png"
    content = missing.read_bytes()
    missing.unlink()
    assert write_demo_data(folder) == folder
    assert missing.read_bytes() == content
