import pytest

from calib.files import unfinished
from deploy.errors import OutputError


def test_a_file_appears_when_the_block_ends_well(tmp_path):
    final = tmp_path / "new" / "ranges.json"
    with unfinished(final) as temporary:
        temporary.write_text("done")
        assert not final.exists()
    assert final.read_text() == "done"


def test_a_block_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), unfinished(tmp_path / "ranges.json") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_fails_keeps_the_file_that_was_there(tmp_path):
    final = tmp_path / "ranges.json"
    final.write_text("old")
    with pytest.raises(KeyError), unfinished(final) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert final.read_text() == "old"


def test_a_folder_replaces_the_one_that_was_there(tmp_path):
    final = tmp_path / "data"
    final.mkdir()
    (final / "old.png").touch()
    with unfinished(final) as temporary:
        temporary.mkdir()
        (temporary / "new.png").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "new.png"]


def test_what_a_killed_process_left_does_not_come_along(tmp_path):
    final = tmp_path / "data"
    with unfinished(final) as temporary:
        pass_on = temporary
        temporary.mkdir()
    pass_on.mkdir()
    (pass_on / "left.png").touch()
    with unfinished(final) as temporary:
        temporary.mkdir()
    assert list(final.iterdir()) == []


def test_a_parent_that_is_a_file_is_refused_by_name(tmp_path):
    (tmp_path / "build").touch()
    final = tmp_path / "build" / "ranges.json"
    with pytest.raises(OutputError, match=str(final)), unfinished(final):
        pass
