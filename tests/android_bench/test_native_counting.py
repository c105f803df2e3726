"""Counting in the native runner: what it refuses on any machine, and counts under the emulator."""

import json
import subprocess
import sys
from itertools import pairwise

import numpy as np
import onnxruntime as ort
import pytest
from bench_examples import SHAPE, model_of
from emulation_examples import PAGE_BYTES, count, emulate, pieces_or_skip, start_counted
from native_examples import failure, start, write_inputs
from onnx import helper

from android_bench import protocol
from android_bench.elf import NATIVE
from android_bench.runner import HOST_FLAGS, HOST_LIBRARIES

# Between the two marks: 1 + 4 * TIMES + 2 instructions, the second mark's own among them.
LOOP = """
#include "page.h"
#define TEXT_OF(number) #number
#define TEXT(number) TEXT_OF(number)
__asm__(".globl _start\\n_start:\\n"
        "mov x8, #" TEXT(COUNTER_CALL) "\\nmov x0, #0\\nsvc #0\\n"
        "mov x9, #" TEXT(TIMES) "\\n"
        "1: ldr q0, [sp]\\nfmla v1.4s, v0.4s, v0.4s\\nsubs x9, x9, #1\\nb.ne 1b\\n"
        "mov x0, #1\\nsvc #0\\n"
        "mov x8, #93\\nmov x0, #0\\nsvc #0\\n");
"""
COUNTING = ("--mode", "count", "--counter", "page")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "page").write_bytes(bytes(PAGE_BYTES))
    return write_inputs(tmp_path)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--mode", "count"], "--counter"),
        (["--counter", "page"], "--counter"),
        (["--mode", "memory", "--counter", "page"], "--counter"),
        ([*COUNTING, "--threads", "2"], "--threads"),
    ],
)
def test_a_command_line_that_cannot_be_counted_is_named_and_nothing_printed(folder, options, named):
    completed = start(folder, *options)
    assert (completed.returncode, completed.stdout) == (2, "")
    assert completed.stderr.startswith("usage: ")
    assert named in completed.stderr.splitlines()[-1]


@pytest.mark.parametrize("mode", [COUNTING, ("--mode", "profile", "--profile", "p", *COUNTING[2:])])
def test_without_a_counter_there_is_nothing_to_load(folder, mode):
    code, found = failure(folder, *mode)
    assert (code, found.stage) == (3, "load")
    assert "no counter writes to page" in found.message


def test_a_page_that_is_not_there_or_too_short_is_named(folder):
    assert (
        "cannot open absent" in failure(folder, "--mode", "count", "--counter", "absent")[1].message
    )
    (folder / "page").write_bytes(bytes(PAGE_BYTES - 1))
    assert failure(folder, *COUNTING)[1].message == "page is no page of 4096 bytes"


def test_what_an_earlier_launch_counted_is_not_taken_for_an_answer(folder):
    (folder / "page").write_bytes(b"\1" * PAGE_BYTES)
    assert "no counter writes" in failure(folder, *COUNTING)[1].message


def test_an_emulator_without_the_counter_is_refused(folder):
    done = start_counted(folder, "--mode", "count", plugin=False)
    assert done.returncode == 3
    assert "no counter writes" in protocol.parse_launch(done.stdout).failure.message


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    """The counts of a loop of 1000 turns, by kind."""
    pieces_or_skip()
    folder = tmp_path_factory.mktemp("loop")
    (folder / "loop.c").write_text(LOOP)
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl", "-nostdlib"]
    command += ["-DTIMES=1000", f"-I{NATIVE / 'arm64'}", "-o", "loop", "loop.c"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    done = emulate(folder, folder / "loop")
    assert done.returncode == 0, done.stderr
    page = np.fromfile(folder / "page", "<u8").reshape(-1, 16)
    kinds = ["instructions", "simd", "loads", "stores", "moved_bytes", "dot", "mmla", "fmla"]
    return dict(zip([*kinds, "branches"], map(int, page[1] - page[0]), strict=False))


def test_a_loop_is_counted_to_the_instruction(loop):
    assert loop == {
        "instructions": 1 + 4 * 1000 + 2,
        "simd": 2 * 1000,
        "loads": 1000,
        "stores": 0,
        "moved_bytes": 16 * 1000,
        "dot": 0,
        "mmla": 0,
        "fmla": 1000,
        "branches": 1000 + 1,
    }


WARM = ("--warmup", "1", "--min-runs", "2", "--seconds", "7")


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """A folder in which a launch was counted, and the launch."""
    folder = write_inputs(tmp_path_factory.mktemp("counted"))
    return folder, count(folder, *WARM)


def test_the_session_and_each_inference_are_counted_and_nothing_is_timed(counted):
    seen = counted[1]
    assert [(one.phase, one.iteration) for one in seen.counts] == [
        ("session", None), ("first", 0), ("warmup", 1), ("steady", 2), ("steady", 3)
    ]  # fmt: skip
    assert (seen.begin.mode, seen.session.create_ns, seen.peak) == ("count", None, None)
    assert (seen.samples, seen.memory, seen.smaps) == ((), (), ())


def test_a_count_repeats_from_launch_to_launch_and_from_inference_to_inference(counted, tmp_path):
    seen = counted[1]
    elsewhere = tmp_path / "where the path is longer by far than that of the other folder"
    elsewhere.mkdir()
    assert count(write_inputs(elsewhere), *WARM).counts == seen.counts
    # the heap takes some inferences to settle, always the same ones
    assert seen.counts[-1].instructions == pytest.approx(seen.counts[-2].instructions, rel=5e-3)


def test_a_counted_inference_computes_what_this_machine_does(counted):
    folder = counted[0]
    values = np.fromfile(folder / "input.f32", "<f4").reshape(SHAPE)
    expected = ort.InferenceSession(folder / "net.onnx").run(None, {"input": values})[0]
    written = np.fromfile(folder / "output.f32", "<f4").reshape(SHAPE)
    np.testing.assert_allclose(written, expected, rtol=1e-4, atol=1e-4)


def test_a_count_grows_with_the_graph(tmp_path):
    steady = {}
    for n in (1, 4):
        ends = [("input", SHAPE)], [("output", SHAPE)]
        names = ["input", *(f"x{place}" for place in range(1, n)), "output"]
        nodes = [helper.make_node("Sin", [before], [after]) for before, after in pairwise(names)]
        steady[n] = count(write_inputs(tmp_path, model_of(nodes, *ends))).counts[-1].instructions
    elements = int(np.prod(SHAPE))
    assert steady[4] - steady[1] > 3 * elements


def test_a_counted_profile_holds_instructions_and_adds_up(counted, folder):
    plain = counted[1].counts[-1].instructions
    options = ["--mode", "profile", "--profile", "profile.json", "--warmup", "0", "--min-runs", "1"]
    done = start_counted(folder, *options)
    assert done.returncode == 0, done.stderr
    seen = protocol.parse_launch(done.stdout)
    assert seen.counts[-1].instructions > plain  # what the profile itself takes
    events = json.loads((folder / "profile.json").read_text())
    runs = [one["dur"] for one in events if one["name"] == "model_run"]
    assert runs[-1] == pytest.approx(seen.counts[-1].instructions, rel=0.1)
    nodes = [one["dur"] for one in events if one["name"].endswith("_kernel_time")]
    assert len(nodes) == 2 * 2
    assert plain / 2 < sum(nodes[2:]) < 2 * plain


@pytest.mark.slow
def test_counting_is_clean_under_the_undefined_behaviour_sanitizer(folder):
    """A violation traps, and a signal ends the program. For aarch64 there is no other sanitizer."""
    sources = [NATIVE / "ort_bench.c", NATIVE / "arm64" / "guest.c"]
    command = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu.2.28"]
    command += [*HOST_FLAGS, "-fsanitize=undefined", "-fsanitize-trap=undefined", "-rdynamic"]
    command += ["-o", folder / "checked", *sources, *HOST_LIBRARIES]
    built = subprocess.run(
        [*map(str, command)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    for options in (["--mode", "count"], ["--mode", "profile", "--profile", "profile.json"]):
        done = start_counted(folder, *options, "--warmup", "1", program=folder / "checked")
        assert done.returncode == 0, done.stderr
        assert len(protocol.parse_launch(done.stdout).counts) == 2 + 1 + 5
