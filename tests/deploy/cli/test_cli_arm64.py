"""The emulated core on the command line, where its pieces are there."""

from pathlib import Path

import pytest
from cli_examples import EXPECTED_ERROR, mofa

from android_bench.arm64_pieces import find_pieces
from deploy.artifact import read_artifact
from deploy.errors import DeviceError


@pytest.fixture(scope="module")
def pieces():
    try:
        return find_pieces()
    except DeviceError as missing:
        pytest.skip(str(missing))


def test_devices_lists_the_emulated_core_as_ready_or_says_what_it_lacks():
    listed = {one["name"]: one for one in mofa("devices", "--json").json()}
    assert listed["arm64"]["state"] in ("ready", "not set up")
    assert listed["arm64"]["measurable"] == (listed["arm64"]["state"] == "ready")


@pytest.mark.slow
def test_the_host_is_timed_and_the_core_counted_and_never_both_in_one_table(
    pieces, net, judged, out
):
    options = ("--launches", "1", "--no-memory", "--threads", "1", *judged, "--out", out)
    said = mofa("bench", net, "--device", "host,arm64", "--seconds", "0.02", *options, "--json")
    timed, counted = (one["cases"][0] for one in said.json())
    assert timed["latency_median_ms"] > 0
    assert counted["instructions"] > 0
    assert counted.get("latency_median_ms") is None


@pytest.mark.slow
def test_what_is_printed_of_counts_says_that_they_are_no_time(pieces, net, judged, out):
    said = mofa("bench", net, "--device", "arm64", *judged, "--out", out)
    assert said.code == 0, said.err
    assert "restoring" not in said.err
    assert "no time" in said.out
    assert " ms" not in said.out


@pytest.mark.slow
def test_the_same_again_is_not_counted_again(pieces, net, judged, out):
    for said in (mofa("bench", net, "--device", "arm64", *judged, "--out", out) for _ in range(2)):
        assert said.code == 0, said.err
    assert "measured already, nothing to do" in said.err


def test_two_threads_are_refused_in_one_line(net, judged, out):
    said = mofa("bench", net, "--device", "arm64", "--threads", "2", *judged, "--out", out)
    assert (said.code, len(said.err.splitlines())) == (EXPECTED_ERROR, 1)
    assert "instructions of 2 threads cannot be counted" in said.err


def test_an_unknown_core_is_refused_with_the_known_ones(net, judged, out):
    said = mofa("bench", net, "--device", "arm64", "--cpu", "a99", *judged, "--out", out)
    assert said.code == EXPECTED_ERROR
    assert "unknown CPU 'a99': use one of a53" in said.err


def test_a_core_to_emulate_is_refused_where_none_is_emulated(net, judged, out):
    said = mofa("bench", net, "--device", "host", "--cpu", "a53", *judged, "--out", out)
    assert (said.code, len(said.err.splitlines())) == (EXPECTED_ERROR, 1)
    assert "--cpu a53 is of arm64, and --device is host: pass --device arm64" in said.err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("tune", "--device", "host"), "--cpu a53 is of arm64, and --device is host"),
        (("audit",), "--cpu is of --instructions"),
    ],
)
def test_no_command_takes_a_core_that_it_does_not_emulate(arguments, problem, net):
    said = mofa(*arguments, net, "--cpu", "a53")
    assert (said.code, len(said.err.splitlines())) == (EXPECTED_ERROR, 1)
    assert problem in said.err


@pytest.mark.slow
def test_the_core_s_own_onnx_runtime_optimizes_a_graph(pieces, net, judged, out):
    words = ("optimize", net, "--target", "arm-cpu", "--device", "arm64", *judged, "--out", out)
    (made,) = mofa(*words, "--json").json()
    artifact = read_artifact(Path(made["path"]))
    assert artifact.params["valid_for"]["device"] == "arm64-a76"
    assert artifact.path.parent.name == artifact.params["valid_for"]["device_id"]
    assert artifact.fidelity["psnr_vs_parent_db"] is None  # checked there, and equal


@pytest.mark.parametrize(
    ("arguments", "given"),
    [((), "neither FILE nor --arm64"), (("a.aar", "--arm64"), "FILE and --arm64")],
)
def test_runtime_add_takes_a_file_or_arm64(arguments, given):
    said = mofa("runtime", "add", *arguments)
    assert said.code == EXPECTED_ERROR
    assert f"{given} given: name a file for phones, or pass --arm64" in said.err


def test_runtime_list_shows_the_pieces_of_the_emulation(pieces):
    kept = {one["abi"]: one for one in mofa("runtime", "list", "--json").json()}
    assert kept["aarch64"]["version"] == pieces.library_version
    assert kept["qemu-aarch64"]["version"] == pieces.emulator.version


def test_runtime_add_finds_what_is_there(pieces):
    added = mofa("runtime", "add", "--arm64", "--json").json()
    assert [one["abi"] for one in added] == ["aarch64", "qemu-aarch64", "arm64 C and C++"]
