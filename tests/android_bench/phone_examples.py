"""What the tests of a phone share: files, programs that wait for a sign, and threads."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

WAITS = "echo begun; : >begun; while [ ! -e go ]; do sleep 0.02; done; echo survived"
GIVEN_UP_S = 20


def session_folders(phone) -> list[Path]:
    """Give the folders of sessions that lie on a phone."""
    found = (phone.storage / "mofa-deploy").glob("*/")
    return [path for path in found if path.is_dir() and path.name != "cache"]


def session_folder(phone) -> Path:
    (found,) = session_folders(phone)
    return found


def await_true(condition: Callable[[], object], what: str = "it") -> None:
    deadline = time.monotonic() + GIVEN_UP_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)


def await_begun(phone) -> Path:
    """Wait until the program in a phone's only session runs; give the session's folder."""
    await_true(lambda: list((phone.storage / "mofa-deploy").glob("*/begun")), "no launch began")
    return session_folder(phone)


@contextmanager
def in_background(action: Callable[[], object]):
    """Do something in a thread; lend its future."""
    with ThreadPoolExecutor(1) as threads:
        done: Future = threads.submit(action)
        yield done


def write_file(folder: Path, name: str, size_bytes: int = 200_000) -> Path:
    path = folder / name
    path.write_bytes(bytes(i * i % 251 for i in range(1000)) * (size_bytes // 1000))
    return path
