"""Rows of an older schema as rows of today's: tables that were not there, columns that came later.

What an older version did not write is missing in its rows, never guessed; a column with a default
other than None has that default, for it names what all older rows were.
"""

from dataclasses import MISSING, fields

import pyarrow as pa

from android_bench.rows import SCHEMA_VERSION, TABLES
from deploy.errors import RowsError

# table -> the first schema that has it; the others were there from the start
SINCE = {"telemetry": 2, "ops": 2, "counts": 3}


def tables_of(schema: int) -> list[str]:
    """Give the tables that a session of this schema wrote."""
    return [name for name in TABLES if SINCE.get(name, 1) <= schema]


def check_schema(version: int, where: str) -> None:
    """Refuse a schema that this version cannot know. Raises RowsError."""
    if version > SCHEMA_VERSION:
        raise RowsError(
            f"{where} has schema {version}, this version reads up to {SCHEMA_VERSION}",
            "update mofa-deploy",
        )
    if version < 1:
        raise RowsError(f"{where} has schema {version}, the first one is 1", "measure again")


def migrated(table: pa.Table, name: str) -> pa.Table:
    """Give a table with every column of today's schema that has a default and is not there yet."""
    for one in fields(TABLES[name]):
        if one.default is not MISSING and one.name not in table.column_names:
            table = table.append_column(one.name, pa.repeat(pa.scalar(one.default), table.num_rows))
    return table


def empty_table(name: str) -> pa.Table:
    """Give a table without rows and without columns yet, for a schema that did not have it."""
    return pa.table({one.name: pa.array([]) for one in fields(TABLES[name])})
