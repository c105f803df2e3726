"""The finished launches of a session, on disk, one line each.

What was appended survives kill -9, so at most the launch in progress is lost.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from android_bench.launch import Finished
from android_bench.rows import (
    SCHEMA_VERSION,
    CountRow,
    MemorySampleRow,
    OpRow,
    RunRow,
    SampleRow,
    TelemetryRow,
)
from deploy.errors import DeviceError, OutputError, RowsError

# the fields of `Finished` besides its run, whose rows begin with the run's id
_ROWS: dict[str, type] = {
    "samples": SampleRow,
    "memory": MemorySampleRow,
    "telemetry": TelemetryRow,
    "ops": OpRow,
    "counts": CountRow,
}


class Journal:
    """A file that grows by one line a launch, held by one process at a time.

    The first line names the session. A last line without its end was cut off by a kill, and is
    dropped when the journal is opened again.

    Attributes:
        launches: those that are in the file, in its order.
    """

    def __init__(self, path: Path, session_id: str, *, fresh: bool = False) -> None:
        """Open a session's journal, or begin it.

        Args:
            fresh: begin it anew; what it holds is lost.

        Raises:
            DeviceError: another process is measuring this session.
            OutputError: the folder refuses.
            RowsError: the file is broken, or of another session.
        """
        self._path = path
        self._head = {"session_id": session_id, "schema_version": SCHEMA_VERSION}
        self.launches: list[Finished] = []
        with _refusals(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("a+b", buffering=0)
        try:
            self._lock()
            self._read(fresh)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def append(self, finished: Finished) -> None:
        """Add a launch; when this returns, the line is on the disk.

        Raises:
            OutputError: the disk is full, or the folder refuses.
        """
        tables = {name: [astuple(one)[1:] for one in getattr(finished, name)] for name in _ROWS}
        self._write({"run": asdict(finished.run), **tables})
        self.launches.append(finished)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DeviceError(
                f"another process is measuring the session in {self._path.parent}",
                "wait until it is done",
            ) from error

    def _read(self, fresh: bool) -> None:
        self._file.seek(0)
        content = b"" if fresh else self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        with _refusals(self._path):
            self._file.truncate(len(whole))
        lines = whole.splitlines()
        if not lines:
            self._write(self._head)
            return
        for number, line in enumerate(lines, start=1):
            try:
                self._take(number, json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise RowsError(
                    f"line {number} of {self._path} is broken ({error})",
                    "pass --force to measure anew",
                ) from error

    def _take(self, number: int, record: dict[str, Any]) -> None:
        if number == 1:
            if record != self._head:
                raise ValueError(f"it begins {record}, not {self._head}")
            return
        run = RunRow(**record["run"])
        tables: dict[str, Any] = {
            name: tuple(row_type(run.run_id, *one) for one in record[name])
            for name, row_type in _ROWS.items()
        }
        self.launches.append(Finished(run, **tables))

    def _write(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        with _refusals(self._path):
            written = self._file.write(line)
            if written != len(line):  # a full disk takes a part
                raise OSError("no space left")
            os.fsync(self._file.fileno())


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot write {path} ({error.strerror or error})",
            "free some space, or pass another --out",
        ) from error
