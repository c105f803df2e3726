import json
import xml.etree.ElementTree as ET

import pytest
from rich.console import Console

from reports.ci import (
    as_json,
    bencher,
    github_action_benchmark,
    github_annotations,
    junit,
    step_summary,
)
from reports.gate import Verdict
from reports.gate_findings import WHOLE_CASE, Finding
from reports.gate_table import gate_table, headline, render_gate
from reports.stats import Estimate

OLD, NEW = Estimate(10.0, 9.9, 10.1, 8), Estimate(11.0, 10.8, 11.2, 8)
EXACT = Estimate(30.5, 30.5, 30.5, 1)
SLOWER = Finding(
    "net/plain",
    "latency",
    "regression",
    "worse by 10.0 %, at least 8.0 %; budget 2 %",
    *(OLD, NEW, 10.0, 8.0, 12.0, 8, True),
)
SAME = Finding("net/plain", "psnr", "pass", "the same", EXACT, EXACT, 0.0, 0.0, 0.0, 1)
UNSURE = Finding("net/fp32", "memory", "inconclusive", "about 14 launches", OLD, NEW, 3, -1, 7, 8)
LOST = Finding("net/int8", WHOLE_CASE, "invalid", "current: 8 of 8 launches failed (crash: 8)")
BETTER = Finding("net/fp32", "latency", "improvement", "better by 9 %", NEW, OLD, -9, -11, -7, 8)


@pytest.fixture
def mixed() -> Verdict:
    return Verdict((SLOWER, SAME, BETTER, UNSURE, LOST), ("a note",))


def test_junit_has_a_test_case_for_each_finding(mixed):
    root = ET.fromstring(junit(mixed))
    cases = [(one.get("classname"), one.get("name")) for one in root.iter("testcase")]
    assert root.tag == "testsuites"
    assert cases == [(one.case, one.metric) for one in mixed.findings]


def test_junit_calls_a_regression_a_failure_and_the_rest_errors(mixed):
    root = ET.fromstring(junit(mixed))
    ends = {
        f"{one.get('classname')} {one.get('name')}": [
            (child.tag, child.get("type")) for child in one
        ]
        for one in root.iter("testcase")
    }
    assert ends == {
        "net/plain latency": [("failure", "regression")],
        "net/plain psnr": [],
        "net/fp32 latency": [],
        "net/fp32 memory": [("error", "inconclusive")],
        "net/int8 case": [("error", "invalid")],
    }


def test_junit_counts_what_it_holds(mixed):
    (suite,) = ET.fromstring(junit(mixed)).findall("testsuite")
    counted = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    found = {
        "tests": len(suite.findall("testcase")),
        "failures": len(suite.findall("testcase/failure")),
        "errors": len(suite.findall("testcase/error")),
        "skipped": len(suite.findall("testcase/skipped")),
    }
    assert counted == found == {"tests": 5, "failures": 1, "errors": 2, "skipped": 0}


def test_junit_keeps_to_the_usual_structure(mixed):
    """The elements and attributes that Ant's schema and its readers know."""
    known = {
        "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
        "testsuite": {"name", "tests", "failures", "errors", "skipped", "time"},
        "testcase": {"classname", "name", "time"},
        "failure": {"type", "message"},
        "error": {"type", "message"},
        "system-out": set(),
    }
    elements = list(ET.fromstring(junit(mixed)).iter())
    assert {one.tag: set(one.attrib) for one in elements} == known


def test_junit_holds_whatever_a_runner_printed():
    text = "bad <tag> & \x00 \x1b[31m \ud800 ü"
    root = ET.fromstring(junit(Verdict((Finding("a<b", WHOLE_CASE, "invalid", text),))))
    assert root.find("*/testcase").get("classname") == "a<b"
    assert root.find("*/testcase/error").text == "bad <tag> & ? ?[31m ? ü"


def test_annotations_are_one_a_finding_that_is_not_a_plain_pass(mixed):
    assert github_annotations(mixed) == [
        "::error title=regression%3A net/plain latency::"
        "worse by 10.0 %25, at least 8.0 %25; budget 2 %25",
        "::notice title=improvement%3A net/fp32 latency::better by 9 %25",
        "::warning title=inconclusive%3A net/fp32 memory::about 14 launches",
        "::error title=invalid%3A net/int8::current: 8 of 8 launches failed (crash: 8)",
    ]


def test_an_annotation_is_one_line_whatever_it_says():
    broken = Finding("a,b:c", WHOLE_CASE, "invalid", "one\r\n::error::two")
    (line,) = github_annotations(Verdict((broken,)))
    assert line == "::error title=invalid%3A a%2Cb%3Ac::one%0D%0A::error::two"


def test_the_step_summary_is_a_markdown_table(mixed):
    lines = step_summary(mixed).splitlines()
    assert lines[0].startswith("### gate: regression (1 pass, 1 improvement, 1 regression")
    assert lines[4] == (
        "| net/plain | latency | 10 ms | 11 ms | +10.0 % [+8.0, +12.0] | regression | "
        "worse by 10.0 %, at least 8.0 %; budget 2 % |"
    )
    assert lines[-1] == "- a note"


def test_markdown_keeps_a_name_in_its_cell():
    (row,) = gate_table(Verdict((Finding("a|b<i>", WHOLE_CASE, "invalid", "x\ny"),))).rows
    text = step_summary(Verdict((Finding("a|b<i>", WHOLE_CASE, "invalid", "x\ny"),)))
    assert row[0] == "a|b<i>"
    assert r"| a\|b&lt;i> |" in text
    assert "| x y |" in text


def test_action_benchmark_takes_what_is_better_smaller(mixed):
    records = github_action_benchmark(mixed)
    assert records[0] == {
        "name": "net/plain latency",
        "unit": "ms",
        "value": 11.0,
        "range": "± 0.2",
        "extra": "regression: worse by 10.0 %, at least 8.0 %; budget 2 %",
    }
    assert [one["name"] for one in records] == [
        "net/plain latency",
        "net/fp32 latency",
        "net/fp32 memory",
    ]


def test_bencher_gets_its_own_units(mixed):
    assert bencher(mixed)["net/plain"] == {
        "latency": {"value": 11e6, "lower_value": pytest.approx(10.8e6), "upper_value": 11.2e6},
        "psnr": {"value": 30.5, "lower_value": 30.5, "upper_value": 30.5},
    }


def test_no_number_of_an_invalid_finding_is_exported():
    invalid = Finding("net/plain", "latency", "invalid", "why", OLD, NEW)
    verdict = Verdict((invalid,))
    assert bencher(verdict) == {}
    assert github_action_benchmark(verdict) == []


def test_an_interval_that_is_not_there_is_left_out():
    value = Estimate(11.0, float("nan"), float("nan"), 2)
    found = Finding("net/plain", "latency", "inconclusive", "why", value, value, 0.0)
    assert bencher(Verdict((found,))) == {"net/plain": {"latency": {"value": 11e6}}}
    assert "range" not in github_action_benchmark(Verdict((found,)))[0]


def test_json_holds_every_finding_and_no_number_that_json_lacks(mixed):
    record = json.loads(json.dumps(as_json(mixed), allow_nan=False))
    assert (record["verdict"], record["exit_code"]) == ("regression", 4)
    assert len(record["findings"]) == 5
    assert record["findings"][0]["current"]["value"] == 11.0
    assert record["findings"][0]["change_unit"] == "%"
    assert record["findings"][-1]["change"] is None


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([SAME], ("pass", 0)),
        ([SAME, BETTER], ("improvement", 0)),
        ([BETTER, UNSURE], ("inconclusive", 5)),
        ([UNSURE, LOST], ("invalid", 5)),
        ([LOST, SLOWER, SAME], ("regression", 4)),
    ],
)
def test_the_gravest_finding_is_the_verdict(findings, expected):
    verdict = Verdict(tuple(findings))
    assert (verdict.verdict, verdict.exit_code) == expected
    assert headline(verdict).startswith(f"gate: {expected[0]} (")


def test_the_terminal_shows_every_finding(mixed):
    console = Console(width=160, record=True, file=None, quiet=False)
    with console.capture() as shown:
        console.print(render_gate(gate_table(mixed)))
    assert all(one.verdict in shown.get() for one in mixed.findings)
    assert "+10.0 % [+8.0, +12.0]" in shown.get()
    assert "a note" in shown.get()
