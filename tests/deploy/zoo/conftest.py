"""Where the real checkpoints and numeric fixtures lie: beside the repository, never in it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
TEST_DATA = Path(os.environ.get("MOFA_TEST_DATA") or REPOSITORY / "../shared/data")


@pytest.fixture
def test_data() -> Callable[[str], Path]:
    """Give the path of a test data file, or skip the test and say what is missing."""

    def locate(relative: str) -> Path:
        path = TEST_DATA / relative
        if not path.is_file():
            pytest.skip(f"{relative} is in neither $MOFA_TEST_DATA nor ../shared/data")
        return path

    return locate
