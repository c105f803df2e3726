import pandas as pd
import pytest

from deploy.errors import DataError, OutputError, RowsError
from reports.exporters import write_text
from reports.html import Picture
from reports.report import build_report


def test_a_report_is_a_page_a_table_and_the_frames(write_session, line, tmp_path):
    files = build_report([write_session(line)], tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {
        "report.html",
        "comparison.md",
        "summary.csv",
        "summary.parquet",
        "runs.csv",
        "runs.parquet",
    }
    assert files.html.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "| int8-opt-x86" in files.markdown.read_text(encoding="utf-8")
    summary = pd.read_parquet(files.summary_parquet)
    assert list(summary["kind"]) == list(line)
    assert len(pd.read_csv(files.runs_csv)) == len(pd.read_parquet(files.runs_parquet)) == 32


def test_csv_and_parquet_hold_the_same_numbers(write_session, line, tmp_path):
    files = build_report([write_session(line)], tmp_path / "out")
    from_csv, from_parquet = pd.read_csv(files.summary_csv), pd.read_parquet(files.summary_parquet)
    numbers = from_parquet.select_dtypes("number").columns
    pd.testing.assert_frame_equal(from_csv[numbers], from_parquet[numbers], check_dtype=False)


def test_the_same_rows_give_the_same_report(write_session, line, tmp_path):
    session = write_session(line)
    one, other = (build_report([session], tmp_path / name) for name in ("one", "other"))
    assert one.html.read_bytes() == other.html.read_bytes()
    assert one.markdown.read_bytes() == other.markdown.read_bytes()


def test_unlike_sessions_leave_nothing_behind(write_session, line, phone, tmp_path):
    sessions = [write_session(line, "s1"), write_session(line, "s2", device=phone)]
    with pytest.raises(RowsError, match="device_id differs"):
        build_report(sessions, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_broken_picture_leaves_nothing_behind(write_session, line, tmp_path):
    with pytest.raises(DataError):
        build_report([write_session(line)], tmp_path / "out", [Picture("cat", "sharp", b"")])
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_named(write_session, line, tmp_path):
    (tmp_path / "out").write_text("here first")
    with pytest.raises(OutputError, match="out is not a folder: pass another --out"):
        build_report([write_session(line)], tmp_path / "out")
    assert (tmp_path / "out").read_text() == "here first"


def test_a_write_that_fails_leaves_the_older_file_and_no_other(tmp_path):
    path = write_text("old", tmp_path / "page.html")
    with pytest.raises(UnicodeEncodeError):
        write_text("new \ud800", path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
