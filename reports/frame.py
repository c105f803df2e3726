"""Rows on disk to checked data frames. Reads only; every summary is made elsewhere.

import reports
frames = reports.load("build/bench")
frames.summary[["model", "kind", "latency_median_ms"]]
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import get_args, get_type_hints

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from android_bench.rows import STATUSES, TABLES, column_dtypes
from deploy.errors import RowsError
from reports.importers import FORMATS, read_foreign
from reports.migrate import check_schema, empty_table, migrated, tables_of

_MEASURE_AGAIN = "run `mofa-deploy bench` again"
_BENCH_FIRST = "run `mofa-deploy bench` first"

_ARROW = {
    "Int64": pa.int64(),
    "Float64": pa.float64(),
    "string": pa.large_string(),
    "boolean": pa.bool_(),
}
_PANDAS = {arrow: pd.api.types.pandas_dtype(name) for name, arrow in _ARROW.items()}

_APART = "report on each session by itself"

# table -> a column whose values are all above 0
_ABOVE_0 = {"samples": "latency_ns", "counts": "instructions"}

# What makes a device the same one; the rest (its system, its governor) may change over a history.
_SAME_DEVICE = ["name", "abi", "cpu", "cpu_cores", "is_phone", "model", "soc", "is_emulator"]


@dataclass(frozen=True)
class Frames:
    """The rows of one or more sessions; columns are the fields in `android_bench.rows`.

    Attributes:
        runs: one row a launch.
        samples: one row an inference.
        memory_samples: one row a moment of a launch.
        telemetry: one row a reading of a sensor.
        ops: one row a node of a profiled launch.
        counts: one row a step of a launch whose instructions were counted.
        devices: one row a device.
    """

    runs: pd.DataFrame
    samples: pd.DataFrame
    memory_samples: pd.DataFrame
    telemetry: pd.DataFrame
    ops: pd.DataFrame
    counts: pd.DataFrame
    devices: pd.DataFrame

    @property
    def memory(self) -> pd.DataFrame:
        """The same as `memory_samples`."""
        return self.memory_samples

    @cached_property
    def launches(self) -> pd.DataFrame:
        """One row a launch that ended well, as `reports.launches.launch_table` gives it."""
        from reports.launches import launch_table

        return launch_table(self)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a case, as `reports.summary.summarize` gives it; made when first asked for."""
        from reports.summary import summarize

        return summarize(self)


def load(*paths: Path | str) -> Frames:
    """Read the rows of sessions, and results of other tools, into data frames.

    Args:
        paths: folders that `mofa-deploy bench` wrote, folders of such folders, and result files
            of another tool, known by their content or named as FORMAT:FILE with a format of
            `reports.importers.FORMATS`.

    Raises:
        RowsError: something is missing, broken, unrecognized, newer than this version or without
            a launch; or the tables do not fit each other.
    """
    if not paths:
        raise RowsError("no session folder given", "name one that `mofa-deploy bench` wrote")
    parts: dict[str, list[pa.Table]] = {name: [] for name in TABLES}
    imported: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for path in paths:
        if _is_foreign(path):
            for name, frame in read_foreign(str(path)).items():
                imported[name].append(frame)
            continue
        for folder in _sessions(Path(path)):
            for name, table in _read_session(folder).items():
                parts[name].append(table)
    tables = {name: _joined(name, parts[name], imported[name]) for name in TABLES}
    tables["devices"] = _merged_devices(tables["devices"])
    frames = Frames(**tables)
    _check_links(frames)
    return frames


def _is_foreign(path: Path | str) -> bool:
    form, _, rest = str(path).partition(":")
    return (form in FORMATS and bool(rest)) or Path(path).is_file()


def _joined(name: str, parts: list[pa.Table], imported: list[pd.DataFrame]) -> pd.DataFrame:
    joined = pa.concat_tables(parts or [_typed(Path(name), empty_table(name), name)])
    frame: pd.DataFrame = joined.to_pandas(types_mapper=_PANDAS.get)
    there = [one for one in (frame, *imported) if len(one)]
    return pd.concat(there, ignore_index=True) if len(there) > 1 else (there or [frame])[0]


def _sessions(folder: Path) -> list[Path]:
    """Give the folder if it is a session, else the sessions under it, by name."""
    if not folder.is_dir():
        raise RowsError(f"no session folder at {folder}", _BENCH_FIRST)
    if (folder / "runs.parquet").exists():
        return [folder]
    # a report leaves a runs.parquet too, but no samples
    found = sorted(path.parent for path in folder.rglob("samples.parquet"))
    return found or [folder]


def _read_session(folder: Path) -> dict[str, pa.Table]:
    _check_there(folder, tables_of(1))
    runs = _read_parquet(folder / "runs.parquet")
    schema = _schema_of(folder / "runs.parquet", runs)
    _check_there(folder, tables_of(schema))
    tables = {}
    for name in TABLES:
        path = folder / f"{name}.parquet"
        there = path.is_file() and name in tables_of(schema)
        table = runs if name == "runs" else _read_parquet(path) if there else empty_table(name)
        tables[name] = _typed(path, migrated(table, name), name)
        _check_values(path, tables[name], name)
    return tables


def _check_there(folder: Path, names: Iterable[str]) -> None:
    missing = [f"{name}.parquet" for name in names if not (folder / f"{name}.parquet").is_file()]
    if missing:
        raise RowsError(f"no {', '.join(missing)} in {folder}", _BENCH_FIRST)


def _read_parquet(path: Path) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            table = file.read(use_threads=False)  # many small files: threads cost more
            table.validate(full=True)  # text that is no UTF-8 would fail later, without a name
            return table
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise RowsError(f"{path} is not a readable parquet file ({reason})", _MEASURE_AGAIN) from (
            error
        )


def _schema_of(path: Path, runs: pa.Table) -> int:
    if runs.num_rows == 0:
        raise RowsError(f"{path} holds no launch", _MEASURE_AGAIN)
    if "schema_version" not in runs.column_names:
        raise RowsError(f"{path} has no column schema_version", _MEASURE_AGAIN)
    try:
        newest = pc.max(runs["schema_version"].cast(pa.int64())).as_py()
    except pa.ArrowException as error:
        raise RowsError(f"{path} has schema versions that are no numbers", _MEASURE_AGAIN) from (
            error
        )
    if newest is None:
        raise RowsError(f"{path} does not say its schema", _MEASURE_AGAIN)
    check_schema(newest, str(path))
    return int(newest)


def _typed(path: Path, table: pa.Table, name: str) -> pa.Table:
    """Give the columns of today's schema in its order and types; NaN becomes missing."""
    dtypes = column_dtypes(TABLES[name])
    missing = [column for column in dtypes if column not in table.column_names]
    if missing:
        raise RowsError(f"{path} has no column {', '.join(missing)}", _MEASURE_AGAIN)
    schema = pa.schema([(column, _ARROW[dtype]) for column, dtype in dtypes.items()])
    columns = [_without_nan(table[column]) for column in dtypes]
    try:
        plain = pa.table(columns, names=list(dtypes))
        return plain.cast(schema)
    except (pa.ArrowException, TypeError) as error:
        raise RowsError(f"{path} has values of the wrong type ({error})", _MEASURE_AGAIN) from error


def _without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(column.type) or not pc.any(pc.is_nan(column)).as_py():
        return column
    return pc.if_else(pc.is_nan(column), None, column)


def _check_values(path: Path, table: pa.Table, name: str) -> None:
    for column in _required_columns(TABLES[name]):
        if empty := table[column].null_count:
            raise RowsError(
                f"{path}: {column} is missing in {empty} of {table.num_rows} rows", _MEASURE_AGAIN
            )
    if name == "runs":
        unknown = [one for one in table["status"].unique().to_pylist() if one not in STATUSES]
        if unknown:
            known = ", ".join(STATUSES)
            raise RowsError(
                f"{path} has status {unknown[0]!r}, known are {known}", "update mofa-deploy"
            )
    if name in _ABOVE_0 and table.num_rows:
        column = _ABOVE_0[name]
        least = pc.min(table[column]).as_py()
        if least <= 0:
            raise RowsError(f"{path} has {column} {least}", _MEASURE_AGAIN)


def _required_columns(row_type: type) -> list[str]:
    hints = get_type_hints(row_type)
    return [one.name for one in fields(row_type) if NoneType not in get_args(hints[one.name])]


def _merged_devices(devices: pd.DataFrame) -> pd.DataFrame:
    """Give one row a device; of what may change, the newest value that is known."""
    by_device = devices.groupby("device_id", sort=False)
    differs = (by_device[_SAME_DEVICE].nunique() > 1).any(axis=1)
    if differs.any():
        raise RowsError(
            f"device {differs.idxmax()!r} is described in two ways",
            _APART,
        )
    for _, rows in by_device:
        _require_one_way_to_count(rows["counts_with"].dropna().unique().tolist())
    return by_device.last().reset_index()[list(devices.columns)].astype(devices.dtypes)


def _require_one_way_to_count(told: list[str]) -> None:
    """Refuse counts of one device that were taken with different things, naming the first."""
    if len(told) < 2:
        return
    one, other = (json.loads(text) for text in told[:2])
    for field in dict.fromkeys([*one, *other]):
        if one.get(field) != other.get(field):
            both = f"{one.get(field)} and {other.get(field)}"
            raise RowsError(f"instructions were counted with another {field}: {both}", _APART)


def _check_links(frames: Frames) -> None:
    """Refuse rows that belong to nothing, or that are there twice."""
    runs = frames.runs
    if runs["run_id"].duplicated().any():
        twice = runs.loc[runs["run_id"].duplicated(), "run_id"].iloc[0]
        raise RowsError(f"run {twice!r} is there twice", "name each session folder once")
    for name in ("samples", "memory_samples", "telemetry", "ops", "counts"):
        table: pd.DataFrame = getattr(frames, name)
        _check_known(table["run_id"], runs["run_id"], f"{name} name the run")
    of_device = runs["device_id"].dropna()
    _check_known(of_device, frames.devices["device_id"], "runs name the device")
    for mode, table, row in (
        ("latency", frames.samples, "sample"),
        ("count", frames.counts, "count"),
    ):
        steady = set(table.loc[table["phase"] == "steady", "run_id"].unique())
        ok = runs.loc[(runs["status"] == "ok") & (runs["mode"] == mode), "run_id"]
        bare = next((run_id for run_id in ok if run_id not in steady), None)
        if bare is not None:
            raise RowsError(f"run {bare!r} is ok but has no steady {row}", _MEASURE_AGAIN)


def _check_known(named: "pd.Series[str]", known: "pd.Series[str]", what: str) -> None:
    there = set(known)
    stray = next((one for one in named.unique() if one not in there), None)
    if stray is not None:
        raise RowsError(f"{what} {stray!r}, which is not there", _MEASURE_AGAIN)
