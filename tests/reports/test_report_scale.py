"""A long history: a small one for its shape, a whole one for its memory. Time is benchmarked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import report_scale


def test_a_made_history_has_the_counts_that_were_asked_for(tmp_path):
    report_scale.make_history(tmp_path, sessions=2, launches=3, samples=5)
    found = report_scale.measure(tmp_path)
    assert (found["launches"], found["samples"]) == (2 * 20 * 3, 2 * 20 * 3 * 5)
    assert set(report_scale.STAGES) < set(found)


@pytest.mark.slow
def test_a_million_samples_take_less_than_a_gibibyte(tmp_path):
    report_scale.make_history(tmp_path, sessions=50, launches=10, samples=100)
    script = Path(report_scale.__file__)
    command = [sys.executable, script, "--of", tmp_path]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["samples"] == 1_000_000
    assert found["peak_mib"] < report_scale.BOUND_MIB
