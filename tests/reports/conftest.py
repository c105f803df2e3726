"""Written sessions as fixtures; `session_rows` makes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from count_rows import CountCases, make_count_rows
from session_rows import MIB, PHONE, Cases, make_rows, write_rows

from android_bench.rows import DeviceRow

WriteSession = Callable[..., Path]


@pytest.fixture
def write_session(tmp_path: Path) -> WriteSession:
    """Write a session of these cases into a folder of its name; give the folder."""

    def write(cases: Cases, session_id: str = "s1", **options: Any) -> Path:
        rows = make_rows(cases, session_id=session_id, **options)
        return write_rows(tmp_path / session_id, rows)

    return write


@pytest.fixture
def write_counts(tmp_path: Path) -> WriteSession:
    """Write a counted session of these cases into a folder of its name; give the folder."""

    def write(cases: CountCases, session_id: str = "c1", **options: Any) -> Path:
        rows = make_count_rows(cases, session_id=session_id, **options)
        return write_rows(tmp_path / session_id, rows)

    return write


@pytest.fixture
def phone() -> DeviceRow:
    return PHONE


@pytest.fixture
def rewrite() -> Callable[..., None]:
    """Change one table of a written session: rewrite(folder, table, frame -> frame)."""

    def change(folder: Path, table: str, changed: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        path = folder / f"{table}.parquet"
        changed(pd.read_parquet(path)).to_parquet(path)

    return change


# A whole line: the x86 int8 graphs, of which only the optimized one is worth it.
LINE: Cases = {
    "plain": {"latency_ms": 40.0},
    "fp32": {"latency_ms": 30.0},
    "int8-x86": {"latency_ms": 50.0, "target": "x86", "model_bytes": MIB // 2},
    "int8-opt-x86": {"latency_ms": 16.0, "target": "x86", "model_bytes": MIB // 2},
}


@pytest.fixture
def line() -> Cases:
    """Give the cases of a whole line, to be changed at will."""
    return {kind: dict(case) for kind, case in LINE.items()}


@pytest.fixture(scope="session")
def line_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a session of a whole line that no test changes."""
    return write_rows(tmp_path_factory.mktemp("line") / "s1", make_rows(LINE))
