"""Who computed it, where the time or the instructions went, and which launches went wrong."""

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.compare import CaseKey
from reports.frame import Frames
from reports.launches import CASE_KEY
from reports.page_table import Cell, PageTable, number, words
from reports.rounding import three_digits
from reports.summary import case_labels
from reports.tables import DASH, counted

_COVERAGE = (
    "provider",
    "nodes_total",
    "nodes_on_provider",
    "partitions_on_provider",
    "coverage_source",
    "fallback_reasons",
)
_MOST_OPERATORS = 8
_MOST_FAILURES = 100
_MOST_LOGS = 20
_MOST_LOG_CHARS = 4000


@dataclass(frozen=True)
class Coverage:
    """How much of each graph its provider took.

    Attributes:
        table: a row a case.
        reasons: why nodes were left to the processor, a sentence each.
    """

    table: PageTable
    reasons: tuple[str, ...]


def labels_by_case(summary: pd.DataFrame) -> dict[CaseKey, str]:
    """Give each case's short name, in the order of the summary."""
    keys = zip(summary["session_id"], summary["case_id"], strict=True)
    return dict(zip(keys, case_labels(summary), strict=True))


def provider_coverage(frames: Frames, summary: pd.DataFrame) -> Coverage | None:
    """Give who computed the nodes of each graph; None where no launch says."""
    runs = frames.runs
    told = runs.dropna(subset=["nodes_total", "nodes_on_provider"])
    told = told[told["nodes_total"] > 0]
    if told.empty:
        return None
    cases = told.groupby(CASE_KEY)[list(_COVERAGE)].first()
    of_cases = dict(zip(cases.index, cases.to_dict("records"), strict=True))
    rows, reasons = [], []
    for key, label in labels_by_case(summary).items():
        if case := of_cases.get(key):
            rows.append(_coverage_row(label, case))
            reasons += [f"{label}: {reason}" for reason in _reasons(case["fallback_reasons"])]
    columns = ("graph", "provider", "nodes it took", "partitions", "told by")
    caption = "Nodes of each graph that the provider took"
    return Coverage(
        PageTable(caption, columns, tuple(rows), ("provider", "nodes it took", "told by")),
        tuple(dict.fromkeys(reasons)),
    )


def _coverage_row(label: str, case: Mapping[Hashable, Any]) -> tuple[Cell, ...]:
    took, total = int(case["nodes_on_provider"]), int(case["nodes_total"])
    pct = 100 * took / total
    partitions = case["partitions_on_provider"]
    return (
        words(label),
        words(str(case["provider"])),
        number(f"{took} of {total} ({pct:.0f} %)", pct, pct),
        words(DASH) if pd.isna(partitions) else number(str(int(partitions)), float(partitions)),
        words(DASH if pd.isna(case["coverage_source"]) else str(case["coverage_source"])),
    )


def _reasons(text: object) -> list[str]:
    """Give the sentences of a JSON array, or the text itself where it is none."""
    if not isinstance(text, str):
        return []
    try:
        sentences = json.loads(text)
    except json.JSONDecodeError:
        return [text]
    return [str(one) for one in sentences] if isinstance(sentences, list) else [text]


def top_operators(frames: Frames, summary: pd.DataFrame) -> list[PageTable]:
    """Give a table a profiled case: the operators that took most of its time or instructions."""
    costs = dict(iter(operator_costs(frames).groupby(CASE_KEY)))
    return [
        _operator_table(label, costs[key])
        for key, label in labels_by_case(summary).items()
        if key in costs
    ]


def operator_costs(frames: Frames) -> pd.DataFrame:
    """Give what an inference costs in each operator, a mean over a case's profiled launches.

    Returns:
        Columns of the case, op_type, provider, is_partition, nodes, and cost: ms, or millions of
        instructions where is_counted says so. A case has one or the other.
    """
    ops = frames.ops.merge(frames.runs[["run_id", *CASE_KEY]], on="run_id")
    inferences = ops.groupby("run_id")["calls"].transform("max").clip(lower=1)
    launches = ops.groupby(CASE_KEY)["run_id"].transform("nunique")
    ms = ops["total_ns"].astype("float64") / inferences.astype("float64") / launches / 1e6
    counted = ops["instructions"].notna()
    of_counts = ops["instructions"].astype("float64") / launches / 1e6  # of one inference already
    ops = ops.assign(cost=ms.mask(counted, of_counts), is_counted=counted, nodes=1.0 / launches)
    by = [*CASE_KEY, "op_type", "provider", "is_partition", "is_counted"]
    return ops.groupby(by)[["cost", "nodes"]].sum().reset_index()


def _operator_table(label: str, costs: pd.DataFrame) -> PageTable:
    whole = costs["cost"].sum() or 1.0
    ranked = costs.sort_values("cost", ascending=False, kind="stable")
    rows = [
        _operator_row(_operator(row), str(row["provider"]), row["nodes"], row["cost"], whole)
        for _, row in ranked.iloc[:_MOST_OPERATORS].iterrows()
    ]
    rest = ranked.iloc[_MOST_OPERATORS:]
    if len(rest):
        name = f"{counted(len(rest), 'other')}"
        rows += [_operator_row(name, DASH, rest["nodes"].sum(), rest["cost"].sum(), whole)]
    if costs["is_counted"].any():  # on one core: there is no other provider to tell from
        bare = tuple((operator, *rest) for operator, _, *rest in rows)
        return PageTable(label, ("operator", "nodes", "M", "share"), bare)
    columns = ("operator", "provider", "nodes", "ms", "share")
    return PageTable(label, columns, tuple(rows), ("provider",))


def _operator(row: pd.Series) -> str:
    return f"{row['op_type']} (a partition)" if row["is_partition"] else str(row["op_type"])


def _operator_row(
    name: str, provider: str, nodes: float, cost: float, whole: float
) -> tuple[Cell, ...]:
    pct = 100 * cost / whole
    return (
        words(name),
        words(provider),
        number(f"{nodes:.0f}", nodes),
        number(three_digits(cost), cost),
        number(f"{pct:.1f} %", pct, pct),
    )


def failed_launches(frames: Frames, summary: pd.DataFrame) -> PageTable | None:
    """Give the launches that did not end well, the first first; None where all did."""
    failed = frames.runs[frames.runs["status"] != "ok"].sort_values("started_at_utc")
    if failed.empty:
        return None
    labels = labels_by_case(summary)
    rows = [
        (
            words(labels.get((run["session_id"], run["case_id"]), run["case_id"])),
            number(str(run["block"]), run["block"]),
            number(str(run["attempt"]), run["attempt"]),
            words(run["status"].replace("_", " ")),
            words(DASH if pd.isna(run["status_message"]) else run["status_message"]),
        )
        for _, run in failed.iloc[:_MOST_FAILURES].iterrows()
    ]
    caption = f"{counted(len(failed), 'launch')} did not end well"
    if len(failed) > len(rows):
        caption += f"; the first {len(rows)} of them"
    columns = ("graph", "block", "attempt", "how", "what was said")
    return PageTable(caption, columns, tuple(rows), ("how", "what was said"))


def failure_logs(frames: Frames) -> list[tuple[str, str]]:
    """Give the run and the last lines of the log of launches that left one."""
    logged = frames.runs[frames.runs["status"] != "ok"].dropna(subset=["log_tail"])
    return [
        (f"{run['run_id']}: {run['status'].replace('_', ' ')}", run["log_tail"][-_MOST_LOG_CHARS:])
        for _, run in logged.iloc[:_MOST_LOGS].iterrows()
    ]
