"""Hashes of files, and files and folders that appear only when they are complete."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.errors import OutputError


def file_sha256(path: Path) -> str:
    """Give the sha256 of a file's bytes, in hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def unfinished(final: Path) -> Iterator[Path]:
    """Lend a temporary path beside `final`; rename it there if the block ends well.

    The block makes a file or a folder there. A folder that stands at `final` is replaced.

    Raises:
        OutputError: the place cannot be written, or the disk is full.
    """
    temporary = final.with_name(f".{final.name}.{os.getpid()}.unfinished")
    replaced = final.with_name(f".{final.name}.{os.getpid()}.replaced")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)  # of a killed process that had the same number
        yield temporary
        if final.is_dir():
            final.rename(replaced)  # a rename never replaces a folder that holds something
        temporary.replace(final)
        _remove(replaced)
    except OSError as error:
        raise OutputError(
            f"cannot write {final} ({error.strerror or error})", "free it, or name another place"
        ) from error
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # the folder itself is the problem; that error is on its way
            path.unlink(missing_ok=True)
