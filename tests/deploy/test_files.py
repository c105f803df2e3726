import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.errors import OutputError
from deploy.files import temporary_beside, unfinished


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    final = tmp_path / "new" / "a.txt"
    with unfinished(final) as temporary:
        temporary.write_text("whole")
        assert not final.exists()
    assert final.read_text() == "whole"
    assert list(final.parent.iterdir()) == [final]


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path):
    final = tmp_path / "a.txt"
    final.write_text("old")
    with pytest.raises(ValueError, match="half-way"), unfinished(final) as temporary:
        temporary.write_text("half")
        raise ValueError("half-way")
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


def test_a_folder_is_replaced_whole(tmp_path):
    final = tmp_path / "folder"
    for name in ("first", "second"):
        with unfinished(final) as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert [path.name for path in final.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [final]


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "out").touch()
    with (
        pytest.raises(OutputError, match="out is not a folder"),
        temporary_beside(tmp_path / "out" / "a"),
    ):
        pass


@pytest.mark.skipif(not Path("/sys/kernel").exists(), reason="needs a file system of Linux")
def test_a_read_only_folder_is_said_to_be_one():
    with (
        pytest.raises(OutputError, match="the folder is read-only"),
        temporary_beside(Path("/sys/kernel/mofa/a")),
    ):
        pass


def test_a_full_disk_is_said_to_be_one(tmp_path):
    final = tmp_path / "a.bin"
    program = (
        "from pathlib import Path\n"
        "from deploy.files import unfinished\n"
        f"with unfinished(Path({str(final)!r})) as temporary:\n"
        "    temporary.write_bytes(bytes(100_000))\n"
    )
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # noqa: E731
    done = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "OutputError: no space left to write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path):
    final = tmp_path / "a.txt"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".a.txt.{ended.pid}.unfinished"
    alive = tmp_path / f".a.txt.{os.getppid()}.unfinished"
    left.touch()
    alive.touch()
    with unfinished(final) as temporary:
        temporary.touch()
    assert sorted(tmp_path.iterdir()) == sorted([final, alive])


def test_what_lies_at_the_temporary_path_does_not_come_along(tmp_path):
    final = tmp_path / "data"
    with unfinished(final) as temporary:
        left = temporary
        temporary.mkdir()
    left.mkdir()
    (left / "left.png").touch()
    with unfinished(final) as temporary:
        temporary.mkdir()
    assert list(final.iterdir()) == []
