from dataclasses import fields

import pandas as pd
import pytest

from android_bench.rows import (
    TABLES,
    CountRow,
    DeviceRow,
    MemorySampleRow,
    OpRow,
    RunRow,
    SampleRow,
    TelemetryRow,
)
from android_bench.tables import has_tables, to_frame, write_tables
from deploy.errors import OutputError

ABSENT = dict.fromkeys(field.name for field in fields(RunRow))  # every value missing
EMPTY = {name: [] for name in TABLES}
ROWS = {
    "runs": [RunRow(**ABSENT | {"run_id": "a", "n_samples": 2, "model": "with, comma"})],
    "samples": [SampleRow("a", 0, "first", 1, 2**62), SampleRow("a", 1, "steady", 2, 3)],
    "memory_samples": [MemorySampleRow("a", 1, "baseline", 2, None, 3)],
    "telemetry": [TelemetryRow("a", 1, "temp_c", "skin", 36.5)],
    "ops": [OpRow("a", 0, "conv", "Conv", "CPUExecutionProvider", False, 3, 4)],
    "counts": [CountRow("a", "steady", 1, 900, 500, 200, 100, 4800, 70, 0, 30, 60)],
    "devices": [DeviceRow("d", "host", "x86_64", "Linux", "cpu", 2, 3, False)],
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize("rows", [EMPTY, ROWS], ids=["empty", "rows"])
def test_columns_are_the_fields_in_their_order(tmp_path, name, form, rows):
    write_tables(tmp_path, rows)
    read = {"parquet": pd.read_parquet, "csv": pd.read_csv}[form]
    frame = read(tmp_path / f"{name}.{form}")
    assert list(frame.columns) == [field.name for field in fields(TABLES[name])]


@pytest.mark.parametrize("name", TABLES)
def test_a_column_that_holds_nothing_keeps_its_type(tmp_path, name):
    write_tables(tmp_path, EMPTY)
    pd.testing.assert_series_equal(
        pd.read_parquet(tmp_path / f"{name}.parquet").dtypes,
        to_frame(TABLES[name], ROWS[name]).dtypes,
    )


def test_missing_values_stay_missing_and_whole_numbers_stay_whole(tmp_path):
    write_tables(tmp_path, ROWS)
    runs = pd.read_parquet(tmp_path / "runs.parquet")
    assert runs["psnr_db"].isna().all()
    assert runs["peak_rss_reset"].isna().all()
    assert str(runs["exit_code"].dtype) == "Int64"
    samples = pd.read_parquet(tmp_path / "samples.parquet")
    assert samples["latency_ns"].tolist() == [2**62, 3]


def test_csv_holds_the_same_values_as_parquet(tmp_path):
    write_tables(tmp_path, ROWS)
    for name in TABLES:
        frame = pd.read_parquet(tmp_path / f"{name}.parquet")
        text = pd.read_csv(tmp_path / f"{name}.csv").astype(frame.dtypes.to_dict())
        pd.testing.assert_frame_equal(text, frame)


def test_only_whole_files_with_final_names_are_left(tmp_path):
    assert not has_tables(tmp_path)
    write_tables(tmp_path, ROWS)
    assert has_tables(tmp_path)
    names = {f"{name}.{form}" for name in TABLES for form in ("csv", "parquet")}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is not a folder"):
        write_tables(tmp_path / "file", ROWS)
