import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reports
from android_bench.rows import SCHEMA_VERSION, TABLES, column_dtypes
from deploy.errors import RowsError
from reports.frame import load


def test_load_gives_every_table_with_its_columns_and_types(write_session, line):
    frames = load(write_session(line))
    for name, row_type in TABLES.items():
        frame = getattr(frames, name)
        assert {column: str(frame[column].dtype) for column in frame} == column_dtypes(row_type)


def test_load_joins_sessions(write_session, line):
    first, second = write_session(line, "s1"), write_session(line, "s2")
    frames = load(first, second)
    assert list(frames.runs["session_id"].unique()) == ["s1", "s2"]
    assert len(frames.devices) == 1


def test_load_is_at_the_top_of_the_package(write_session, line):
    frames = reports.load(str(write_session(line)))
    assert frames.memory is frames.memory_samples
    assert list(frames.summary["kind"]) == list(line)


def test_a_folder_of_sessions_is_all_of_them(write_session, line, tmp_path):
    write_session(line, "s1"), write_session(line, "s2")
    assert set(load(tmp_path).runs["session_id"]) == {"s1", "s2"}


def test_a_report_among_the_sessions_is_no_session(write_session, line, tmp_path):
    write_session(line, "s1")
    (tmp_path / "report").mkdir()
    load(tmp_path / "s1").runs.to_parquet(tmp_path / "report" / "runs.parquet")
    assert set(load(tmp_path).runs["session_id"]) == {"s1"}


def test_what_changes_on_a_device_over_time_is_as_it_was_last(write_session, line, rewrite):
    first, second = write_session(line, "s1"), write_session(line, "s2")
    rewrite(first, "devices", lambda devices: devices.assign(governor="performance"))
    rewrite(second, "devices", lambda devices: devices.assign(os="Linux 7.0"))
    (device,) = load(first, second).devices.to_dict("records")
    assert (device["os"], device["governor"]) == ("Linux 7.0", "performance")


def test_a_session_whose_launches_all_failed_loads(write_session):
    failed = {("plain", block): "crash" for block in range(2)}
    frames = load(write_session({"plain": {"latency_ms": 1.0}}, launches=2, failed=failed))
    assert frames.samples.empty


def test_no_folder_is_refused():
    with pytest.raises(RowsError, match="no session folder given"):
        load()


def test_a_missing_folder_says_to_bench(tmp_path):
    with pytest.raises(RowsError, match=r"no session folder at .*nowhere: run `mofa-deploy bench`"):
        load(tmp_path / "nowhere")


def test_an_empty_folder_names_the_missing_files(tmp_path):
    with pytest.raises(RowsError, match=r"no runs\.parquet, samples\.parquet, .*mofa-deploy bench"):
        load(tmp_path)


@pytest.mark.parametrize("kept", [0, 4, 0.5, 0.99])
def test_a_truncated_parquet_is_named(write_session, line, kept):
    folder = write_session(line)
    path = folder / "samples.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(RowsError, match=r"samples\.parquet is not a readable parquet file"):
        load(folder)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(sorted(TABLES)), st.integers(0), st.binary(min_size=1, max_size=8))
def test_a_damaged_table_is_read_or_refused_and_nothing_else(damaged, table, place, damage):
    path = damaged / f"{table}.parquet"
    whole = path.read_bytes()
    start = place % len(whole)
    path.write_bytes(whole[:start] + damage + whole[start + len(damage) :])
    try:
        load(damaged)
    except RowsError as error:
        assert "\n" not in str(error)
    finally:
        path.write_bytes(whole)


@pytest.fixture
def damaged(write_session):
    return write_session({"plain": {"latency_ms": 5.0}}, launches=2)


def test_a_future_schema_names_both_versions(write_session, line, rewrite):
    folder = write_session(line)
    future = SCHEMA_VERSION + 1
    rewrite(folder, "runs", lambda runs: runs.assign(schema_version=future).drop(columns="kind"))
    expected = f"has schema {future}, this version reads up to {SCHEMA_VERSION}: update"
    with pytest.raises(RowsError, match=expected):
        load(folder)


def test_no_launch_at_all_is_refused(write_session, line, rewrite):
    folder = write_session(line)
    rewrite(folder, "runs", lambda runs: runs.head(0))
    with pytest.raises(RowsError, match=r"runs\.parquet holds no launch"):
        load(folder)


def test_a_missing_column_is_named(write_session, line, rewrite):
    folder = write_session(line)
    rewrite(folder, "samples", lambda samples: samples.drop(columns="latency_ns"))
    with pytest.raises(RowsError, match=r"samples\.parquet has no column latency_ns"):
        load(folder)


def test_a_column_that_came_later_is_empty_in_older_rows(write_session, line, rewrite):
    folder = write_session(line)
    rewrite(folder, "runs", lambda runs: runs.drop(columns="fusion"))
    assert load(folder).runs["fusion"].isna().all()


@pytest.fixture
def of_schema_1(write_session, line, rewrite):
    """Give a session as the first schema wrote it."""
    folder = write_session(line)
    for table in ("telemetry", "ops"):
        (folder / f"{table}.parquet").unlink()
    rewrite(folder, "runs", lambda runs: runs.loc[:, :"fusion"].assign(schema_version=1))
    rewrite(folder, "memory_samples", lambda memory: memory.loc[:, :"rss_file_bytes"])
    rewrite(folder, "devices", lambda devices: devices.loc[:, :"is_phone"])
    return folder


def test_the_first_schema_is_read_as_todays(of_schema_1):
    frames = load(of_schema_1)
    assert len(frames.telemetry) == len(frames.ops) == 0
    assert set(frames.runs["mode"]) == {"latency"}
    for name, row_type in TABLES.items():
        frame = getattr(frames, name)
        assert {column: str(frame[column].dtype) for column in frame} == column_dtypes(row_type)


def test_the_first_schema_has_a_summary(of_schema_1):
    assert load(of_schema_1).summary["latency_median_ms"].notna().all()


def test_a_table_of_todays_schema_may_not_be_missing(write_session, line):
    folder = write_session(line)
    (folder / "ops.parquet").unlink()
    with pytest.raises(RowsError, match=r"no ops\.parquet in"):
        load(folder)


@pytest.mark.parametrize("version", [0, -1])
def test_a_schema_below_the_first_is_refused(write_session, line, rewrite, version):
    folder = write_session(line)
    rewrite(folder, "runs", lambda runs: runs.assign(schema_version=version))
    with pytest.raises(RowsError, match=f"has schema {version}, the first one is 1"):
        load(folder)


def test_a_latency_that_is_not_a_number_is_counted_as_missing(write_session, line, rewrite):
    folder = write_session(line)

    def not_a_number(samples: pd.DataFrame) -> pd.DataFrame:
        numbers = samples["latency_ns"].astype("float64")
        return samples.assign(latency_ns=numbers.mask(samples.index == 1))

    rewrite(folder, "samples", not_a_number)
    with pytest.raises(RowsError, match="latency_ns is missing in 1 of 256 rows"):
        load(folder)


def test_words_in_a_column_of_numbers_are_refused(write_session, line, rewrite):
    folder = write_session(line)
    rewrite(folder, "samples", lambda samples: samples.assign(latency_ns="fast"))
    with pytest.raises(RowsError, match=r"samples\.parquet has values of the wrong type"):
        load(folder)


def test_a_missing_latency_is_counted(write_session, line, rewrite):
    folder = write_session(line)

    def without_two(samples: pd.DataFrame) -> pd.DataFrame:
        return samples.assign(latency_ns=samples["latency_ns"].mask(samples.index < 2))

    rewrite(folder, "samples", without_two)
    with pytest.raises(RowsError, match="latency_ns is missing in 2 of 256 rows"):
        load(folder)


def test_a_latency_of_zero_is_refused(write_session, line, rewrite):
    folder = write_session(line)
    rewrite(folder, "samples", lambda samples: samples.assign(latency_ns=0))
    with pytest.raises(RowsError, match="has latency_ns 0"):
        load(folder)


def test_an_unknown_status_is_named(write_session, line, rewrite):
    folder = write_session(line)
    rewrite(folder, "runs", lambda runs: runs.assign(status="melted"))
    with pytest.raises(RowsError, match="status 'melted', known are ok, timeout"):
        load(folder)


def test_the_same_session_twice_is_refused(write_session, line):
    folder = write_session(line)
    with pytest.raises(RowsError, match="is there twice: name each session folder once"):
        load(folder, folder)


def test_samples_of_an_unknown_run_are_refused(write_session, line, rewrite):
    folder = write_session(line)
    rewrite(folder, "runs", lambda runs: runs.iloc[1:])
    with pytest.raises(RowsError, match="samples name the run 's1/plain/0', which is not there"):
        load(folder)


def test_a_run_on_an_unknown_device_is_refused(write_session, line, rewrite):
    folder = write_session(line)
    rewrite(folder, "devices", lambda devices: devices.head(0))
    with pytest.raises(RowsError, match="runs name the device 'd-host', which is not there"):
        load(folder)


def test_a_device_described_in_two_ways_is_refused(write_session, line, rewrite):
    first, second = write_session(line, "s1"), write_session(line, "s2")
    rewrite(second, "devices", lambda devices: devices.assign(cpu_cores=64))
    with pytest.raises(RowsError, match="device 'd-host' is described in two ways"):
        load(first, second)


def test_a_good_run_without_samples_is_refused(write_session, line, rewrite):
    folder = write_session(line)
    rewrite(folder, "samples", lambda samples: samples[samples["run_id"] != "s1/fp32/3"])
    with pytest.raises(RowsError, match="run 's1/fp32/3' is ok but has no steady sample"):
        load(folder)
