"""Output folders that refuse: read-only, no folder at all, full."""

import functools
import resource
import shutil
from pathlib import Path

import pytest
from cli_examples import QUICK, SIDE_PX, left_over, models_in, mofa, process, refusal, write_net

READ_ONLY = Path("/sys/kernel/mofa-deploy")  # refuses even root, which a mode of 0555 does not
pytestmark = pytest.mark.skipif(not READ_ONLY.parent.is_dir(), reason="needs Linux")


@pytest.fixture(params=["export", "prepare", "quantize", "optimize", "bench", "run"])
def command(request, net, judged, calibrated):
    """Give the arguments of each command that writes from images on."""
    tiny = ("--model", "nafnet-tiny", "--shape", f"1,3,{SIDE_PX},{SIDE_PX}")
    return {
        "export": ("export", *tiny, *judged),
        "prepare": ("prepare", net, *judged),
        "quantize": ("quantize", net, *calibrated),
        "optimize": ("optimize", net, "--target", "x86", *judged),
        "bench": ("bench", net, *QUICK, *judged),
        "run": ("run", *tiny, *calibrated),
    }[request.param]


def test_a_read_only_folder_is_named(command):
    line = refusal(mofa(*command, "--out", READ_ONLY))
    assert f"cannot write {READ_ONLY}" in line
    assert "pass another --out" in line


def test_a_file_in_place_of_the_folder_is_named(command, tmp_path):
    there = tmp_path / "there"
    there.write_text("not a folder")
    line = refusal(mofa(*command, "--out", there))
    assert f"{there}" in line
    assert "is not a folder" in line
    assert "pass another --out" in line
    assert there.read_text() == "not a folder"


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_file_is_not_replaced_by_what_is_made_from_it(tmp_path, judged, force):
    mine = write_net(tmp_path / "mine.fp32.onnx")  # the very name that prepare gives
    before = mine.read_bytes()
    line = refusal(mofa("prepare", mine, *judged, *force, "--out", tmp_path))
    assert f"{mine} would replace what it is made from" in line
    assert "pass another --out" in line
    assert mine.read_bytes() == before
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("command", ["export", "prepare"], indirect=True)
def test_the_demo_photographs_are_not_written_into_a_read_only_folder_either(command):
    without_judged = command[: command.index("--held-out")]
    line = refusal(mofa(*without_judged, "--out", READ_ONLY))
    assert f"cannot write {READ_ONLY}/demo-data" in line
    assert "pass another --out" in line


# Full: a bound on the size of files refuses as a full disk does, without being root


def limited(limit_bytes, *arguments):
    bound = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    return process(*arguments, preexec_fn=bound)


@pytest.fixture(scope="session")
def halfway(net, calibrated, judged, tmp_path_factory):
    """Give a folder in which all is calibrated, quantized for x86, and measured."""
    folder = tmp_path_factory.mktemp("halfway")
    for arguments in (
        ("quantize", net, "--target", "x86", *calibrated),
        ("bench", net, *QUICK, *judged),
    ):
        said = mofa(*arguments, "--out", folder)
        assert said.code == 0, said.err
    return folder


MODEL_BYTES = 2000  # less than the net, more than a sidecar
FULL = {
    "prepare": (MODEL_BYTES, "net.fp32.onnx"),
    "quantize": (MODEL_BYTES, "net.int8-arm-cpu.onnx"),
    "optimize": (MODEL_BYTES, "net.int8-opt-x86.onnx"),
    "bench": (MODEL_BYTES, "input-1.f32"),
    "report": (MODEL_BYTES, "report"),
}


@pytest.fixture
def arguments(net, judged, calibrated):
    return {
        "prepare": ("prepare", net, "--force", *judged),
        "quantize": ("quantize", "--target", "arm-cpu", *calibrated),
        "optimize": ("optimize", *judged),
        "bench": ("bench", net, "--seed", "1", *QUICK, *judged),
        "report": ("report",),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_named_and_leaves_all_as_it_was(halfway, out, arguments, name):
    shutil.copytree(halfway, out)
    before = models_in(out)
    limit_bytes, refused = FULL[name]
    line = refusal(limited(limit_bytes, *arguments[name], "--out", out))
    assert refused in line
    assert "space" in line or "File too large" in line
    assert "--out" in line
    assert models_in(out) == before
    assert left_over(out) == []


@pytest.mark.slow
def test_a_disk_that_fills_while_measuring_keeps_what_was_measured(judged, tmp_path):
    net = write_net(tmp_path / "small.onnx", (1, 3, 32, 32))  # its input takes 12 kB
    out = tmp_path / "out"
    measure = ("bench", net, "--launches", "4", "--seconds", "0.3", *judged, "--out", out)
    line = refusal(limited(14_000, *measure))
    assert "journal.jsonl" in line
    assert "space" in line
    (journal,) = out.rglob("journal.jsonl")
    kept = journal.read_bytes()
    assert mofa(*measure).code == 0
    whole_lines = kept[: kept.rfind(b"\n") + 1]
    assert journal.read_bytes().startswith(whole_lines)
