"""The file of what a device chose: what is written is read, anything else is one clear error."""

from dataclasses import replace
from pathlib import Path

import pytest

from deploy.artifact import Artifact
from deploy.errors import UsageError
from deploy.rewrites.forms import Forms
from deploy.tuning import Choice, Tuned, TunedOn, read_tuned, write_tuned

SHA = "0" * 64
ON = TunedOn(
    *("net", SHA, "1x3x64x64", 'a "quoted" phone', "0123", "aarch64", "latency", "1.31.1", "0.1.0"),
    SHA,
    *(0.9, 0.85, 0.95),
    psnr_drop_db=0.05,
)
CHOICE = Choice("arm-cpu-u8", "accurate", Forms(layernorm="fused", ends="keep"))


@pytest.fixture
def file(tmp_path) -> Path:
    tried = ({"candidate": "default", "latency_ms": 1.25, "why": "größer", "psnr_drop_db": None},)
    write_tuned(Tuned(CHOICE, ON, tried, tmp_path / "net.toml"))
    return tmp_path / "net.toml"


def changed(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return file


def test_what_is_written_is_read(file):
    tuned = read_tuned(file)
    assert (tuned.choice, tuned.tuned_on, tuned.path) == (CHOICE, ON, file)
    assert tuned.tried == [{"candidate": "default", "latency_ms": 1.25, "why": "größer"}]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('ends = "keep"', 'ends = "round"', "unknown form 'round' of ends"),
        ('ends = "keep"', "ends = 3", "unknown form 3 of ends"),
        ('ends = "keep"', "", "choice: no ends"),
        ('ends = "keep"', 'ends = "keep"\nlegs = "two"', "choice: unknown key 'legs'"),
        ('target = "arm-cpu-u8"', 'target = "arm"', "unknown target 'arm'"),
        ('preset = "accurate"', 'preset = "slow"', "unknown preset 'slow'"),
        ("format = 1", "format = 2", "format 2, and this version reads up to 1"),
        ("format = 1", 'format = "one"', "is not one of a tuned file"),
        ("format = 1", "format = 1\nmore = 1", "unknown key 'more'"),
        ("[tuned_on]", "[tuned_off]", "unknown key 'tuned_off'"),
        ("ratio = 0.9", 'ratio = "fast"', "ratio is 'fast', no number"),
        ('device_id = "0123"', "device_id = 123", "device_id is 123, no text"),
        ("[[tried]]", "[tried]", "tried is no list of tables"),
        ("[choice]", "[choice", "is not TOML"),
    ],
)
def test_what_cannot_be_is_one_error_that_names_the_file(file, old, new, said):
    with pytest.raises(UsageError) as refused:
        read_tuned(changed(file, old, new))
    assert said in refused.value.problem
    assert str(file) in refused.value.problem
    assert refused.value.next_step


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no tuned file at .*none\.toml"):
        read_tuned(tmp_path / "none.toml")


def plain(**changes) -> Artifact:
    return replace(Artifact(Path("net.plain.onnx"), SHA, "plain", "net"), **changes)


def test_what_it_was_tuned_for_needs_no_remark(file):
    assert read_tuned(file).remarks(plain(), "1.31.1") == []


@pytest.mark.parametrize(
    ("artifact", "version", "said"),
    [
        (plain(model="other"), "1.31.1", "nothing was measured for other"),
        (plain(sha256="1" * 64), "1.31.1", "tuned for another net (input 1x3x64x64)"),
        (plain(), "1.32.0", "tuned with ONNX Runtime 1.31.1, and this is 1.32.0"),
    ],
)
def test_another_model_file_or_version_is_remarked_on(file, artifact, version, said):
    (remark,) = read_tuned(file).remarks(artifact, version)
    assert said in remark


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"forms": {**CHOICE.forms.record(), "gate": "keep"}}, "with gate keep"),
        (
            {"forms": CHOICE.forms.record(), "recipe": {"preset": "fast"}},
            "with preset fast, and .* says accurate",
        ),
    ],
)
def test_a_file_made_in_other_forms_is_refused(file, params, said):
    with pytest.raises(UsageError, match=said):
        read_tuned(file).require_made_so(plain(kind="int8-arm-cpu-u8", params=params))


def test_a_file_made_so_is_taken(file):
    params = {"forms": CHOICE.forms.record(), "recipe": {"preset": "accurate"}}
    read_tuned(file).require_made_so(plain(kind="int8-arm-cpu-u8", params=params))
