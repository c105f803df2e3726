"""Tables and pages to files, each under a temporary name first, so none is ever half there."""

from pathlib import Path

import pandas as pd

from deploy.files import unfinished


def write_frame(frame: pd.DataFrame, folder: Path, name: str) -> tuple[Path, Path]:
    """Write a frame as NAME.csv and NAME.parquet; give both paths.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    csv, parquet = folder / f"{name}.csv", folder / f"{name}.parquet"
    with unfinished(csv) as temporary:
        frame.to_csv(temporary, index=False)
    with unfinished(parquet) as temporary:
        frame.to_parquet(temporary, index=False)
    return csv, parquet


def write_text(text: str, path: Path) -> Path:
    """Write a text file in UTF-8; give its path.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    with unfinished(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
