"""From what became of a launch to its rows. Pure."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from android_bench.correctness import Verdict
from android_bench.coverage import Coverage
from android_bench.launch import Due, Session, Slot, Target, made_with
from android_bench.memory import native_heap, sums_of_record, total
from android_bench.outcome import Outcome
from android_bench.protocol import Launch
from android_bench.records import Smaps
from android_bench.rows import SCHEMA_VERSION, CountRow, MemorySampleRow, RunRow, SampleRow

# An emulator's own time and memory say nothing of the processor that it emulates.
_NOT_OF_COUNTS = {
    "session_create_ns": None,
    "n_samples": 0,
    "peak_rss_bytes": None,
    "peak_rss_reset": None,
}


@dataclass(frozen=True)
class Ended:
    """All that is known of a launch that is over.

    Attributes:
        started_at_utc: ISO 8601.
        exit_code: None where it did not end by itself.
        conditions: columns of `runs`, from `thermal.conditions`.
    """

    outcome: Outcome
    started_at_utc: str
    duration_ns: int
    exit_code: int | None
    coverage: Coverage | None = None
    verdict: Verdict | None = None
    conditions: Mapping[str, Any] | None = None


def new_run_id() -> str:
    """Give a name that no other launch has."""
    return uuid.uuid4().hex


def run_row(session: Session, target: Target, due: Due, ended: Ended, run_id: str) -> RunRow:
    """Give the row of a launch, whatever became of it."""
    artifact, outcome = target.case.artifact, ended.outcome
    columns: dict[str, Any] = dict(target.case.known)
    columns |= _asked(session, target, due.slot)
    columns |= _seen(outcome.seen)
    columns |= _NOT_OF_COUNTS if session.plan.metric == "instructions" else {}
    columns |= _covered(ended.coverage) | _checked(ended.verdict)
    columns |= dict(ended.conditions or {}) | made_with(artifact)
    return RunRow(
        schema_version=SCHEMA_VERSION,
        session_id=session.session_id,
        run_id=run_id,
        case_id=target.case_id,
        status=outcome.status,
        status_message=_by_its_name(outcome.reason, target),
        log_tail=_by_its_name(outcome.log_tail, target),
        signal=outcome.signal,
        exit_code=ended.exit_code,
        started_at_utc=ended.started_at_utc,
        duration_ns=ended.duration_ns,
        attempt=due.attempt,
        **columns,
    )


def sample_rows(seen: Launch | None, run_id: str) -> tuple[SampleRow, ...]:
    """Give every inference of a launch."""
    return tuple(
        SampleRow(run_id, one.iteration, one.phase, one.t_start_ns, one.latency_ns)
        for one in (seen.samples if seen else ())
    )


def count_rows(seen: Launch | None, run_id: str) -> tuple[CountRow, ...]:
    """Give what was executed in every step of a launch of mode `count`; profiles disturb theirs."""
    if seen is None or seen.begin.mode != "count":
        return ()
    return tuple(CountRow(run_id, **asdict(one)) for one in seen.counts)


def memory_rows(seen: Launch | None, run_id: str) -> tuple[MemorySampleRow, ...]:
    """Give every reading of memory: the ends of the phases and the sampler's, by their time."""
    if seen is None:
        return ()
    rows = [MemorySampleRow(run_id, **asdict(one)) for one in seen.memory]
    rows += [_sampled(one, run_id) for one in seen.smaps]
    return tuple(sorted(rows, key=lambda row: row.t_ns))


def _sampled(one: Smaps, run_id: str) -> MemorySampleRow:
    sums = sums_of_record(one.vmas)
    all_of_it, heap = total(sums), native_heap(sums)
    return MemorySampleRow(
        run_id,
        one.t_ns,
        one.phase,
        all_of_it.rss_bytes,
        None,
        None,
        pss_bytes=all_of_it.pss_bytes,
        native_heap_bytes=heap.pss_bytes if heap else None,
        swap_pss_bytes=all_of_it.swap_pss_bytes,
    )


def _by_its_name(text: str | None, target: Target) -> str | None:
    """Name the model as the user knows it; the path there is gone when this is read."""
    return text and text.replace(target.model, target.case.artifact.path.name)


def _asked(session: Session, target: Target, slot: Slot) -> dict[str, Any]:
    artifact, case, plan = target.case.artifact, target.case, session.plan
    return {
        "block": slot.block,
        "order_in_block": slot.order_in_block,
        "mode": slot.mode,
        "model": artifact.model,
        "kind": artifact.kind,
        "target": artifact.target,
        "model_sha256": artifact.sha256,
        "model_bytes": artifact.path.stat().st_size,
        "device_id": session.device_id,
        "provider": case.provider,
        "intra_op_threads": plan.threads,
        "tool_version": session.tool_version,
        "seed": plan.seed,
        "graph_opt_level": case.opt_level,
        "session_config": json.dumps(dict(sorted(case.config.items()))),
        "input_sha256": target.input_sha256,
        "runner_sha256": session.runner_sha256,
        "runtime_sha256": session.runtime_sha256,
        "cores_asked": session.cores,
    }


def _seen(seen: Launch | None) -> dict[str, Any]:
    begin = seen.begin if seen else None
    made = seen.session if seen else None
    shape = made.input_shape if made else None
    peak = seen.peak if seen else None
    return {
        "runtime": begin.runtime if begin else None,
        "runtime_version": begin.runtime_version if begin else None,
        "cores_granted": begin.cores_granted if begin else None,
        "session_create_ns": made.create_ns if made else None,
        "input_shape": json.dumps(shape) if shape else None,
        "n_samples": len(seen.samples) if seen else 0,
        "peak_rss_bytes": peak.rss_bytes if peak else None,
        "peak_rss_reset": peak.reset if peak else None,
        "output_sha256": seen.output.sha256 if seen and seen.output else None,
        **(_memory(seen) if seen and seen.begin.mode == "memory" and not seen.failure else {}),
    }


def _memory(seen: Launch) -> dict[str, Any]:
    """Give the peaks over all readings of a launch of mode `memory`."""
    rows = memory_rows(seen, "")
    ms_ns = 10**6
    mean_ns = seen.sampler.interval_mean_ns if seen.sampler else None
    asked_ns = seen.begin.interval_ms * ms_ns if seen.begin.interval_ms else None
    sampled = max((row.rss_bytes for row in rows), default=None)
    missed = None
    if seen.peak and seen.peak.reset and sampled is not None:
        missed = max(0, seen.peak.rss_bytes - sampled)
    return {
        "memory_source": "smaps" if seen.smaps else "status" if rows else None,
        "memory_interval_ns": mean_ns or asked_ns,
        "peak_native_heap_bytes": _greatest(row.native_heap_bytes for row in rows),
        "peak_pss_bytes": _greatest(row.pss_bytes for row in rows),
        "peak_sampled_rss_bytes": sampled,
        "peak_missed_bytes": missed,
    }


def _greatest(values: Any) -> int | None:
    return max((one for one in values if one is not None), default=None)


def _covered(coverage: Coverage | None) -> dict[str, Any]:
    if coverage is None:
        return {}
    return {
        "nodes_total": coverage.nodes_total,
        "nodes_on_provider": coverage.nodes_on_provider,
        "partitions_on_provider": coverage.partitions,
        "coverage_source": coverage.source,
        "fallback_reasons": json.dumps(coverage.reasons) if coverage.reasons else None,
    }


def _checked(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return {}
    seen = verdict.difference
    return {
        "output_checked": verdict.checked,
        "output_ok": verdict.problem is None if verdict.checked or verdict.problem else None,
        "output_max_abs_err": seen.max_abs_err if seen else None,
        "output_vs_host_psnr_db": seen.psnr_db if seen else None,
    }
