import subprocess
import sys

import pytest
from torch import nn

from deploy.errors import UsageError
from deploy.zoo.papers import TABLES
from deploy.zoo.registry import MODELS, converted, find_model, made_local, user_model
from deploy.zoo.skeleton import checkpoint_shapes, skeleton

# what has to be there: the papers' rows by their names
SIZES = ("32-36", "32-18", "16-36", "16-18", "16-9")
WANTED = {
    "pmrid", "pmrid-raw", "pmrid-mofa", "nafnet-tiny", "nafnet-mofa", "nafnet-32-sidd",
    *(f"mofa-1-row{row}" for row in range(1, 9)),
    *(f"mofa-2-{pair}" for pair in ("enc3-dec2", "enc2-dec3", "enc1-dec4")),
    *(f"mofa-3-{choice}" for choice in ("none", "upsampling", "downsampling")),
    *(f"mofa-6-{threshold}" for threshold in (0, 16, 32, 64, 128)),
    *(f"nafnet-{size}{form}" for size in SIZES for form in ("", "-local")),
    "nafnet-16-18-sa",
    *(f"nafnet-16-18-sa-{step}" for step in ("naive", "activation", "normalization", "upsample")),
    *(f"nafnet-16-18-separable-{part}" for part in ("high", "low", "all")),
}  # fmt: skip

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
    assert isinstance(skeleton(spec), nn.Module)
    assert spec.checkpoint is None or spec.checkpoint.is_file()


def test_every_network_of_the_papers_has_a_name():
    assert set(MODELS) == WANTED


@pytest.mark.parametrize("name", MODELS)
def test_every_source_names_the_paper_and_what_of_it(name):
    source = find_model(name).source
    assert any(paper in source for paper in ("MOFA paper", "thesis", "NAFNet", "PMRID"))
    assert any(where in source for where in ("Table", "SIDD", "packed raw"))


def test_names_are_listed_without_torch():
    code = "import sys; from deploy.zoo.registry import MODELS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rows_that_are_the_same_network_have_the_same_tensors():
    for names in (
        ("pmrid", "mofa-1-row1"),
        ("pmrid-mofa", "mofa-1-row8", "mofa-6-32"),
        ("mofa-1-row3", "mofa-2-enc3-dec2"),
        ("mofa-1-row5", "mofa-3-none"),
        ("nafnet-16-18-sa", "nafnet-16-18-sa-normalization"),
    ):
        first, *others = (checkpoint_shapes(find_model(name)) for name in names)
        assert all(other == first for other in others)


def test_rows_of_one_mofa_table_are_different_networks():
    for table in ("mofa-1", "mofa-2", "mofa-3", "mofa-4", "mofa-6"):
        shapes = [checkpoint_shapes(find_model(row.model)) for row in TABLES[table].rows]
        assert all(one != other for i, one in enumerate(shapes) for other in shapes[:i])


@pytest.mark.parametrize("size", SIZES)
def test_local_forms_take_the_checkpoints_of_the_others(size):
    plain, local = find_model(f"nafnet-{size}"), find_model(f"nafnet-{size}-local")
    assert local == converted(plain, "local")
    assert checkpoint_shapes(local) == checkpoint_shapes(plain)


def test_packed_raw_has_four_planes():
    assert find_model("pmrid-raw").inputs[0].shape == (1, 4, 256, 256)


def test_name_and_source_say_the_conversions():
    spec = converted(converted(find_model("nafnet-mofa"), "local"), "no-layernorm")
    assert spec.name == "nafnet-mofa-local-no-layernorm"
    assert spec.conversions == ("local", "no-layernorm")
    assert spec.source.endswith("; TLC; LayerNorm removed")


def test_a_conversion_is_not_done_twice():
    local = find_model("nafnet-16-9-local")
    assert converted(local, "local") is local


def test_local_form_for_other_crops_says_their_side():
    local = made_local(find_model("nafnet-tiny"), 128)
    assert local.name == "nafnet-tiny-local-128px"
    assert local.source.endswith("; TLC for training crops of 128 px")
    assert made_local(local, 128) is local


def test_local_form_for_the_papers_crops_is_the_named_one():
    assert made_local(find_model("nafnet-16-9"), 256) == find_model("nafnet-16-9-local")


def test_a_local_network_does_not_change_its_crops():
    local = find_model("nafnet-16-9-local")
    with pytest.raises(UsageError, match=r"local for training crops of 256 px, not 128: name"):
        made_local(local, 128)


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


def test_a_users_network_that_was_edited_is_another_source(here):
    module = here / "my_edited_net.py"
    module.write_text("from torch import nn\ndef net():\n    return nn.Conv2d(3, 3, 1)\n")
    before = user_model("my_edited_net:net", None, SHAPE).source
    assert user_model("my_edited_net:net", None, SHAPE).source == before
    module.write_text("from torch import nn\ndef net():\n    return nn.Conv2d(3, 3, 3)\n")
    after = user_model("my_edited_net:net", None, SHAPE).source
    assert after != before
    assert str(here) not in after
