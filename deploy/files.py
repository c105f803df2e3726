"""Hashes of files, and files that appear only when they are complete.

A leaf like `deploy.errors`: every package may import it, so that there is one way to write.
"""

import errno
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
def temporary_beside(final: Path) -> Iterator[Path]:
    """Lend a temporary path in the folder of `final`; what is there at the end is removed.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
    """
    temporary = final.with_name(f".{final.name}.{os.getpid()}.unfinished")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _sweep(final)
        _remove(temporary)
        yield temporary
    except OSError as error:
        raise _refused(final, error) from error
    finally:
        _remove(temporary)


@contextmanager
def unfinished(final: Path) -> Iterator[Path]:
    """Lend a temporary path as `temporary_beside` does; rename it to `final` if all ends well.

    The block makes a file or a folder there. A folder that stands at `final` is replaced.
    """
    replaced = final.with_name(f".{final.name}.{os.getpid()}.replaced")
    with temporary_beside(final) as temporary:
        yield temporary
        if final.is_dir():
            final.rename(replaced)  # a rename never replaces a folder that holds something
        temporary.replace(final)
        _remove(replaced)


def _sweep(final: Path) -> None:
    """Remove what processes that were killed while they wrote `final` left behind."""
    for left in final.parent.glob(f".{final.name}.*.unfinished"):
        pid = left.name.split(".")[-2]
        if pid.isdigit() and not _is_alive(int(pid)):
            _remove(left)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _refused(final: Path, error: OSError) -> OutputError:
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return OutputError(f"cannot write {final}", "the folder is read-only; pass another --out")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutputError(f"no space left to write {final}", "free some, or pass another --out")
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return OutputError(f"{final.parent} is not a folder", "pass another --out")
    return OutputError(
        f"cannot write {final} ({error.strerror or error})", "mend that, or pass another --out"
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):  # the folder itself is the problem; that error is on its way
            path.unlink(missing_ok=True)
