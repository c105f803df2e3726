import resource
import signal
from contextlib import contextmanager
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from android_bench.journal import Journal
from android_bench.launch import Finished
from android_bench.rows import MemorySampleRow, OpRow, RunRow, SampleRow, TelemetryRow
from deploy.errors import DeviceError, OutputError, RowsError

VALUES = {
    int: 1,
    int | None: None,
    str: "é",
    str | None: None,
    bool | None: True,
    float | None: 0.5,
}


def finished(run_id):
    run = RunRow(
        **{field.name: VALUES[field.type] for field in fields(RunRow)} | {"run_id": run_id}
    )
    samples = (SampleRow(run_id, 0, "first", 5, 7), SampleRow(run_id, 1, "steady", 12, 6))
    return Finished(
        run,
        samples,
        (MemorySampleRow(run_id, 1, "baseline", 2, None, 3, native_heap_bytes=4),),
        (TelemetryRow(run_id, 1, "temp_c", "skin", 36.5),),
        (OpRow(run_id, 0, "conv", "Conv", "CPUExecutionProvider", False, 3, 4),),
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "session" / "journal.jsonl"


def write(path, *run_ids):
    with Journal(path, "s") as journal:
        for run_id in run_ids:
            journal.append(finished(run_id))


def read(path):
    with Journal(path, "s") as journal:
        return [one.run.run_id for one in journal.launches]


def test_launches_come_back_as_they_were(path):
    write(path, "a", "b")
    with Journal(path, "s") as journal:
        assert journal.launches == [finished("a"), finished("b")]


def test_a_journal_goes_on_where_it_stopped(path):
    write(path, "a")
    write(path, "b")
    assert read(path) == ["a", "b"]


def test_a_launch_is_on_the_disk_when_append_returns(path):
    with Journal(path, "s") as journal:
        journal.append(finished("a"))
        assert path.read_bytes().count(b"\n") == 2


@given(data=st.data())
def test_a_cut_anywhere_loses_the_line_that_it_hit_and_those_after_it(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    write(path, "a", "b", "c")
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    assert read(path) == ["a", "b", "c"][: max(whole - 1, 0)]
    write(path, "d")
    assert read(path)[-1] == "d"


def test_a_broken_line_is_named(path):
    write(path, "a", "b")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + "{}\n" + lines[2])
    with pytest.raises(RowsError, match=r"line 2 of .*journal.jsonl is broken"):
        read(path)


def test_bytes_that_are_no_text_are_a_broken_line(path):
    write(path, "a")
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    with pytest.raises(RowsError, match="line 3"):
        read(path)


def test_a_journal_of_another_session_is_refused(path):
    write(path, "a")
    with pytest.raises(RowsError, match="line 1"):
        Journal(path, "other")


def test_a_fresh_journal_forgets(path):
    write(path, "a")
    with Journal(path, "s", fresh=True) as journal:
        assert journal.launches == []
    assert read(path) == []


def test_a_session_has_one_writer_at_a_time(path):
    with Journal(path, "s"), pytest.raises(DeviceError, match="another process"):
        Journal(path, "s", fresh=True)
    write(path, "a")


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        Journal(tmp_path / "file" / "journal.jsonl", "s")


@contextmanager
def small_files():
    """Let this process write no file beyond 4 KiB, as on a disk that is nearly full.

    A block and no fixture: pytest's own log is a file too, and it is written between tests.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_an_error_and_keeps_what_was_whole(path):
    with small_files(), Journal(path, "s") as journal:
        with pytest.raises(OutputError, match="cannot write"):
            for number in range(10):
                journal.append(finished(str(number)))
        kept = [one.run.run_id for one in journal.launches]
    assert len(kept) > 1
    assert read(path) == kept
