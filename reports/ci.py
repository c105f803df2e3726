"""A verdict in the words of CI systems. Text and plain values only; nothing is written here.

An invalid or inconclusive finding is an error, as of a test that could not be run; only a
regression is a failure. Numbers of invalid findings are exported nowhere, so that a bad one is
never charted as a good one.
"""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict
from typing import Any

from reports.budgets import COUNTED, METRICS
from reports.gate import Verdict
from reports.gate_findings import WHOLE_CASE, Finding
from reports.gate_table import gate_markdown, gate_table
from reports.rule import IMPROVEMENT, INCONCLUSIVE, INVALID, REGRESSION
from reports.stats import Estimate

SUITE = "mofa-deploy gate"
_ANNOTATIONS = {
    REGRESSION: "error",
    INVALID: "error",
    INCONCLUSIVE: "warning",
    IMPROVEMENT: "notice",
}
_NS_PER_MS, _BYTES_PER_MIB, _PER_MILLION = 1e6, 2**20, 1e6
# metric -> the measure's slug at Bencher, and how many of its units one of ours is
_MEASURES: dict[str, tuple[str, float]] = {
    "latency": ("latency", _NS_PER_MS),  # built in, in ns
    "memory": ("peak-memory", _BYTES_PER_MIB),
    "psnr": ("psnr", 1.0),
    "coverage": ("coverage", 1.0),
    "size": ("file-size", _BYTES_PER_MIB),  # in bytes
    "instructions": ("instructions", _PER_MILLION),
    "session_instructions": ("session-instructions", _PER_MILLION),
}


def as_json(verdict: Verdict) -> dict[str, Any]:
    """Give everything as plain values; what is not finite is None."""
    return {
        "verdict": verdict.verdict,
        "exit_code": verdict.exit_code,
        "findings": [_plain(_record(one)) for one in verdict.findings],
        "notes": list(verdict.notes),
    }


def _record(one: Finding) -> dict[str, Any]:
    metric = METRICS.get(one.metric)
    units = {"unit": metric.shown_in, "change_unit": metric.unit} if metric else {}
    return {**asdict(one), **units}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def junit(verdict: Verdict) -> str:
    """Give JUnit XML: one suite, a test case for each finding.

    Source: https://github.com/windyroad/JUnit-Schema (Apache Ant's), and the attributes that
        Jenkins and GitLab read; `time` is 0, for nothing is timed here.
    """
    verdicts = [one.verdict for one in verdict.findings]
    counts = {
        "tests": len(verdicts),
        "failures": verdicts.count(REGRESSION),
        "errors": verdicts.count(INVALID) + verdicts.count(INCONCLUSIVE),
        "skipped": 0,
        "time": 0,
    }
    attributes = {name: str(count) for name, count in counts.items()}
    root = ET.Element("testsuites", {"name": SUITE, **attributes})
    suite = ET.SubElement(root, "testsuite", {"name": SUITE, **attributes})
    for one in verdict.findings:
        named = {"classname": _xml(one.case), "name": one.metric, "time": "0"}
        case = ET.SubElement(suite, "testcase", named)
        if one.verdict in (REGRESSION, INVALID, INCONCLUSIVE):
            tag = "failure" if one.verdict == REGRESSION else "error"
            said = {"type": one.verdict, "message": _xml(one.reason)}
            ET.SubElement(case, tag, said).text = _xml(one.reason)
    if verdict.notes:
        ET.SubElement(suite, "system-out").text = _xml("\n".join(verdict.notes))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Leave out what XML 1.0 cannot hold; a crashing runner may print anything."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)


def github_annotations(verdict: Verdict) -> list[str]:
    """Give workflow commands, one a finding that is not a plain pass.

    Source: https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
    """
    return [
        f"::{_ANNOTATIONS[one.verdict]} title={_property(_title(one))}::{_data(one.reason)}"
        for one in verdict.findings
        if one.verdict in _ANNOTATIONS
    ]


def _title(one: Finding) -> str:
    metric = "" if one.metric == WHOLE_CASE else f" {one.metric}"
    return f"{one.verdict}: {one.case}{metric}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def step_summary(verdict: Verdict) -> str:
    """Give the markdown for the file that GITHUB_STEP_SUMMARY names."""
    return gate_markdown(gate_table(verdict))


def github_action_benchmark(verdict: Verdict) -> list[dict[str, Any]]:
    """Give the current values that are better when smaller, for tool customSmallerIsBetter.

    Source: https://github.com/benchmark-action/github-action-benchmark
    """
    return [
        {
            "name": f"{one.case} {one.metric}",
            "unit": _unit(one.metric),
            "value": current.value,
            **_range(current),
            "extra": f"{one.verdict}: {one.reason}",
        }
        for one, current in _good(verdict)
        if not METRICS[one.metric].higher_is_better
    ]


def _unit(metric: str) -> str:
    """Give the unit of a value that stands alone, beside no name of what it counts."""
    unit = METRICS[metric].shown_in
    return f"{unit} instructions" if metric in COUNTED else unit


def _range(value: Estimate) -> dict[str, str]:
    half_width = (value.high - value.low) / 2
    return {"range": f"± {half_width:.3g}"} if half_width > 0 else {}


def bencher(verdict: Verdict) -> dict[str, dict[str, dict[str, float]]]:
    """Give the current values in the Bencher Metric Format, in Bencher's units.

    Source: https://bencher.dev/docs/reference/bencher-metric-format
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for one, current in _good(verdict):
        measure, scale = _MEASURES[one.metric]
        values = {"value": current.value * scale}
        if math.isfinite(current.low) and math.isfinite(current.high):
            values |= {"lower_value": current.low * scale, "upper_value": current.high * scale}
        found.setdefault(one.case, {})[measure] = values
    return found


def _good(verdict: Verdict) -> list[tuple[Finding, Estimate]]:
    return [
        (one, one.current)
        for one in verdict.findings
        if one.verdict != INVALID and one.current is not None and math.isfinite(one.current.value)
    ]
