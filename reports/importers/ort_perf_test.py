"""Results of ONNX Runtime's onnxruntime_perf_test: its result file, or what it prints.

The result file has no header; a line is one inference: model, seconds, peak working set in bytes,
CPU %, index of the run. Newer versions write two times, of submission and in all; the second one is
the latency. The program appends to the file, so that one file can hold several launches: a new one
begins where the index does not go on. Statistics below the lines are left alone.

Sources: microsoft/onnxruntime, onnxruntime/test/perftest (`PerformanceResult::DumpToFile`);
    https://github.com/microsoft/onnxruntime/pull/26313 for the second time;
    https://github.com/microsoft/onnxruntime/pull/2798 for what is printed.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from deploy.errors import RowsError
from reports.importers.launches import Imported, Launch, model_name
from reports.importers.numbers import latency_ns, number, positive_or_none

NAME = "onnxruntime_perf_test"
RUNTIME = "onnxruntime"

_COLUMNS = (5, 6)  # with one time, or with two
_NUMBER = r"\s*:?\s*([-+.\w]+)"
_PRINTED = {
    "session_s": re.compile(rf"Session creation time cost{_NUMBER} s"),
    "first_ms": re.compile(rf"First inference time cost{_NUMBER} ms"),
    "average_ms": re.compile(rf"Average (?:inference )?time cost(?: total)?{_NUMBER} ms"),
    "inferences": re.compile(rf"Total (?:inference requests|iterations){_NUMBER}"),
    "peak_bytes": re.compile(rf"Peak working set size{_NUMBER} bytes"),
}


def recognizes(text: str) -> bool:
    """Tell whether a text is a result file or a printout of the tool."""
    if _PRINTED["average_ms"].search(text):
        return True
    first = next((line for line in text.splitlines() if line.strip()), "")
    fields = _fields(first)
    return len(fields) in _COLUMNS and all(_is_number(one) for one in fields[1:])


def read(text: str, where: str) -> Imported:
    """Read either form. Raises RowsError."""
    if _PRINTED["average_ms"].search(text):
        return Imported([_printed(text, where)], RUNTIME)
    launches: list[_Rows] = []
    for place, line in enumerate(text.splitlines(), 1):
        fields = _fields(line)
        if len(fields) in _COLUMNS:
            _add(launches, fields, f"{where}, line {place}")
        elif "," in line:
            raise RowsError(
                f"{where}, line {place} has {len(fields)} fields, not 5 or 6",
                "name a result file of onnxruntime_perf_test",
            )
    return Imported([one.launch() for one in launches], RUNTIME)


@dataclass
class _Rows:
    """The lines of one launch, while they are read."""

    model: str
    steady_ns: list[int] = field(default_factory=list)
    peak_bytes: int | None = None
    last: float = -1.0  # index of the line before

    def launch(self) -> Launch:
        return Launch(self.model, self.steady_ns, peak_rss_bytes=self.peak_bytes)


def _add(launches: list[_Rows], fields: Sequence[str], where: str) -> None:
    model, seconds, (peak, _, index) = fields[0], fields[-4], fields[-3:]
    place = number(index, "the index of the run", where)
    if not launches or launches[-1].model != model or place <= launches[-1].last:
        launches.append(_Rows(model))
    rows = launches[-1]
    rows.steady_ns.append(latency_ns(seconds, "s", "the latency", where))
    rows.peak_bytes = positive_or_none(number(peak, "the peak working set", where))
    rows.last = place


def _printed(text: str, where: str) -> Launch:
    found = {name: one.findall(text) for name, one in _PRINTED.items()}
    value = {name: of_name[-1] for name, of_name in found.items() if of_name}
    n_samples = (
        round(number(value["inferences"], "inferences", where)) if "inferences" in value else 1
    )
    peak_bytes = value.get("peak_bytes")
    return Launch(
        model_name(where).removesuffix(".txt").removesuffix(".log"),
        [latency_ns(value["average_ms"], "ms", "the average latency", where)],
        first_ns=_optional_ns(value.get("first_ms"), "ms", where),
        session_create_ns=_optional_ns(value.get("session_s"), "s", where),
        peak_rss_bytes=peak_bytes and positive_or_none(number(peak_bytes, "the peak", where)),
        n_samples=n_samples,
        message=f"only the mean of {n_samples} inferences is known" if n_samples > 1 else None,
    )


def _optional_ns(text: str | None, unit: str, where: str) -> int | None:
    return None if text is None else latency_ns(text, unit, "a time", where)


def _fields(line: str) -> list[str]:
    return next(csv.reader([line]), [])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
