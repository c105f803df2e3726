"""The gate from the command line: what it takes, refuses and leaves. Verdicts: tests/reports."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import onnx
import pandas as pd
import pytest
from cli_examples import mofa, refusal, write_net
from onnx import helper

from deploy.artifact import read_artifact, write_artifact

REGRESSION, UNDECIDED = 4, 5
SHORT = ("--launches", "1", "--seconds", "0.01", "--warmup", "0", "--threads", "1")
EXACT_ONLY = '[latency]\nbudget = "off"\n[memory]\nbudget = "off"\n'


@pytest.fixture(scope="module")
def nets(tmp_path_factory) -> tuple[Path, Path]:
    """Give two files of one name; the second is larger, and the same to compute."""
    folder = tmp_path_factory.mktemp("gate-nets")
    old, new = (write_net(folder / side / "net.onnx") for side in ("old", "new"))
    model = onnx.load(new)
    model.doc_string = "x" * 2000
    onnx.save(model, new)
    return old, new


@pytest.fixture(scope="module")
def sessions(nets, judged, tmp_path_factory) -> dict[str, Path]:
    """Give measured sessions by what is different about them."""
    old, new = nets
    out = tmp_path_factory.mktemp("gate-sessions")
    plans = {
        "old": (old, SHORT),
        "new": (new, SHORT),
        "threads": (old, (*SHORT, "--threads", "2")),
        "seconds": (old, (*SHORT, "--seconds", "0.02")),
    }
    return {
        name: Path(mofa("bench", net, *plan, *judged, "--out", out, "--json").json()["session"])
        for name, (net, plan) in plans.items()
    }


@pytest.fixture
def exact_only(tmp_path) -> Path:
    path = tmp_path / "exact.toml"
    path.write_text(EXACT_ONLY)
    return path


@pytest.fixture
def gate(sessions, exact_only):
    """Judge two sessions by what never varies."""

    def run(baseline, current, *options):
        sides = ("--baseline", sessions[baseline], "--current", sessions[current])
        return mofa("gate", *sides, "--budgets", exact_only, *options)

    return run


def test_a_larger_file_ends_with_4(gate):
    said = gate("old", "new")
    assert said.code == REGRESSION
    assert "net/external" in said.out
    assert said.out.splitlines()[-1] == "gate: regression (1 pass, 1 regression)"


def test_a_smaller_file_ends_with_0(gate):
    assert gate("new", "old").code == 0


@pytest.mark.parametrize(
    ("current", "problem"),
    [
        ("threads", "intra_op_threads differs: 1 and 2"),
        ("seconds", "seconds differs: 0.01 and 0.02"),
    ],
)
def test_unlike_conditions_end_with_5_and_are_named(gate, current, problem):
    said = gate("old", current, "--json")
    (found,) = json.loads(said.out)["findings"]
    assert (said.code, found["verdict"]) == (UNDECIDED, "invalid")
    assert found["reason"] == f"{problem} (--force compares all the same)"


def test_unlike_conditions_can_be_forced(gate):
    said = gate("old", "seconds", "--force")
    assert said.code == 0
    assert "compared although seconds differs: 0.01 and 0.02" in said.out


def test_one_launch_a_side_ends_with_5_and_says_how_many_it_takes(sessions):
    said = mofa("gate", "--baseline", sessions["old"], "--current", sessions["new"], "--json")
    reasons = {one["metric"]: one["reason"] for one in json.loads(said.out)["findings"]}
    assert "no interval from so few launches; about 6 launches" in reasons["latency"]


def test_every_file_that_is_asked_for_is_written(gate, tmp_path):
    names = ("junit", "bencher", "github-action-benchmark")
    files = {name: tmp_path / "made" / name for name in names}
    options = [part for name, path in files.items() for part in (f"--{name}", path)]
    assert gate("old", "new", *options).code == REGRESSION
    assert ET.parse(files["junit"]).getroot().get("failures") == "1"
    assert "file-size" in json.loads(files["bencher"].read_text())["net/external"]
    assert json.loads(files["github-action-benchmark"].read_text())[0]["unit"] == "MiB"


def test_annotations_are_printed_and_the_summary_is_appended(gate, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    said = gate("old", "new", "--github")
    assert said.out.splitlines()[-1].startswith("::error title=regression%3A net/external size::")
    assert summary.read_text().startswith("# before\n### gate: regression")


def test_a_summary_that_cannot_be_written_is_named(gate, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "summary.md"))
    said = gate("old", "new", "--github")
    assert said.code == 1
    assert "summary.md" in said.err


def test_a_budgets_file_in_the_current_folder_counts(sessions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("budgets.toml").write_text(EXACT_ONLY + '[size]\nbudget = "900 %"\n')
    sides = ("--baseline", sessions["old"], "--current", sessions["new"])
    assert mofa("gate", *sides).code == 0


def test_a_pattern_of_the_budgets_that_fits_no_case_is_told_and_fails_nothing(sessions, tmp_path):
    budgets = tmp_path / "budgets.toml"
    of_cases = '[case."nte/*".size]\nbudget = "9 %"\n[case."net/*".size]\nbudget = "900 %"\n'
    budgets.write_text(EXACT_ONLY + of_cases)
    sides = ("--baseline", sessions["old"], "--current", sessions["new"])
    said = mofa("gate", *sides, "--budgets", budgets, "--json")
    idle = [note for note in said.json()["notes"] if "fits none" in note]
    assert idle == ["the budgets' case 'nte/*' fits none of the cases, which are: net/external"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "no --baseline: pass --baseline and --current, or --against"),
        (["--baseline", "nowhere"], "no --current: pass"),
        (["--current", "nowhere"], "no --baseline: pass"),
        (["--baseline", "nowhere", "--current", "nowhere"], "no baseline at nowhere: name a"),
        (["--against", "a", "--baseline", "b"], "--against measures both sides"),
        (["--against", "nowhere"], "no baseline at nowhere: name a folder of artifacts"),
        (["--against", ".", "--provider", "npu"], "provider 'npu' is unknown"),
        (["--against", ".", "--provider", "cpu,nnapi"], "2 providers: cpu, nnapi: judge one"),
        (["a.onnx"], "files are given, but no --against"),
        (["--json", "--github"], "--json and --github both print"),
        (["--baseline", ".", "--current", "..", "--budgets", "no.toml"], "no budget file at no"),
    ],
)
def test_what_fits_no_use_of_the_gate_is_refused(refuse, tmp_path, monkeypatch, options, problem):
    monkeypatch.chdir(tmp_path)
    assert problem in refuse("gate", *options)


def test_an_empty_baseline_is_refused_and_nothing_is_written(sessions, tmp_path):
    sides = ("--baseline", tmp_path, "--current", sessions["new"])
    line = refusal(mofa("gate", *sides, "--junit", tmp_path / "gate.xml"))
    assert "runs.parquet" in line
    assert "mofa-deploy bench" in line
    assert not (tmp_path / "gate.xml").exists()


def test_a_metric_that_there_is_not_is_refused(sessions, tmp_path):
    budgets = tmp_path / "budgets.toml"
    budgets.write_text('[speed]\nbudget = "2 %"\n')
    sides = ("--baseline", sessions["old"], "--current", sessions["new"])
    assert "unknown metric 'speed'" in refusal(mofa("gate", *sides, "--budgets", budgets))


def test_one_session_on_both_sides_is_refused_where_it_holds_one(sessions):
    line = refusal(mofa("gate", "--baseline", sessions["old"], "--current", sessions["old"]))
    assert "holds no interleaved session" in line


def test_both_sides_are_measured_in_one_session_that_can_be_judged_again(
    nets, judged, exact_only, out
):
    old, new = nets
    options = ("--budgets", exact_only, "--out", out)
    said = mofa("gate", "--against", old.parent, new, *SHORT, *judged, *options)
    assert said.code == REGRESSION
    (session,) = [path.parent for path in out.glob("bench/*/gate.json")]
    again = mofa("gate", "--baseline", session, "--current", session, *options)
    assert again.code == REGRESSION


def test_no_photograph_is_restored_for_a_verdict(nets, judged, exact_only, out, monkeypatch):
    restored = []
    kept = "deploy.commands.bench.keep_pictures"
    monkeypatch.setattr(kept, lambda *given: restored.append(given))
    old, new = nets
    assert mofa("bench", old, *SHORT, *judged, "--out", out / "first").code == 0
    assert len(restored) == 1
    options = ("--budgets", exact_only, "--out", out / "second")
    assert mofa("gate", "--against", old, new, *SHORT, *judged, *options).code == REGRESSION
    assert len(restored) == 1


def test_the_same_bytes_are_not_measured(nets, out):
    old, _ = nets
    said = mofa("gate", "--against", old, old, "--out", out)
    assert said.code == 0
    assert "the same file on both sides; not measured" in said.out
    assert not (out / "bench").exists()


@pytest.fixture
def released(tmp_path) -> Path:
    """Give a folder with a line that lacks its middle, as a release has it: plain and int8."""
    folder = tmp_path / "released"
    for kind, parent in (("plain", None), ("int8-x86", "of an fp32 file")):
        net = write_net(tmp_path / "made" / f"{kind}.onnx")
        model = onnx.load(net)
        model.doc_string = kind
        onnx.save(model, net)
        made_from = replace(read_artifact(net), sha256=parent) if parent else None
        told = {"target": "x86"} if parent else {}
        write_artifact(
            net, folder, model="net", kind=kind, parent=made_from, params=told, versions={},
            fidelity={},
        )  # fmt: skip
    return folder


def test_a_released_file_is_compared_with_itself_although_what_made_it_is_not_there(released, out):
    said = mofa("gate", "--against", released, released / "net.int8-x86.onnx", "--out", out)
    assert said.code == 0
    assert "net/int8-x86" in said.out
    assert "the same file on both sides; not measured" in said.out


def test_the_one_file_of_a_folder_is_no_pair_of_one_of_another_kind(released, refuse, out):
    out.mkdir()
    for suffix in (".onnx", ".onnx.json"):
        (released / f"net.int8-x86{suffix}").rename(out / f"net.int8-x86{suffix}")
    line = refuse("gate", "--against", released, out / "net.int8-x86.onnx")
    assert "the baseline has net/plain, and the files are net/int8-x86" in line


def test_what_the_line_lacks_of_the_baseline_is_invalid(released, tmp_path):
    line = tmp_path / "line"
    line.mkdir()
    for suffix in (".onnx", ".onnx.json"):
        content = (released / f"net.plain{suffix}").read_bytes()
        (line / f"net.plain{suffix}").write_bytes(content)
    said = mofa("gate", "--against", released, "--out", line, "--json")
    found = {one["case"]: one for one in json.loads(said.out)["findings"]}
    assert said.code == UNDECIDED
    assert found["net/plain"]["verdict"] == "pass"
    assert found["net/int8-x86"]["reason"] == f"in the baseline, but not in the line in {line}"


def test_what_is_there_without_what_made_it_is_left_out_and_that_is_said(released):
    said = mofa("gate", "--against", released, "--out", released, "--json")
    found = {one["case"]: one for one in json.loads(said.out)["findings"]}
    assert said.code == UNDECIDED
    assert "left out: what it was made from is not in" in found["net/int8-x86"]["reason"]


def test_single_files_of_other_names_are_a_pair_and_it_says_so(nets, out, tmp_path):
    renamed = tmp_path / "other.onnx"
    renamed.write_bytes(nets[0].read_bytes())
    said = mofa("gate", "--against", nets[0], renamed, "--out", out)
    assert said.code == 0
    assert "is compared with" in said.out


def test_files_without_a_baseline_are_refused(refuse, nets, tmp_path):
    folder = tmp_path / "baseline"
    write_net(folder / "one.onnx")
    write_net(folder / "two.onnx")
    line = refuse("gate", "--against", folder, nets[0])
    assert "the baseline has one/external, two/external, and the files are net/external" in line


def test_a_graph_that_does_not_run_is_invalid_and_not_slower(nets, judged, out, tmp_path):
    node = helper.make_node("Reshape", ["image", "wide"], ["restored"], "broken")
    broken = write_net(tmp_path / "net.onnx", nodes=[node])
    said = mofa("gate", "--against", nets[0], broken, *SHORT, *judged, "--out", out, "--json")
    (found,) = json.loads(said.out)["findings"]
    assert (said.code, found["verdict"]) == (UNDECIDED, "invalid")
    assert found["reason"].startswith("current: 1 of 1 launches failed (load_error: 1; ")


def test_a_case_that_fails_hides_no_regression_of_another(nets, judged, exact_only, tmp_path):
    sides = {side: tmp_path / side for side in ("old", "new")}
    for place, net in zip(sides.values(), nets, strict=True):
        place.mkdir()
        (place / "net.onnx").write_bytes(net.read_bytes())
    write_net(sides["old"] / "other.onnx")
    node = helper.make_node("Reshape", ["image", "wide"], ["restored"], "broken")
    write_net(sides["new"] / "other.onnx", nodes=[node])
    files = sorted(sides["new"].glob("*.onnx"))
    options = ("--budgets", exact_only, "--out", tmp_path / "out", "--json")
    said = mofa("gate", "--against", sides["old"], *files, *SHORT, *judged, *options)
    found = {(one["case"], one["verdict"]) for one in json.loads(said.out)["findings"]}
    assert said.code == REGRESSION
    assert {("net/external", "regression"), ("other/external", "invalid")} <= found


def test_a_device_that_is_not_there_is_refused(refuse, nets, judged):
    line = refuse("gate", "--against", *nets, "--device", "pixel-99", *judged)
    assert "no device 'pixel-99'" in line


def test_budgets_are_suggested_from_a_long_session(sessions, tmp_path):
    for table in sessions["old"].glob("*.parquet"):
        frame = pd.read_parquet(table)
        if "run_id" in frame:
            many = [_at(frame, block) for block in range(20)]
            frame = pd.concat(many, ignore_index=True)
        frame.to_parquet(tmp_path / table.name)
    said = mofa("gate-learn", tmp_path)
    assert said.code == 0
    assert '[case."net/external".latency]' in said.out


def _at(frame: pd.DataFrame, block: int) -> pd.DataFrame:
    moved = frame.assign(run_id=frame["run_id"] + f"/{block}")
    return moved.assign(block=block) if "block" in frame else moved


def test_too_short_a_session_suggests_nothing(sessions):
    assert "no case has 8 pairs of good launches" in refusal(mofa("gate-learn", sessions["old"]))
