"""Counted sessions in tables, pages and comparisons: exact, and never beside a time."""

import json
import re
from dataclasses import fields

import pytest
from count_rows import LINE, emulated

from android_bench.rows import CountRow
from deploy.cli import run_app
from deploy.errors import RowsError, UsageError
from reports.exporters import FORMATS, to_markdown
from reports.frame import load
from reports.instruction_table import instruction_table
from reports.instructions import KINDS, millions
from reports.pair import case_side, compare_sides, session_side
from reports.pivot import pivot
from reports.report import build_report
from reports.values import OF_A_CLOCK, VALUES

# words of time, which no page or table of counts has in a sentence
OF_TIME = re.compile(r"\b(faster|slower|latency|ms|speed-up|milliseconds)\b", re.IGNORECASE)
OPS = {
    "plain": [("a", "Conv", 30_000_000), ("b", "Conv", 10_000_000), ("c", "Pow", 10_000_000)],
    "int8-arm-cpu": [("q", "QLinearConv", 20_000_000)],
}


@pytest.fixture
def frames(write_counts):
    return load(write_counts(LINE, ops=OPS))


@pytest.fixture
def table(frames):
    return instruction_table(frames.summary, frames)


def cells(grid, kind):
    (row,) = [row for row in grid.rows if row[0].text == kind]
    return dict(zip([column.key for column in grid.columns], row, strict=True))


def test_every_kind_that_is_counted_has_a_name():
    assert set(KINDS) == {one.name for one in fields(CountRow)} - {"run_id", "phase", "iteration"}


def test_the_steady_inference_is_shown_in_millions(table):
    shown = cells(table, "int8-arm-cpu")
    assert shown["instructions"].text == "32.00"
    assert shown["session_instructions"].value == 340_000_000
    assert (shown["dot"].text, shown["mmla"].text) == ("5.000", "0")


def test_ratios_say_fewer_or_more_instructions(write_counts):
    heavier = LINE | {"fp32": {**LINE["fp32"], "instructions": 106_000_000}}
    frames = load(write_counts(heavier))
    table = instruction_table(frames.summary, frames)
    said = [cells(table, kind)["times_fewer_instructions"].text for kind in LINE]
    assert said == ["1×", "2.00× more", "1.66× fewer"]


def test_a_count_has_no_interval(table):
    assert all(cell.low is None for row in table.rows for cell in row)
    assert not any(column.ends for column in table.columns)


def test_the_caption_says_what_it_is_and_what_it_is_not(table):
    assert "arm64-a76, emulated" in table.caption
    assert "input 1x3x64x64" in table.caption
    assert "no time, and not a phone" in table.caption


@pytest.mark.parametrize("form", FORMATS)
def test_no_format_speaks_of_time(table, form):
    assert not OF_TIME.search(FORMATS[form](table))


def test_the_page_has_bars_and_operators_and_speaks_of_no_time(write_counts, tmp_path):
    page = build_report([write_counts(LINE, ops=OPS)], tmp_path / "out").html.read_text()
    text = re.sub(r"<style>.*?</style>|<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "Instructions by kind" in page
    assert "Where the instructions go" in page
    assert "Fewest instructions" in page
    assert not OF_TIME.findall(re.sub(r"<[^>]*>", " ", text))
    assert "Memory, quality" not in page
    assert page.count('id="operators-') == 2


def test_operators_are_ranked_by_instructions(write_counts, tmp_path):
    page = build_report([write_counts(LINE, ops=OPS)], tmp_path / "out").html.read_text()
    assert re.search(r"Conv</th>.*?40\.0.*?80\.0 %.*?Pow</th>.*?10\.0", page, re.DOTALL)


def test_the_report_leaves_a_markdown_table_of_counts(write_counts, tmp_path):
    files = build_report([write_counts(LINE)], tmp_path / "out")
    assert "1.66× fewer" in files.markdown.read_text()
    assert "times_fewer_instructions" in files.summary_csv.read_text()


def test_one_launch_is_enough_of_a_count(frames):
    assert not frames.summary["flags"].str.contains("few_launches").any()


def test_a_graph_that_failed_is_in_the_table_without_counts(write_counts):
    frames = load(write_counts(LINE, failed={"fp32": "crash"}))
    table = instruction_table(frames.summary, frames)
    assert cells(table, "fp32")["instructions"].text == "–"
    assert any("1 of 1 launch failed (crash: 1)" in note for note in table.footnotes)


def test_a_graph_for_other_hardware_is_told_without_a_word_of_time(write_counts):
    foreign = {"plain": LINE["plain"], "int8-x86": {**LINE["fp32"], "target": "x86"}}
    frames = load(write_counts(foreign))
    assert "its instructions on arm-cpu say nothing about x86" in to_markdown(
        instruction_table(frames.summary, frames)
    )


def test_counts_and_times_get_no_page_together(write_counts, write_session, tmp_path):
    sessions = [write_counts(LINE), write_session({"plain": {"latency_ms": 4.0}})]
    with pytest.raises(RowsError, match="arm64-a76 counts, and desk has a clock"):
        build_report(sessions, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def both(write_counts, write_session):
    return load(write_counts(LINE), write_session({"plain": {"latency_ms": 4.0}}))


def test_a_table_of_times_leaves_counts_out_and_says_where_they_are(both):
    grid = pivot(both, ["device", "kind"], [], ["latency"], force=True)
    assert [row[0].text for row in grid.rows] == ["desk"]
    assert "Left out: 3 graphs on arm64-a76, counted: --value instructions shows them." in (
        grid.remarks
    )


def test_a_table_of_counts_leaves_times_out(both):
    grid = pivot(both, ["kind"], [], ["instructions", "session_instructions"])
    assert [row[1].text for row in grid.rows] == ["53.00", "40.00", "32.00"]
    assert any("Left out: 1 graph on desk" in one for one in grid.remarks)


def test_one_table_of_both_is_refused(both):
    with pytest.raises(UsageError, match="instructions and latency do not stand in one table"):
        pivot(both, ["kind"], [], ["latency", "instructions"])


@pytest.mark.parametrize("name", [name for name in VALUES if name not in OF_A_CLOCK])
def test_every_value_without_a_clock_can_be_shown_of_counts(frames, name):
    assert [len(row) for row in pivot(frames, ["kind"], [], [name]).rows] == [2] * 3


def test_a_latency_of_what_was_counted_names_the_value_to_ask_for(frames):
    with pytest.raises(RowsError, match="all graphs were counted, on arm64-a76: ask for --value"):
        pivot(frames, ["kind"], [], ["latency"])


def test_two_counted_sessions_are_compared_exactly(write_counts):
    new = LINE | {"fp32": {**LINE["fp32"], "instructions": 42_000_000}}
    sides = [
        session_side(name, load(write_counts(cases, name)))
        for name, cases in (("old", LINE), ("new", new))
    ]
    grid = compare_sides(*sides)
    changes = {row[0].text: row[3].text for row in grid.rows}
    assert changes == {
        "net plain": "the same",
        "net fp32": "5.00 % more",
        "net int8-arm-cpu": "the same",
    }
    assert not OF_TIME.search(to_markdown(grid))


def test_two_cases_of_one_session_are_compared(frames):
    grid = compare_sides(case_side("plain", frames), case_side("int8-arm-cpu", frames))
    assert grid.rows[0][3].text == "39.6 % fewer"
    assert "dot-product new" in grid.rows[0][4].text


def test_counts_are_not_compared_with_times(write_counts, write_session):
    counted = session_side("counted", load(write_counts(LINE)))
    timed = session_side("timed", load(write_session({"plain": {"latency_ms": 4.0}})))
    for sides in ((counted, timed), (timed, counted)):
        with pytest.raises(RowsError, match="counted counts instructions, and timed has times"):
            compare_sides(*sides, force=True)


def test_counts_of_another_emulator_are_compared_by_force_only(write_counts):
    old = session_side("old", load(write_counts(LINE, "old")))
    new = session_side("new", load(write_counts(LINE, "new", device=emulated(qemu="8.2.2"))))
    with pytest.raises(RowsError, match=r"qemu differs: 7\.2\.22 and 8\.2\.2"):
        compare_sides(old, new)
    assert "although qemu differs" in compare_sides(old, new, force=True).remarks[0]


def test_sessions_of_one_device_that_were_counted_differently_are_not_read_together(write_counts):
    other = emulated(native_sha256="d" * 64)
    sessions = [write_counts(LINE, "one"), write_counts(LINE, "two", device=other)]
    with pytest.raises(RowsError, match="counted with another native_sha256"):
        load(*sessions)


def test_a_counted_launch_without_a_steady_count_is_refused(write_counts, rewrite):
    session = write_counts(LINE)
    rewrite(session, "counts", lambda counts: counts[counts["phase"] != "steady"])
    with pytest.raises(RowsError, match="is ok but has no steady count"):
        load(session)


def test_a_count_of_nothing_is_refused(write_counts, rewrite):
    session = write_counts(LINE)
    rewrite(session, "counts", lambda counts: counts.assign(instructions=0))
    with pytest.raises(RowsError, match="has instructions 0"):
        load(session)


def test_cores_stand_side_by_side_where_the_device_is_an_axis(write_counts):
    sessions = [
        write_counts(LINE, "one"),
        write_counts(LINE, "two", device=emulated("a53")),
    ]
    grid = pivot(load(*sessions), ["kind"], ["device"], ["instructions"])
    assert [column.header for column in grid.columns] == [
        "kind",
        "arm64-a53, instructions M",
        "arm64-a76, instructions M",
    ]
    assert grid.rows[0][1].text == grid.rows[0][2].text == "53.00"


def test_report_prints_the_counts_where_no_table_is_named(write_counts, capsys):
    assert run_app(["report", str(write_counts(LINE)), "--format", "csv", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["rows"][2]["instructions"] == 32_000_000
    assert record["rows"][2]["times_fewer_instructions"] == pytest.approx(53 / 32)


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (1234, "0.001"), (5_058_000, "5.058"), (505_800_000, "505.8"), (2.7e9, "2700")],
)
def test_millions_have_four_digits_that_count(count, said):
    assert millions(count) == said
