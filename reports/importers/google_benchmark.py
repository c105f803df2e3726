"""Results of google/benchmark in JSON (`--benchmark_format=json`, or `--benchmark_out`).

A repetition of a benchmark is the mean of its `iterations`; all repetitions run in one process, so
that they are samples of one launch. Where only aggregates were reported, the median is taken.

Source: https://google.github.io/benchmark/user_guide, "Output Formats" and "Reporting Statistics".
"""

import json
from typing import Any

from reports.importers.documents import document, mapping, rows_of
from reports.importers.launches import Imported, Launch
from reports.importers.numbers import latency_ns, number

NAME = "google_benchmark"


def recognizes(text: str) -> bool:
    """Tell whether a text is the library's JSON."""
    try:
        found = json.loads(text)
    except ValueError:
        return False
    benchmarks = found.get("benchmarks") if isinstance(found, dict) else None
    if not isinstance(benchmarks, list) or not isinstance(found.get("context"), dict):
        return False
    return "num_cpus" in found["context"] or any("real_time" in one for one in benchmarks)


def read(text: str, where: str) -> Imported:
    """Read every benchmark in a file, one launch each. Raises RowsError."""
    found = document(text, where)
    by_name: dict[str, list[dict[str, Any]]] = {}
    for one in rows_of(found, "benchmarks", where):
        by_name.setdefault(str(one.get("run_name", one.get("name"))), []).append(one)
    launches = [_launch(name, rows, where) for name, rows in by_name.items()]
    context = mapping(found.get("context"))
    return Imported(launches, device=_device(context), started_at_utc=context.get("date"))


def _launch(name: str, rows: list[dict[str, Any]], where: str) -> Launch:
    failed = [row for row in rows if row.get("error_occurred") or row.get("skipped")]
    if failed:
        reason = failed[0].get("error_message") or failed[0].get("skip_message")
        return Launch(name, [], status="skipped", message=str(reason or "it reported an error"))
    single = [row for row in rows if row.get("run_type", "iteration") == "iteration"]
    medians = [row for row in rows if row.get("aggregate_name") == "median"]
    taken = single or medians
    times_ns = [
        latency_ns(row.get("real_time"), row.get("time_unit", "ns"), f"real_time of {name}", where)
        for row in taken
    ]
    iterations = [round(number(row.get("iterations", 1), "iterations", where)) for row in single]
    return Launch(
        name,
        times_ns,
        n_samples=sum(iterations) or None,
        message=_message(single, iterations),
        status="ok" if times_ns else "skipped",
    )


def _message(single: list[dict[str, Any]], iterations: list[int]) -> str | None:
    if not single:
        return "only the median of its repetitions is known"
    if max(iterations) == 1:
        return None
    least, most = min(iterations), max(iterations)
    count = f"{most}" if least == most else f"{least} to {most}"
    return f"each sample is the mean of {count} iterations"


def _device(context: dict[str, Any]) -> dict[str, Any]:
    host = context.get("host_name")
    if not isinstance(host, str) or not host:
        return {}
    return {"device_id": f"host {host}", "name": host, "cpu_cores": context.get("num_cpus")}
