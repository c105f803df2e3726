import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deploy.errors import CheckpointError
from deploy.zoo.checkpoint import identify, load_checkpoint, read_state_dict
from deploy.zoo.registry import MODELS
from deploy.zoo.skeleton import checkpoint_shapes


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


@pytest.mark.parametrize("length", [2, 3, 40, 90, 200])
def test_a_cut_file_of_the_old_format_is_named(network, tmp_path, length):
    path = tmp_path / "net.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"net\.pth"):
        read_state_dict(path)


def test_a_pickle_of_nothing_is_named(tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(b"\x80\x02.")
    with pytest.raises(CheckpointError, match=r"net\.pth"):
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


def write_of(name: str, path: Path, **changed: torch.Tensor) -> Path:
    """Save a checkpoint of a registered network that takes no room: one number a tensor."""
    shapes = checkpoint_shapes(MODELS[name])
    state = {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    torch.save({"params": {**state, **changed}}, path)
    return path


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_of_every_registered_network_is_identified(name, tmp_path):
    identity = identify(write_of(name, tmp_path / "net.pth"))
    assert name in identity.fits
    assert identity.misfits == ()
    assert {len(checkpoint_shapes(MODELS[one])) for one in identity.fits} == {
        len(checkpoint_shapes(MODELS[name]))
    }


def test_networks_that_differ_in_nothing_with_weights_are_all_named(tmp_path):
    identity = identify(write_of("nafnet-16-18-sa-naive", tmp_path / "net.pth"))
    assert identity.fits == ("nafnet-16-18-sa-naive", "nafnet-16-18-sa-activation")


def test_one_tensor_of_another_shape_keeps_a_checkpoint_from_fitting(tmp_path):
    wide = torch.zeros(()).expand(17, 3, 3, 3)
    path = write_of("nafnet-mofa", tmp_path / "net.pth", **{"intro.weight": wide})
    identity = identify(path)
    assert identity.fits == ()
    assert identity.nearest == "nafnet-mofa"
    assert identity.misfits == ("intro.weight is (17, 3, 3, 3), the network has (16, 3, 3, 3)",)
    assert identity.shared == pytest.approx(134 / 136)


def test_a_checkpoint_that_shares_nothing_has_no_nearest_network(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "net.pth")
    identity = identify(tmp_path / "net.pth")
    assert (identity.fits, identity.nearest, identity.shared) == ((), None, 0)


def test_the_shipped_weights_are_identified():
    assert identify(MODELS["nafnet-tiny"].checkpoint).fits == ("nafnet-tiny",)


def test_the_public_pmrid_is_identified(test_data):
    assert identify(test_data("pmrid_torch_pretrained.ckp")).fits == ("pmrid-raw",)


def test_the_public_super_resolution_network_is_none_of_these(test_data):
    identity = identify(test_data("nafnet_sisr/NAFNet_w16_u111.pth"))
    assert identity.fits == ()
    assert identity.nearest == "nafnet-tiny"
    assert identity.shared < 0.1
    assert any("encoding_blocks" in misfit for misfit in identity.misfits)


def test_a_misfit_names_the_networks_that_it_fits(network, tmp_path):
    path = write_of("nafnet-16-18", tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"it fits nafnet-16-18, nafnet-16-18-local; pass"):
        load_checkpoint(network, path)


def test_a_misfit_that_fits_nothing_names_the_way_on(network, tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"models --identify FILE"):
        load_checkpoint(network, tmp_path / "net.pth")
