import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deploy.errors import CheckpointError
from deploy.zoo.checkpoint import load_checkpoint, read_state_dict


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1))


class RunsCode:
    """What a hostile checkpoint holds: unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("nest", [None, "params", "params_ema", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_usual_layout_loads(network, tmp_path, nest, prefix):
    state = {prefix + key: value for key, value in network.state_dict().items()}
    path = tmp_path / "net.pth"
    torch.save({nest: state} if nest else state, path)
    read = read_state_dict(path)
    assert read.keys() == network.state_dict().keys()
    assert all(torch.equal(read[key], value) for key, value in network.state_dict().items())


def test_safetensors_load(network, tmp_path):
    path = tmp_path / "net.safetensors"
    save_file(dict(network.state_dict()), path)
    fresh = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1))
    load_checkpoint(fresh, path)
    assert torch.equal(fresh[0].weight, network[0].weight)


def test_ema_weights_are_preferred(network, tmp_path):
    path = tmp_path / "net.pth"
    ema = {key: value * 0 for key, value in network.state_dict().items()}
    torch.save({"params": network.state_dict(), "params_ema": ema}, path)
    assert not read_state_dict(path)["0.weight"].any()


def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path):
    path, made = tmp_path / "net.pth", tmp_path / "made"
    path.write_bytes(pickle.dumps({"0.weight": RunsCode(made)}, protocol=2))
    with pytest.raises(CheckpointError, match=r"net\.pth"):
        read_state_dict(path)
    assert not made.exists()


def test_a_zipped_pickle_that_holds_code_is_refused_and_not_run(tmp_path):
    path, made = tmp_path / "net.pth", tmp_path / "made"
    torch.save({"0.weight": RunsCode(made)}, path)
    with pytest.raises(CheckpointError, match="was not run"):
        read_state_dict(path)
    assert not made.exists()


def test_a_whole_model_is_refused(network, tmp_path):
    path = tmp_path / "net.pth"
    torch.save(network, path)
    with pytest.raises(CheckpointError, match="more than tensors"):
        read_state_dict(path)


@pytest.mark.parametrize("value", [{}, [1, 2], {"step": 3}, {"params": {"a": "text"}}])
def test_what_is_no_state_dict_is_refused(tmp_path, value):
    path = tmp_path / "net.pth"
    torch.save(value, path)
    with pytest.raises(CheckpointError, match="no plain state dict"):
        read_state_dict(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_broken_file_is_named(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(CheckpointError, match=f"net{suffix}"):
        read_state_dict(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.pth"):
        read_state_dict(tmp_path / "gone.pth")


def test_wrong_keys_are_named(network, tmp_path):
    path = tmp_path / "net.pth"
    state = dict(network.state_dict())
    state["extra"] = state.pop("1.bias")
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r"missing 1\.bias; unexpected extra"):
        load_checkpoint(network, path)


def test_wrong_shapes_are_named_with_both_sizes(network, tmp_path):
    path = tmp_path / "net.pth"
    torch.save(nn.Sequential(nn.Conv2d(3, 5, 1), nn.Conv2d(5, 3, 1)).state_dict(), path)
    with pytest.raises(CheckpointError, match=r"0\.weight is \(5, 3, 1, 1\).*\(4, 3, 1, 1\)"):
        load_checkpoint(network, path)


def test_a_misfit_leaves_the_network_as_it_was(network, tmp_path):
    path = tmp_path / "net.pth"
    before = {key: value.clone() for key, value in network.state_dict().items()}
    torch.save({"0.weight": before["0.weight"] * 0}, path)
    with pytest.raises(CheckpointError):
        load_checkpoint(network, path)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
