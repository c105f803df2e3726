import json
from dataclasses import astuple, fields

import pytest
from arm64.counts import Counts, parse_marks, read_marks
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import BenchOutputError

KINDS = [field.name for field in fields(Counts)]
counts = st.builds(Counts, *[st.integers(0, 2**63)] * len(KINDS))


def line(mark, total):
    return json.dumps({"mark": mark, **dict.fromkeys(KINDS, total)})


def well_formed():
    return [line(1, 10), line(3, 30), line(2, 35), line(3, 135), line(2, 140), line(3, 190)]


def test_the_session_is_what_lies_between_its_two_marks():
    assert parse_marks(well_formed()).session.instructions == 20


def test_runs_come_in_order_without_what_lies_between_them():
    assert [run.loads for run in parse_marks(well_formed()).runs] == [100, 50]


@given(counts, counts)
def test_a_difference_is_taken_kind_by_kind(later, earlier):
    expected = tuple(a - b for a, b in zip(astuple(later), astuple(earlier), strict=True))
    assert astuple(later - earlier) == expected


@pytest.mark.parametrize(
    "lines",
    [
        [],
        well_formed()[:2],
        well_formed()[:-1],
        well_formed()[1:],
        [*well_formed()[:2], *reversed(well_formed()[2:4])],
    ],
    ids=["nothing", "no run", "a run without end", "no begin", "end before begin"],
)
def test_marks_of_a_runner_that_did_not_end_well_are_refused(lines):
    with pytest.raises(BenchOutputError, match="has the marks"):
        parse_marks(lines)


@pytest.mark.parametrize("text", ["not JSON", "[1]", '{"mark": 1}', '{"instructions": 5}'])
def test_a_line_of_another_form_is_shown(text):
    with pytest.raises(BenchOutputError, match="holds the line"):
        parse_marks([text, *well_formed()])


def test_a_counter_that_wrote_nothing_is_said(tmp_path):
    with pytest.raises(BenchOutputError, match="wrote nothing"):
        read_marks(tmp_path / "marks.jsonl")
