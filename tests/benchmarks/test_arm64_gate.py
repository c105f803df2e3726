"""What the benchmark of the instruction gate says, and when it fails."""

import math
import os
import tempfile
from pathlib import Path

import pytest
from arm64.nets import NETS, make_forms
from arm64_emulator_cost import _peak_mib, _processor_s
from arm64_gate import Repeated, edits_lines, repeat_lines
from arm64_gate_edits import EDITS, Edit, Judged, judge_edits, surroundings, targets_changed

from android_bench.arm64_pieces import find_pieces
from deploy.errors import DeviceError
from deploy.targets import TARGETS

BY_NAME = {edit.name: edit for edit in EDITS}
PASSED, REGRESSION, INVALID = 0, 4, 5


def judged(worse, exit_code, change=2.0):
    edit = Edit("an-edit", "something", worse)
    return Judged(edit, change, change, exit_code, "a verdict", math.inf)


def repeated(*steady, session=(100_000, 100_000)):
    return Repeated("net", "int8", session, steady)


def test_ten_edits_make_it_heavier_and_ten_do_not():
    assert [edit.worse for edit in EDITS] == [True] * 10 + [False] * 10
    assert len(BY_NAME) == 20


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.name)
def test_an_edit_changes_one_thing(edit):
    changes = (edit.graph, edit.prepare, edit.quantize, edit.exported, edit.loaded, edit.saved)
    assert sum(map(bool, (*changes, edit.held_out, edit.elsewhere))) == 1


@pytest.mark.parametrize(
    ("worse", "exit_code", "right"),
    [
        (True, REGRESSION, True),
        (True, PASSED, False),
        (True, INVALID, False),
        (False, PASSED, True),
        (False, REGRESSION, False),
        (False, INVALID, False),
    ],
)
def test_the_gate_is_right_only_by_the_exit_code_that_fits(worse, exit_code, right):
    assert judged(worse, exit_code).right is right


def test_a_missed_regression_and_a_false_alarm_stand_in_the_table():
    lines = edits_lines([judged(True, REGRESSION), judged(True, PASSED), judged(False, REGRESSION)])
    assert lines[-1] == "1 of 2 caught, 1 of 1 harmless ones flagged."
    assert [line.endswith("| NO |") for line in lines[2:5]] == [False, True, True]


def test_a_change_that_could_not_be_told_is_no_number():
    assert "| – | – |" in edits_lines([judged(True, INVALID, None)])[2]


def test_counts_that_are_one_ten_thousandth_apart_repeat_and_more_do_not():
    assert repeat_lines([repeated(100_000, 100_010)])[1]
    lines, right = repeat_lines([repeated(100_000, 100_000), repeated(100_000, 100_011)])
    assert not right
    assert [line.endswith("| NO |") for line in lines[2:]] == [False, True]


def test_a_session_that_does_not_repeat_fails_too():
    assert not repeat_lines([repeated(5, 5, session=(100_000, 100_011))])[1]


def test_a_target_is_put_back_whatever_happens():
    usual = TARGETS["arm-cpu"]
    with pytest.raises(RuntimeError), targets_changed({"level": "basic"}):
        assert TARGETS["arm-cpu"].level == "basic"
        raise RuntimeError
    assert TARGETS["arm-cpu"] is usual


def test_other_surroundings_end_with_their_block(tmp_path):
    usual = tempfile.gettempdir()
    with surroundings(tmp_path, filler_bytes=100):
        assert Path(tempfile.mkdtemp()).is_relative_to(tmp_path)
        assert len(os.environ["FILLER"]) == 100
    assert tempfile.gettempdir() == usual
    assert "FILLER" not in os.environ


def test_memory_and_time_of_a_process_are_read_in_their_units():
    this = Path("/proc/self")
    assert 10 < _peak_mib(this) < 100_000
    assert 0 < _processor_s(this) <= os.times().user + os.times().system + 0.1


@pytest.mark.slow
def test_the_gate_catches_a_lost_fusion_of_the_demo_network_and_passes_doc_strings(tmp_path):
    try:
        find_pieces()
    except DeviceError as missing:
        pytest.skip(str(missing))
    make_forms(NETS["nafnet-tiny"], tmp_path / "line", 64, None)
    chosen = [BY_NAME["fusion-broken"], BY_NAME["annotated"]]
    lost, said = judge_edits(tmp_path / "line", tmp_path / "edits", chosen, again=False)
    assert lost.right
    assert lost.steady_pct > 1
    assert said.right
    assert math.isinf(said.output_db)
    assert abs(said.steady_pct) < 0.1
