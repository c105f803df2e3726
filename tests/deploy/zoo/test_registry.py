import pytest
from torch import nn

from deploy.errors import UsageError
from deploy.zoo.registry import MODELS, find_model, user_model

SHAPE = (1, 3, 64, 64)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    return tmp_path


@pytest.mark.parametrize("name", MODELS)
def test_every_registered_model_builds_under_its_name(name):
    spec = find_model(name)
    assert spec.name == name
    assert isinstance(spec.factory(), nn.Module)
    assert spec.source
    assert spec.checkpoint is None or spec.checkpoint.is_file()


def test_a_misspelt_name_gets_the_nearest_one():
    with pytest.raises(UsageError, match=r"'nafnet-tyni': did you mean nafnet-tiny"):
        find_model("nafnet-tyni")


def test_a_name_like_no_other_still_gets_names():
    with pytest.raises(UsageError, match="did you mean pmrid, "):
        find_model("???")


def test_a_users_factory_in_the_current_folder_is_found(here):
    (here / "my_net_of_mine.py").write_text(
        "from torch import nn\ndef Small_Net():\n    return nn.Conv2d(3, 3, 1)\n"
    )
    spec = user_model("my_net_of_mine:Small_Net", None, SHAPE)
    assert spec.name == "small-net"
    assert spec.inputs[0].shape == SHAPE
    assert isinstance(spec.factory(), nn.Conv2d)


@pytest.mark.parametrize("text", ["module", "a b:c", "mod:", ":factory", "mod:fac tory", "a/b:c"])
def test_text_of_another_form_is_refused(text):
    with pytest.raises(UsageError, match=r"package\.module:factory"):
        user_model(text, None, SHAPE)


@pytest.mark.parametrize("text", ["no_such_module_here:f", "torch.nn:NoSuchLayer"])
def test_a_name_that_imports_nothing_is_named(text):
    with pytest.raises(UsageError, match=f"cannot import '{text}'"):
        user_model(text, None, SHAPE)


def test_a_name_that_cannot_be_called_is_refused():
    with pytest.raises(UsageError, match="not callable"):
        user_model("torch:__version__", None, SHAPE)
