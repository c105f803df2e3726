"""Results of LiteRT's (TensorFlow Lite's) benchmark_model: what it prints, with its profile.

It prints microseconds: count, mean, first, least and greatest of the inferences, never single ones,
so that a launch has one figure, the mean, and says so. What it calls peak memory is a difference to
the start of the tool or a footprint by its own measure; it is not comparable with a high-water mark
and is left out. Operators come from the profile in the printout, or from a profile in CSV.

Sources: google-ai-edge/LiteRT, tools/benchmark (README, `BenchmarkLoggingListener`); printouts in
    https://github.com/tensorflow/tensorflow/issues/42507 and /73862;
    tensorflow core/util/stats_calculator for both forms of the profile.
"""

import re
from collections.abc import Iterator

from deploy.errors import RowsError
from reports.importers.launches import Imported, Launch, model_name
from reports.importers.numbers import latency_ns, number

NAME = "litert_benchmark_model"
RUNTIME = "litert"

_TIMINGS = re.compile(
    r"Inference timings in us: Init: (\S+?), First inference: (\S+?), "
    r"Warmup \(avg\): (\S+?), Inference \(avg\): (\S+)"
)
_GRAPH = re.compile(r"Graph: \[(.+?)\]")
_THREADS = re.compile(r"Num threads: \[(\d+)\]")
_COUNT = re.compile(r"^(?:INFO: )?count=(\d+) ", re.MULTILINE)
_DELEGATE = re.compile(r"Created TensorFlow Lite (?:delegate for (\w+)|(\w+) delegate for)")
_CSV_HEADER = "node type,first,avg_ms,%,cdf%,mem KB,times called,name"
_STDOUT_HEADER = re.compile(r"\[node type\].*\[Name\]")


def recognizes(text: str) -> bool:
    """Tell whether a text is a printout of the tool or its profile in CSV."""
    return bool(_TIMINGS.search(text)) or _csv_header(text) is not None


def read(text: str, where: str) -> Imported:
    """Read a printout of one or several launches, one after another. Raises RowsError."""
    ends = [found.end() for found in _TIMINGS.finditer(text)]
    if not ends:
        raise RowsError(
            f"{where} has no inference timings, only a profile at most",
            "import what benchmark_model printed",
        )
    # a profile follows the timings that it belongs to; the next launch begins with its own graph
    starts = [0, *(_next_start(text, end) for end in ends[:-1])]
    parts = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return Imported([_launch(part, where) for part in parts], RUNTIME)


def _next_start(text: str, end: int) -> int:
    found = re.compile(r"^(?:INFO: )?STARTING!|Graph: \[", re.MULTILINE).search(text, end)
    return found.start() if found else end


def _launch(text: str, where: str) -> Launch:
    (timings,) = _TIMINGS.finditer(text)
    init, first, _, steady = timings.groups()
    counts = _COUNT.findall(text)
    n_samples = int(counts[-1]) if counts else None
    graph, threads, delegate = (one.search(text) for one in (_GRAPH, _THREADS, _DELEGATE))
    inferences = "inferences" if n_samples is None else f"{n_samples} inferences"
    return Launch(
        graph[1] if graph else model_name(where),
        [latency_ns(steady, "us", "the mean inference", where)],
        first_ns=latency_ns(first, "us", "the first inference", where),
        session_create_ns=latency_ns(init, "us", "the initialization", where),
        n_samples=n_samples,
        message=f"only the mean of {inferences} is known",
        provider=next(one for one in delegate.groups() if one).lower() if delegate else None,
        threads=int(threads[1]) if threads else None,
        ops=list(_operators(text, where)),
    )


def _csv_header(text: str) -> int | None:
    for place, line in enumerate(text.splitlines()):
        if line.replace(", ", ",").strip() == _CSV_HEADER:
            return place
    return None


def _operators(text: str, where: str) -> Iterator[tuple[str, str, int, int]]:
    """Give name, type, calls and total time of each operator, from either form of the profile.

    The last list in the order of running counts: the one before it is of the initialization.
    """
    lines = text.splitlines()
    place = _csv_header(text)
    if place is not None:
        rows = [line.rsplit(",", 7) for line in _until_blank(lines[place + 1 :])]
        for row in rows:
            if len(row) == 8:  # a type may hold commas; in a name they are tabs
                kind, _, mean_ms, *_, calls, name = (cell.strip() for cell in row)
                yield _operator(name, kind, calls, mean_ms, where)
        return
    headers = [n for n, line in enumerate(lines) if _STDOUT_HEADER.search(line)]
    in_order = [n for n in headers if "Run Order" in "".join(lines[max(n - 1, 0) : n])]
    for line in _until_blank(lines[in_order[-1] + 1 :] if in_order else []):
        cells = [cell.strip() for cell in line.strip().split("\t")]
        names = re.findall(r"\[(.+?)\]", lines[in_order[-1]])
        if len(cells) == len(names):
            row_of = dict(zip(names, cells, strict=True))
            yield _operator(
                row_of["Name"], row_of["node type"], row_of["times called"], row_of["avg ms"], where
            )


def _operator(
    name: str, kind: str, calls: str, mean_ms: str, where: str
) -> tuple[str, str, int, int]:
    each_ns = number(mean_ms, f"the time of {name}", where) * 1e6
    n_calls = round(number(calls, f"the calls of {name}", where))
    return name.replace("\t", ","), kind, n_calls, round(each_ns * n_calls)


def _until_blank(lines: list[str]) -> Iterator[str]:
    for line in lines:
        if not line.strip():
            return
        yield line
