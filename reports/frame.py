"""Session folders on disk to checked data frames. Reads only; every summary is made elsewhere."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import NoneType
from typing import get_args, get_type_hints

import pandas as pd
import pyarrow as pa

from android_bench.rows import SCHEMA_VERSION, STATUSES, TABLES, column_dtypes
from deploy.errors import RowsError

_MEASURE_AGAIN = "run `mofa-deploy bench` again"


@dataclass(frozen=True)
class Frames:
    """The rows of one or more sessions; columns are the fields in `android_bench.rows`.

    Attributes:
        runs: one row a launch.
        samples: one row an inference.
        memory_samples: one row a moment of a launch.
        telemetry: one row a reading of a sensor.
        ops: one row a node of a profiled launch.
        devices: one row a device.
    """

    runs: pd.DataFrame
    samples: pd.DataFrame
    memory_samples: pd.DataFrame
    telemetry: pd.DataFrame
    ops: pd.DataFrame
    devices: pd.DataFrame


def _required_columns(row_type: type) -> list[str]:
    hints = get_type_hints(row_type)
    return [name for name, hint in hints.items() if NoneType not in get_args(hint)]


def load(*folders: Path) -> Frames:
    """Read the rows that sessions left, one folder a session.

    Raises:
        RowsError: a folder or a table is missing, broken, newer than this version or without a
            launch; or the tables do not fit each other.
    """
    if not folders:
        raise RowsError("no session folder given", "name one that `mofa-deploy bench` wrote")
    for folder in folders:
        _check_folder(folder)
    tables = {
        name: pd.concat([_read_table(folder, name) for folder in folders], ignore_index=True)
        for name in TABLES
    }
    tables["devices"] = tables["devices"].drop_duplicates(ignore_index=True)
    frames = Frames(**tables)
    _check_links(frames)
    return frames


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise RowsError(f"no session folder at {folder}", "run `mofa-deploy bench` first")
    missing = [f"{name}.parquet" for name in TABLES if not (folder / f"{name}.parquet").is_file()]
    if missing:
        raise RowsError(f"no {', '.join(missing)} in {folder}", "run `mofa-deploy bench` first")


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    path, row_type = folder / f"{name}.parquet", TABLES[name]
    try:
        frame = pd.read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise RowsError(f"{path} is not a readable parquet file ({reason})", _MEASURE_AGAIN) from (
            error
        )
    if name == "runs":
        _check_schema(path, frame)
    frame = _typed(path, _with_later_columns(frame, row_type), column_dtypes(row_type))
    empty = frame[_required_columns(row_type)].isna().sum()
    if empty.any():
        column = str(empty.idxmax())
        raise RowsError(
            f"{path}: {column} is missing in {empty[column]} of {len(frame)} rows", _MEASURE_AGAIN
        )
    _check_values(path, frame)
    return frame


def _with_later_columns(frame: pd.DataFrame, row_type: type) -> pd.DataFrame:
    """Add the columns that rows of this schema did not have from the start, empty."""
    later = [one.name for one in fields(row_type) if one.default is not MISSING]
    return frame.assign(**{name: None for name in later if name not in frame})


def _check_schema(path: Path, runs: pd.DataFrame) -> None:
    if runs.empty:
        raise RowsError(f"{path} holds no launch", _MEASURE_AGAIN)
    if "schema_version" not in runs:
        raise RowsError(f"{path} has no column schema_version", _MEASURE_AGAIN)
    newest = runs["schema_version"].max()
    if newest > SCHEMA_VERSION:
        raise RowsError(
            f"{path} has schema {newest}, this version reads up to {SCHEMA_VERSION}",
            "update mofa-deploy",
        )


def _typed(path: Path, frame: pd.DataFrame, dtypes: Mapping[str, str]) -> pd.DataFrame:
    missing = [column for column in dtypes if column not in frame]
    if missing:
        raise RowsError(f"{path} has no column {', '.join(missing)}", _MEASURE_AGAIN)
    try:
        return frame[list(dtypes)].astype(dict(dtypes))
    except (TypeError, ValueError) as error:
        raise RowsError(f"{path} has values of the wrong type ({error})", _MEASURE_AGAIN) from error


def _check_values(path: Path, frame: pd.DataFrame) -> None:
    if "status" in frame and not frame["status"].isin(STATUSES).all():
        unknown = frame.loc[~frame["status"].isin(STATUSES), "status"].iloc[0]
        raise RowsError(
            f"{path} has status {unknown!r}, known are {', '.join(STATUSES)}", "update mofa-deploy"
        )
    if "latency_ns" in frame and (frame["latency_ns"] <= 0).any():
        least = frame["latency_ns"].min()
        raise RowsError(f"{path} has a latency_ns of {least}", _MEASURE_AGAIN)


def _check_links(frames: Frames) -> None:
    """Refuse rows that belong to nothing, or that are there twice."""
    runs = frames.runs
    if runs["run_id"].duplicated().any():
        twice = runs.loc[runs["run_id"].duplicated(), "run_id"].iloc[0]
        raise RowsError(f"run {twice!r} is there twice", "name each session folder once")
    if frames.devices["device_id"].duplicated().any():
        twice = frames.devices.loc[frames.devices["device_id"].duplicated(), "device_id"].iloc[0]
        raise RowsError(
            f"device {twice!r} is described in two ways", "report on each session by itself"
        )
    for name in ("samples", "memory_samples", "telemetry", "ops"):
        table: pd.DataFrame = getattr(frames, name)
        _check_known(table["run_id"], runs["run_id"], f"{name} name the run")
    _check_known(runs["device_id"], frames.devices["device_id"], "runs name the device")
    steady = frames.samples.loc[frames.samples["phase"] == "steady", "run_id"]
    ok = runs.loc[runs["status"] == "ok", "run_id"]
    if not ok.isin(steady).all():
        bare = ok[~ok.isin(steady)].iloc[0]
        raise RowsError(f"run {bare!r} is ok but has no steady sample", _MEASURE_AGAIN)


def _check_known(named: "pd.Series[str]", known: "pd.Series[str]", what: str) -> None:
    stray = named[~named.isin(known)]
    if not stray.empty:
        raise RowsError(f"{what} {stray.iloc[0]!r}, which is not there", _MEASURE_AGAIN)
