"""`mofa-deploy report` and `compare` where they print a table: parsed, computed, drawn, refused."""

import csv
import io
import json

import pandas as pd
import pytest

from android_bench.session import SESSION_NAME
from deploy.cli import run_app
from deploy.commands.tables import printed_by
from reports.presets import PRESETS

USAGE_OR_ROWS = 1


@pytest.fixture
def say(capsys):
    """Run a command line; give its exit code, what it printed, and what it complained of."""

    def run(*arguments):
        code = run_app([str(one) for one in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def session(line_session):
    return line_session


@pytest.fixture
def refused(say):
    def run(*arguments):
        code, out, err = say(*arguments)
        assert (code, out) == (USAGE_OR_ROWS, "")
        (one_line,) = err.strip().splitlines()
        return one_line

    return run


def test_a_format_alone_prints_the_table_of_the_report(say, session):
    code, out, _ = say("report", session, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert [row["kind"] for row in rows] == ["plain", "fp32", "int8-x86", "int8-opt-x86"]
    assert float(rows[3]["speed_up_low"]) < 2.5 < float(rows[3]["speed_up_high"])


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        ("markdown", "net on desk"),
        ("latex", r"\begin{table}"),
        ("html", "<figure>"),
        ("terminal", "net on desk"),
    ],
)
def test_each_format_is_printed_and_nothing_else(say, session, form, begins):
    code, out, err = say("report", session, "--format", form)
    assert (code, err) == (0, "")
    assert out.startswith(begins)


def test_a_table_writes_no_report(say, session, tmp_path):
    say("report", session, "--rows", "kind", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pivot_is_as_asked_for(say, session):
    options = ("--rows", "model", "--columns", "provider,precision", "--value", "latency,psnr")
    _, out, _ = say("report", session, *options, "--format", "markdown")
    assert (
        "| model | CPU, fp32, latency ms | CPU, fp32, PSNR dB | CPU, int8, latency ms |"
        in " ".join(out.split())
    )


def test_where_may_be_repeated(say, session):
    wheres = ("--where", "precision=int8", "--where", "kind=int8-x86")
    _, out, _ = say("report", session, "--rows", "kind", *wheres, "--format", "csv")
    assert [line.split(",")[0] for line in out.splitlines()] == ["kind", "int8-x86"]


def test_json_has_the_numbers_and_the_notes(say, session):
    _, out, _ = say("report", session, "--rows", "kind", "--value", "latency,p99", "--json")
    rows = json.loads(out)["rows"]
    assert rows[0]["latency_ms_low"] < rows[0]["latency_ms"] < rows[0]["latency_ms_high"]
    assert rows[0]["p99_ms"] is None


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_prints_with_what_its_paper_printed(say, session, name):
    code, out, _ = say("report", session, "--preset", name, "--with-paper", "--format", "markdown")
    assert code == 0
    assert "printed in the paper" in out
    assert "Printed in the paper, not measured here: " in out


def test_the_papers_figures_are_those_of_its_table():
    figures = printed_by(PRESETS["mofa-4"]).figures
    assert figures["mobile_ms"]["pmrid"] == "220"
    assert figures["parameters"]["nafnet-mofa"] == "222.1 K"
    assert printed_by(PRESETS["thesis-6.3"]).figures["cpu_mb"]["nafnet-32-36-local"] == "190"


@pytest.mark.parametrize("name", PRESETS)
def test_every_printed_column_of_a_preset_is_in_its_paper(name):
    preset = PRESETS[name]
    figures = printed_by(preset).figures
    found = {key for key in preset.printed.values() if set(figures[key]) & set(preset.labels)}
    assert found == set(preset.printed.values())


@pytest.fixture
def perf_test(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("net.onnx,0.0101,52428800,97,0\nnet.onnx,0.0103,52428800,97,1\n")
    return path


def test_an_imported_file_stands_beside_a_session(say, session, perf_test):
    imported = ("--import", f"onnxruntime_perf_test:{perf_test}")
    code, out, _ = say("report", session, *imported, "--rows", "kind", "--format", "markdown")
    assert code == 0
    assert "imported from onnxruntime_perf_test: no launches, so no interval" in out
    assert "| external " in out
    assert "Speed-up is against plain" in out


def test_a_result_file_is_known_where_a_folder_is_expected(say, perf_test):
    code, out, _ = say("report", perf_test, "--rows", "model", "--format", "csv")
    assert code == 0
    assert out.splitlines()[1].startswith("net,10.2,")


def test_an_imported_file_has_a_page(say, perf_test, tmp_path):
    code, _, err = say("report", perf_test, "--out", tmp_path / "out")
    assert (code, err.strip().splitlines()[1:]) == (0, [])
    assert (tmp_path / "out" / "report" / "report.html").is_file()


def test_an_unknown_file_is_one_line(refused, tmp_path):
    (tmp_path / "notes.txt").write_text("nothing of the kind")
    assert "of no format known here" in refused("report", tmp_path / "notes.txt", "--rows", "model")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--format", "pdf"), "unknown format 'pdf': use one of terminal, markdown"),
        (("--rows", "colour"), "unknown dimension 'colour': use one of model, kind"),
        (("--value", "speed"), "unknown value 'speed': use one of latency, p90"),
        (("--where", "kind"), "--where takes NAME=VALUE, not 'kind'"),
        (("--where", "kind=int4"), "no case has the kind 'int4': there are fp32, int8-opt-x86"),
        (("--preset", "mofa-9"), "unknown preset 'mofa-9': use one of mofa-1"),
        (("--preset", "mofa-1", "--rows", "kind"), "--preset has its own rows"),
        (("--import", "perf:x.csv"), "--import takes FORMAT:FILE, not 'perf:x.csv': formats are"),
        (("--import", "litert_benchmark_model:x"), "cannot read x (No such file or directory)"),
        (("--with-paper",), "--with-paper goes with a table of the papers"),
    ],
)
def test_what_fits_nothing_is_answered_in_one_line(refused, session, options, said):
    assert said in refused("report", session, *options)


def test_unlike_devices_are_refused_and_forced(say, refused, write_session, line, phone):
    sessions = write_session(line, "s1"), write_session(line, "s2", device=phone)
    said = refused("report", *sessions, "--rows", "kind")
    assert "device_id differs: desk (d-host) and handy (d-phone)" in said
    code, out, _ = say("report", *sessions, "--rows", "kind", "--force", "--format", "markdown")
    assert code == 0
    assert "Unlike rows by --force: device_id is desk (d-host) and handy (d-phone)." in out


@pytest.fixture
def unlike(write_session, line, phone):
    return write_session(line, "s1"), write_session(line, "s2", device=phone)


def test_a_page_of_unlike_devices_is_refused(say, unlike, tmp_path):
    code, _, err = say("report", *unlike, "--out", tmp_path / "out")
    assert code == USAGE_OR_ROWS
    assert err.strip().endswith("on each session by itself, or pass --force for one table")


def test_force_prints_a_table_of_unlike_devices_and_writes_no_page(say, unlike, tmp_path):
    code, out, _ = say("report", *unlike, "--force", "--out", tmp_path / "out")
    assert code == 0
    assert "Unlike rows by --force" in out
    assert not (tmp_path / "out").exists()


def test_two_sessions_are_compared(say, write_session, line):
    old, new = write_session(line, "s1"), write_session(line, "s2")
    code, out, _ = say("compare", old, new, "--format", "markdown")
    assert code == 0
    assert out.startswith("s2 against s1: net on desk")


@pytest.fixture
def finished():
    """Mark a session's folder as bench does at the end."""
    return lambda folder: (folder / "session.json").write_text("{}")


def test_the_session_in_out_may_be_of_an_older_version(
    say, write_session, line, tmp_path, finished
):
    folder = write_session(line, "bench/one")
    finished(folder)
    for table in ("telemetry", "ops"):
        (folder / f"{table}.parquet").unlink()
    runs = pd.read_parquet(folder / "runs.parquet")
    runs.assign(schema_version=1).to_parquet(folder / "runs.parquet")
    code, out, _ = say("report", "--rows", "kind", "--format", "csv", "--out", tmp_path)
    assert (code, len(out.splitlines())) == (0, 5)


def test_several_sessions_in_out_are_named(refused, write_session, line, tmp_path, finished):
    for name in ("one", "two"):
        finished(write_session(line, f"bench/{name}"))
    assert "2 sessions: " in refused("report", "--rows", "kind", "--out", tmp_path)


def test_two_cases_of_the_session_in_out_are_compared(say, write_session, line, tmp_path, finished):
    finished(write_session(line, "bench/one"))
    code, out, _ = say("compare", "plain", "int8-opt-x86", "--out", tmp_path, "--json")
    assert code == 0
    (row,) = json.loads(out)["rows"]
    assert row["speed_up_low"] < 2.5 < row["speed_up_high"]


@pytest.mark.parametrize("field", ["intra_op_threads", "provider"])
def test_unlike_sessions_are_refused_and_forced(say, refused, write_session, field):
    values = (2, 4) if field == "intra_op_threads" else ("cpu", "nnapi")
    old, new = (
        write_session({"plain": {"latency_ms": 5.0, field: value}}, f"s{place}")
        for place, value in enumerate(values)
    )
    assert f"{field} differs: {values[0]} and {values[1]}" in refused("compare", old, new)
    code, out, _ = say("compare", old, new, "--force", "--format", "markdown")
    assert code == 0
    assert f"Compared by --force although {field} differs" in out


def of_unlike_plans(write_session, line, inside=""):
    sides = []
    for name, seconds in (("old", 1.0), ("new", 0.1)):
        session = write_session(line, name + inside)
        (session / SESSION_NAME).write_text(json.dumps({"plan": {"seconds": seconds, "seed": 3}}))
        sides.append(session.parent if inside else session)
    return sides


@pytest.mark.parametrize("shape", [("--rows", "kind"), ("--preset", "mofa-1")])
def test_unlike_plans_share_no_table_unless_forced(say, refused, write_session, line, shape):
    sides = of_unlike_plans(write_session, line)
    assert "whose seconds differs: 1.0 and 0.1" in refused("report", *sides, *shape)
    code, out, _ = say("report", *sides, *shape, "--force", "--format", "markdown")
    assert code == 0
    assert "Unlike rows by --force: seconds is 1.0 and 0.1." in out


def test_a_page_of_unlike_plans_is_refused_and_not_written(refused, write_session, line, tmp_path):
    sides = of_unlike_plans(write_session, line)
    said = refused("report", *sides, "--out", tmp_path / "out")
    assert "onto one page whose seconds differs: 1.0 and 0.1" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "shape", [("--rows", "kind,session"), ("--where", "session=old"), ("--format", "csv")]
)
def test_sessions_told_apart_may_have_unlike_plans(say, write_session, line, shape):
    assert say("report", *of_unlike_plans(write_session, line), *shape)[0] == 0


@pytest.mark.parametrize("inside", ["", "/one"])
def test_sessions_of_unlike_plans_are_refused_and_forced(say, refused, write_session, line, inside):
    sides = of_unlike_plans(write_session, line, inside)
    assert "whose seconds differs: 1.0 and 0.1" in refused("compare", *sides)
    code, out, _ = say("compare", *sides, "--force", "--format", "markdown")
    assert code == 0
    assert "Compared by --force although seconds differs: 1.0 and 0.1." in out


def test_a_folder_and_a_kind_are_not_compared(refused, session):
    assert "no session folder at fp32" in refused("compare", session, "fp32")


def test_a_thing_is_not_compared_with_itself(refused, session):
    assert "is named twice" in refused("compare", session, session)
