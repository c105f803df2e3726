"""`gate --metric instructions` from the command line, over sessions that were counted before."""

import json
import xml.etree.ElementTree as ET

import pytest
from count_rows import LINE, emulated

from deploy.cli import run_app

REGRESSION, UNDECIDED = 4, 5
HEAVIER = LINE | {"fp32": {**LINE["fp32"], "instructions": 50_000_000}}


@pytest.fixture
def gate(capsys):
    """Run the gate; give its exit code and what it printed on both streams."""

    def run(*words):
        code = run_app(["gate", "--metric", "instructions", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def baseline(write_counts, gate, tmp_path):
    """Give the path of a baseline of LINE."""
    path = tmp_path / "baseline.json"
    session = write_counts(LINE, "old")
    assert gate("--baseline", path, "--current", session, "--rebaseline")[0] == 0
    return path


def test_the_first_rebaseline_writes_the_file_and_says_what_is_in_it(write_counts, gate, tmp_path):
    path = tmp_path / "new" / "baseline.json"
    code, out, _ = gate("--baseline", path, "--current", write_counts(LINE), "--rebaseline")
    assert code == 0
    assert "net plain 1x3x64x64: 53.00 M, 400.0 M for the session" in out
    assert out.splitlines()[-1] == f"{path}: 3 cases, written"
    assert set(json.loads(path.read_text())) == {"format", "metric", "taken_with", "cases"}


def test_rebaseline_leaves_a_file_that_is_the_same_alone(write_counts, gate, baseline):
    before = baseline.stat().st_mtime_ns
    session = write_counts(LINE, "again")
    code, out, _ = gate("--baseline", baseline, "--current", session, "--rebaseline")
    assert (code, baseline.stat().st_mtime_ns) == (0, before)
    assert "the same as before" in out


def test_rebaseline_tells_machines_what_changed(write_counts, gate, baseline):
    session = write_counts(HEAVIER, "new")
    _, out, _ = gate("--baseline", baseline, "--current", session, "--rebaseline", "--json")
    record = json.loads(out)
    assert record["written"] is True
    assert record["changes"][0].startswith("net fp32 1x3x64x64: 40.00 M")


def test_a_regression_ends_with_4_and_fails_the_junit_case(write_counts, gate, baseline, tmp_path):
    junit = tmp_path / "gate.xml"
    session = write_counts(HEAVIER, "new")
    code, out, _ = gate("--baseline", baseline, "--current", session, "--junit", junit)
    assert code == REGRESSION
    assert "25 % more instructions, budget 1 %" in " ".join(out.split())
    assert "without statistics" in " ".join(out.split())
    assert ET.parse(junit).getroot().get("failures") == "1"


def test_a_budgets_file_tolerates_more(write_counts, gate, baseline, tmp_path):
    budgets = tmp_path / "budgets.toml"
    budgets.write_text('[case."*/fp32".instructions]\nbudget = "30 %"\n')
    session = write_counts(HEAVIER, "new")
    assert gate("--baseline", baseline, "--current", session, "--budgets", budgets)[0] == 0


def test_a_pattern_for_another_metric_is_not_called_idle(write_counts, gate, baseline, tmp_path):
    budgets = tmp_path / "budgets.toml"
    budgets.write_text(
        '[case."phone/*".latency]\nbudget = "9 %"\n[case."nte/*".instructions]\nbudget = "9 %"\n'
    )
    session = write_counts(LINE, "new")
    words = ("--baseline", baseline, "--current", session, "--budgets", budgets, "--json")
    notes = json.loads(gate(*words)[1])["notes"]
    (idle,) = [note for note in notes if "fits none" in note]
    assert "'nte/*'" in idle


def test_the_command_of_an_invalid_gate_mends_it(write_counts, gate, baseline):
    session = write_counts(LINE, "new", device=emulated(onnxruntime="1.2.4"))
    code, out, _ = gate("--baseline", baseline, "--current", session, "--json")
    assert code == UNDECIDED
    (finding,) = json.loads(out)["findings"]
    assert "onnxruntime differs: 1.2.3 in the baseline and 1.2.4 now" in finding["reason"]
    command = finding["reason"].partition("mofa-deploy ")[2].split()
    assert command[-1] == "--rebaseline"
    assert run_app(command) == 0
    assert gate("--baseline", baseline, "--current", session)[0] == 0


def test_github_gets_the_verdict(write_counts, gate, baseline, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    session = write_counts(HEAVIER, "new")
    _, out, _ = gate("--baseline", baseline, "--current", session, "--github")
    assert "::error title=regression%3A net/fp32 instructions::25 %25 more instructions" in out
    assert "| net/fp32 | instructions | 40 M | 50 M | +25 % | regression |" in summary.read_text()


def test_a_session_with_times_is_refused(write_session, gate, baseline):
    timed = write_session({"plain": {"latency_ms": 1.0}}, "timed")
    code, _, err = gate("--baseline", baseline, "--current", timed)
    assert code == 1
    assert err.startswith(f"error: {timed}: no instructions were counted there")
    assert err.count("\n") == 1


def test_counted_sessions_are_no_latency(write_counts, capsys):
    session = write_counts(LINE)
    assert run_app(["gate", "--baseline", str(session), "--current", str(session)]) == 1
    assert "holds counted instructions, no latency: pass --metric" in capsys.readouterr().err


def test_a_missing_baseline_is_named_before_anything_is_counted(gate, tmp_path):
    code, _, err = gate("--baseline", tmp_path / "none.json", "--out", tmp_path / "nothing")
    assert (code, err.count("\n")) == (1, 1)
    assert f"no baseline at {tmp_path / 'none.json'}" in err
    assert "--rebaseline" in err


def test_a_file_of_something_else_is_not_overwritten(write_counts, gate, tmp_path):
    notes = tmp_path / "notes.json"
    notes.write_text('{"mine": 1}')
    code, _, err = gate("--baseline", notes, "--current", write_counts(LINE), "--rebaseline")
    assert (code, notes.read_text()) == (1, '{"mine": 1}')
    assert "is no baseline of instructions" in err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--threads", "2"), "--threads means nothing where instructions are counted"),
        (("--against", "x"), "--against means nothing"),
        (("--device", "host"), "host counts no instructions"),
        ((), "no --baseline"),
        (("--baseline", "b.json", "--current", "s", "net.onnx"), "files and --current"),
    ],
)
def test_options_that_mean_nothing_here_are_refused(gate, words, problem):
    code, _, err = gate(*words)
    assert (code, err.count("\n")) == (1, 1)
    assert problem in err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--metric", "energy"), "metric 'energy' is unknown"),
        (("--rebaseline",), "--rebaseline is of counted instructions"),
        (("--cpu", "a53"), "--cpu is of counted instructions"),
        (("--device", "arm64", "--against", "x"), "arm64 has no clock"),
    ],
)
def test_options_of_counting_are_refused_elsewhere(capsys, words, problem):
    assert run_app(["gate", *words]) == 1
    assert problem in capsys.readouterr().err
