"""Rows -> tables -> files. Columns, their order and their types are the dataclasses' fields."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from android_bench.rows import TABLES, column_dtypes
from deploy.files import unfinished

FORMS = ("csv", "parquet")


def to_frame(row_type: type, rows: Sequence[Any]) -> pd.DataFrame:
    """Give the table of these rows.

    Args:
        row_type: the rows' dataclass; its fields are the columns.
        rows: of that type; there may be none.
    """
    columns = {
        name: pd.Series([getattr(row, name) for row in rows], dtype=dtype)
        for name, dtype in column_dtypes(row_type).items()
    }
    return pd.DataFrame(columns)


def write_tables(folder: Path, rows: Mapping[str, Sequence[Any]]) -> None:
    """Write every table as parquet and as csv; each file appears whole or not at all.

    Args:
        folder: where `NAME.parquet` and `NAME.csv` go.
        rows: of each table in `TABLES`, by its name.

    Raises:
        OutputError: the folder refuses.
    """
    for name, row_type in TABLES.items():
        frame = to_frame(row_type, rows[name])
        with unfinished(folder / f"{name}.csv") as temporary:
            frame.to_csv(temporary, index=False)
        with unfinished(folder / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)


def has_tables(folder: Path) -> bool:
    """Say whether every table is there, in both forms."""
    return all((folder / f"{name}.{form}").exists() for name in TABLES for form in FORMS)
