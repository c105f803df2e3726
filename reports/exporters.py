"""Tables and pages to files, each under a temporary name first, so none is ever half there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd

from deploy.errors import OutputError


def write_frame(frame: pd.DataFrame, folder: Path, name: str) -> tuple[Path, Path]:
    """Write a frame as NAME.csv and NAME.parquet; give both paths.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    csv, parquet = folder / f"{name}.csv", folder / f"{name}.parquet"
    with _unfinished(csv) as temporary:
        frame.to_csv(temporary, index=False)
    with _unfinished(parquet) as temporary:
        frame.to_parquet(temporary, index=False)
    return csv, parquet


def write_text(text: str, path: Path) -> Path:
    """Write a text file in UTF-8; give its path.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    with _unfinished(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


@contextmanager
def _unfinished(final: Path) -> Iterator[Path]:
    """Lend a temporary path beside `final`; rename it there if the block ends well."""
    temporary = final.with_name(f".{final.name}.{os.getpid()}.unfinished")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(final)
    except OSError as error:
        raise OutputError(
            f"cannot write {final} ({error.strerror or error})",
            "make room or rights there, or pass another --out",
        ) from error
    finally:
        with suppress(OSError):  # the folder itself is the problem; that error is on its way
            temporary.unlink(missing_ok=True)
