import tempfile

import pytest
from bench_examples import write_case

from android_bench.host import HostDevice


@pytest.fixture
def temporary_folder(tmp_path, monkeypatch):
    """The folder that temporary ones are made in: what is left there was not cleaned up."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def device(temporary_folder):
    device = HostDevice()
    yield device
    device.remove()


@pytest.fixture
def case(tmp_path):
    return write_case(tmp_path)
