"""Results of Jetpack Microbenchmark: the `benchmarkData.json` that its test leaves.

Each of `metrics.timeNs.runs` is a measurement of many iterations, in ns an iteration; a method is
one launch. A name that begins with an error, as in EMULATOR_run, keeps it and is told so.

Source: https://developer.android.com/topic/performance/benchmarking/microbenchmark-overview, and
    androidx.benchmark's `ResultWriter`.
"""

import re
from typing import Any

from reports.importers.documents import document, mapping, rows_of
from reports.importers.launches import Imported, Launch
from reports.importers.numbers import latency_ns

NAME = "jetpack_benchmark"

_PREFIX = re.compile(r"^((?:[A-Z]+(?:-[A-Z]+)*_)+)")  # DEBUGGABLE_, LOW-BATTERY_


def recognizes(text: str) -> bool:
    """Tell whether a text is the library's JSON."""
    return '"thermalThrottleSleepSeconds"' in text and '"benchmarks"' in text


def read(text: str, where: str) -> Imported:
    """Read every method that has a time in ns. Raises RowsError."""
    found = document(text, where)
    launches = [
        _launch(one, where)
        for one in rows_of(found, "benchmarks", where)
        if "timeNs" in mapping(one.get("metrics"))
    ]
    return Imported(launches, device=_device(mapping(found.get("context"))))


def _launch(one: dict[str, Any], where: str) -> Launch:
    name = str(one.get("name"))
    time_ns = mapping(one["metrics"]["timeNs"])
    runs = time_ns.get("runs") or [time_ns.get("median")]
    slept_s = one.get("thermalThrottleSleepSeconds")
    prefix = _PREFIX.match(name)
    return Launch(
        f"{str(one.get('className', '')).rpartition('.')[2]}.{name}".lstrip("."),
        [latency_ns(run, "ns", f"a run of {name}", where) for run in runs],
        message=f"the tool warns: {prefix[1].rstrip('_')}" if prefix else None,
        throttled=slept_s > 0 if isinstance(slept_s, int | float) else None,
    )


def _device(context: dict[str, Any]) -> dict[str, Any]:
    build = mapping(context.get("build"))
    names = [build.get("brand"), build.get("model")]
    name = " ".join(str(one) for one in names if one)
    fingerprint = build.get("fingerprint")
    if not (name or fingerprint):
        return {}
    return {
        "device_id": str(fingerprint or name),
        "name": name or str(fingerprint),
        "manufacturer": build.get("brand"),
        "model": build.get("model"),
        "build_fingerprint": fingerprint,
        "sdk": mapping(build.get("version")).get("sdk"),
        "cpu_cores": context.get("cpuCoreCount"),
        "mem_total_bytes": context.get("memTotalBytes"),
        "is_phone": True,
    }
