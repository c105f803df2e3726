"""Checkpoints that do not fit or are not plain, and networks of the user's own that fail."""

import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

NETWORK = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(3, 8, 3, padding=1)
        self.narrow = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, image):
        return image + self.narrow(self.wide(image).relu())
"""


@pytest.fixture
def export(refuse, judged, write_module):
    """Export a class of a module that is written for it, which has to be refused; give the line."""

    def run(factory="Net", *options, source=NETWORK):
        model = f"{write_module(source)}:{factory}"
        return refuse("export", "--model", model, "--shape", "1,3,64,64", *judged, *options)

    return run


@pytest.fixture
def weights():
    """Give a state dict that fits."""
    torch.manual_seed(0)
    return {
        "wide.weight": torch.rand(8, 3, 3, 3),
        "wide.bias": torch.rand(8),
        "narrow.weight": torch.rand(3, 8, 3, 3),
        "narrow.bias": torch.rand(3),
    }


def test_a_missing_checkpoint_is_named(export, tmp_path):
    line = export("Net", "--checkpoint", tmp_path / "nosuch.pth")
    assert f"no checkpoint at {tmp_path / 'nosuch.pth'}" in line
    assert "check the path" in line


def test_keys_that_do_not_match_are_named(export, weights, tmp_path):
    weights["body.weight"] = weights.pop("wide.weight")
    torch.save(weights, tmp_path / "net.pth")
    line = export("Net", "--checkpoint", tmp_path / "net.pth")
    assert f"{tmp_path / 'net.pth'} does not fit Net" in line
    assert "missing wide.weight" in line
    assert "unexpected body.weight" in line
    assert "pass the checkpoint of this network" in line


def test_shapes_that_do_not_match_are_named_with_both(export, weights, tmp_path):
    weights["narrow.weight"] = torch.rand(3, 16, 3, 3)
    save_file(weights, tmp_path / "net.safetensors")
    line = export("Net", "--checkpoint", tmp_path / "net.safetensors")
    assert "narrow.weight is (3, 16, 3, 3), the network has (3, 8, 3, 3)" in line


def test_the_demo_network_refuses_a_foreign_checkpoint(refuse, judged, weights, tmp_path):
    torch.save(weights, tmp_path / "net.pth")
    line = refuse("export", "--checkpoint", tmp_path / "net.pth", *judged)
    assert "does not fit NAFNet: missing " in line
    assert " more: " in line


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no checkpoint at all"], ids=["empty", "text"])
def test_a_file_that_is_no_checkpoint_is_named(export, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    line = export("Net", "--checkpoint", tmp_path / name)
    assert str(tmp_path / name) in line
    assert "save it again" in line or "save `model.state_dict()`" in line


def test_a_checkpoint_that_is_cut_short_is_named(export, weights, tmp_path):
    file = tmp_path / "net.pth"
    torch.save(weights, file)
    file.write_bytes(file.read_bytes()[:-200])
    assert f"{file} is no readable checkpoint" in export("Net", "--checkpoint", file)


@pytest.mark.parametrize(
    "what", [{"epoch": 3}, {}, [torch.rand(1)], {"params": {"wide.weight": 1}}], ids=repr
)
def test_a_file_without_a_state_dict_says_what_to_save(export, tmp_path, what):
    torch.save(what, tmp_path / "net.pth")
    line = export("Net", "--checkpoint", tmp_path / "net.pth")
    assert "holds no plain state dict" in line
    assert "save `model.state_dict()`" in line


# A pickle that carries code. It would write `mark` if it were read in the ordinary way.


class Carrier:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return exec, (f"open({str(self.mark)!r}, 'w').close()",)


def save_bare(what, file):
    file.write_bytes(pickle.dumps(what, protocol=2))


@pytest.mark.parametrize("save", [torch.save, save_bare], ids=["torch", "bare pickle"])
def test_a_pickle_that_carries_code_is_refused_and_its_code_does_not_run(
    export, weights, tmp_path, save
):
    mark, file = tmp_path / "it ran", tmp_path / "net.pth"
    save({**weights, "wide.bias": Carrier(mark)}, file)
    line = export("Net", "--checkpoint", file)
    assert f"{file} is a pickle that holds more than tensors, so it was not run" in line
    assert "save `model.state_dict()`" in line
    assert not mark.exists()


@pytest.mark.parametrize(
    ("save", "load"),
    [(torch.save, "import torch; torch.load({file!r}, weights_only=False)"),
     (save_bare, "import pickle; pickle.load(open({file!r}, 'rb'))")],
    ids=["torch", "bare pickle"],
)  # fmt: skip
def test_that_code_does_run_where_a_pickle_is_trusted(tmp_path, save, load):
    mark, file = tmp_path / "it ran", tmp_path / "net.pth"
    save({"wide.bias": Carrier(mark)}, file)
    subprocess.run([sys.executable, "-c", load.format(file=str(file))], check=True)
    assert mark.exists()


def test_a_pickle_of_the_whole_network_is_refused(export, tmp_path):
    torch.save(torch.nn.Conv2d(3, 3, 1), tmp_path / "net.pth")
    line = export("Net", "--checkpoint", tmp_path / "net.pth")
    assert "holds more than tensors" in line
    assert "instead of the whole model" in line


# Networks that fail


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def Net(:\n", "invalid syntax"),
        ("import nosuch_library\n", "No module named 'nosuch_library'"),
        ("1 / 0\n", "division by zero"),
        ("Net = 3\n", "is not callable"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(export, source, reason):
    line = export(source=source)
    assert ":Net'" in line
    assert reason in line


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def Net(width):\n    return width\n", "missing 1 required positional argument: 'width'"),
        ("def Net():\n    raise OSError('no\\nweights')\n", "OSError: no weights"),
        ("def Net():\n    return 3\n", "gave a int"),
    ],
)
def test_a_factory_that_builds_no_network_says_why(export, source, reason):
    line = export(source=source)
    assert ":Net" in line
    assert reason in line


FAILING = {
    "gives a tuple": ("return image, image", "gives a tuple, not one tensor"),
    "raises": ("raise ValueError('not today')", "not today"),
    "takes other channels": ("return self.narrow(image)", "expected input[1, 3, 64, 64]"),
    "gives another answer each time": ("return image + torch.rand_like(image)", "max error"),
    "gives NaN": ("return image / (image - image)", "max error nan"),
}


@pytest.mark.parametrize("how", FAILING)
def test_a_network_that_fails_is_named_with_what_it_did(export, how):
    body, reason = FAILING[how]
    source = NETWORK[: NETWORK.index("        return image")] + f"        {body}\n"
    line = export(source=source)
    assert "Net" in line or "net" in line
    assert reason in line
    assert "\x1b" not in line
