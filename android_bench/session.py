"""A session: launch every case many times, interleaved, and leave tables. Resumes where it died.

`bench` is a function of cases, plan and device; it holds no state of its own besides the folder.
"""

import hashlib
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from android_bench.device import Device, DeviceInfo
from android_bench.journal import Journal
from android_bench.launch import Case, Session, Slot, Target, case_id, launch, made_with
from android_bench.plan import BenchPlan
from android_bench.rows import SCHEMA_VERSION, RunRow
from android_bench.tables import has_tables, write_tables
from deploy.artifact import tool_versions
from deploy.errors import ArtifactError, DataError, UsageError
from deploy.files import file_sha256, unfinished

JOURNAL_NAME = "journal.jsonl"
SESSION_NAME = "session.json"  # written last: a folder that has it is finished

# -P keeps this package's folder, which the script lies in, out of the import path.
HOST_RUNNER = (sys.executable, "-P", str(Path(__file__).with_name("python_runner.py")))

Progress = Callable[[int, int, RunRow | None], None]


def bench(
    cases: Sequence[Case],
    plan: BenchPlan,
    device: Device,
    folder: Path,
    *,
    on_progress: Progress = lambda done, total, run: None,
    force: bool = False,
    runner: Sequence[str] = HOST_RUNNER,
) -> Path:
    """Measure cases on a device and give the folder of the results.

    Every block launches every case once, each in a fresh process. Blocks come in pairs, a random
    order and its reverse, so that a drift of the device weighs on all cases alike. A launch that
    fails is a row with its status and is not repeated. Where every launch of a case failed, its
    rows are there and the caller decides.

    The same cases, plan, device and versions are the same session: one that was interrupted goes
    on where it stopped, one that is finished is given as it is.

    Args:
        folder: the session's own folder is made in here, named by its id.
        on_progress: told at the start and after each launch: how many are done, of how many, and
            the row of the launch that has just ended. None at the start; if all are done then,
            the session was finished already.
        force: measure anew, also where there is something to resume.
        runner: the program that runs on the device and keeps to native/PROTOCOL.md.

    Returns:
        The folder with each table of `rows.TABLES` as parquet and csv, session.json and the
        journal.

    Raises:
        UsageError: no case, or the same one twice.
        ArtifactError: a model file is missing, or is not the one that its artifact describes.
        DataError: a case's input file is missing.
        DeviceError: the device cannot be used, or the session is being measured already.
        OutputError: the folder refuses.
        RowsError: the journal to resume from is broken.
    """
    info = device.info()
    identity = _identity(cases, plan, info, runner)
    session_id = _hash(identity)
    results = folder / session_id
    slots = launch_order(len(cases), plan.launches, plan.seed)
    if is_finished(results) and not force:
        on_progress(len(slots), len(slots), None)
        return results
    tool_version = identity["versions"]["mofa-deploy"]
    session = Session(session_id, plan, info.device_id, tool_version, runner)
    with Journal(results / JOURNAL_NAME, session_id, fresh=force) as journal:
        (results / SESSION_NAME).unlink(missing_ok=True)
        todo = _missing(slots, journal)
        on_progress(len(slots) - len(todo), len(slots), None)
        try:
            targets = _push(cases, identity["cases"], device) if todo else []
            for slot in todo:
                time.sleep(plan.cooldown_s)
                journal.append(launch(device, session, targets[slot.case], slot))
                on_progress(len(journal.launches), len(slots), journal.launches[-1].run)
        finally:
            device.remove()
        write_tables(results, _rows(journal, info))
        _write_session(results, identity, slots, journal)
    return results


def is_finished(results: Path) -> bool:
    """Say whether a session's folder holds all that `bench` leaves."""
    return (results / SESSION_NAME).is_file() and has_tables(results)


def list_sessions(folder: Path) -> list[Path]:
    """Give the folders of the finished sessions in a folder, the one finished last at the end."""
    found = [path.parent for path in folder.glob(f"*/{SESSION_NAME}") if is_finished(path.parent)]
    return sorted(found, key=lambda results: (results / SESSION_NAME).stat().st_mtime_ns)


def launch_order(n_cases: int, launches: int, seed: int) -> list[Slot]:
    """Give every launch of a session in its order: pairs of blocks, the second one reversed.

    With a drift that is linear over a pair of blocks, each case meets the same mean of it (ABBA).
    """
    generator = random.Random(seed)
    slots: list[Slot] = []
    order: list[int] = []
    for block in range(launches):
        order = order[::-1] if block % 2 else generator.sample(range(n_cases), n_cases)
        slots += [Slot(block, place, case) for place, case in enumerate(order)]
    return slots


def _identity(
    cases: Sequence[Case], plan: BenchPlan, info: DeviceInfo, runner: Sequence[str]
) -> dict[str, Any]:
    """Give all that makes a session this one and no other. The host's name is in no part of it."""
    if not cases:
        raise UsageError("there is nothing to measure", "name a model file")
    described = [_describe(case, plan) for case in cases]
    ids = [one["case_id"] for one in described]
    for case, one in zip(cases, ids, strict=True):
        if ids.count(one) > 1:
            raise UsageError(f"{case.artifact.path} is given twice", "name each case once")
    return {
        "schema_version": SCHEMA_VERSION,
        "plan": asdict(plan),
        "cases": described,
        "device_id": info.device_id,
        "versions": tool_versions("onnxruntime"),
        "runner": _hash(list(runner)),  # its paths are this machine's own business
    }


def _describe(case: Case, plan: BenchPlan) -> dict[str, Any]:
    artifact = case.artifact
    if not artifact.path.is_file():
        raise ArtifactError(
            f"no model file at {artifact.path}", "check the path, or run the stage before"
        )
    if file_sha256(artifact.path) != artifact.sha256:
        raise ArtifactError(
            f"{artifact.path} has changed since it was read", "run the stage before it again"
        )
    if not case.input.is_file():
        raise DataError(f"no input file at {case.input}", "check the path")
    input_sha256 = file_sha256(case.input)
    return {
        "case_id": case_id(case, plan, input_sha256),
        "model": artifact.model,
        "kind": artifact.kind,
        "target": artifact.target,
        "model_sha256": artifact.sha256,
        "input_sha256": input_sha256,
        "opt_level": case.opt_level,
        "config": dict(case.config),
        **made_with(artifact),
    }


def _hash(what: Any) -> str:
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def _missing(slots: Sequence[Slot], journal: Journal) -> list[Slot]:
    done = {(one.run.block, one.run.order_in_block) for one in journal.launches}
    return [slot for slot in slots if (slot.block, slot.order_in_block) not in done]


def _push(
    cases: Sequence[Case], described: Sequence[dict[str, Any]], device: Device
) -> list[Target]:
    """Put every case's files on the device, each named by what it holds and put there once."""
    there: dict[str, str] = {}

    def put(local: Path, name: str) -> str:
        if name not in there:
            there[name] = str(device.push(local, name))
        return there[name]

    return [
        Target(
            case,
            one["case_id"],
            # its ending tells the runtime the format
            model=put(
                case.artifact.path, f"{one['model_sha256']}{case.artifact.path.suffix or '.onnx'}"
            ),
            input=put(case.input, f"{one['input_sha256']}.f32"),
        )
        for case, one in zip(cases, described, strict=True)
    ]


def _rows(journal: Journal, info: DeviceInfo) -> dict[str, list[Any]]:
    return {
        "runs": [one.run for one in journal.launches],
        "samples": [row for one in journal.launches for row in one.samples],
        "memory_samples": [row for one in journal.launches for row in one.memory],
        "telemetry": [],
        "ops": [],
        "devices": [info],
    }


def _write_session(
    results: Path, identity: dict[str, Any], slots: Sequence[Slot], journal: Journal
) -> None:
    record = {
        "session_id": results.name,
        "started_at_utc": journal.launches[0].run.started_at_utc,
        "finished_at_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **identity,
        "order": [identity["cases"][slot.case]["case_id"] for slot in slots],
    }
    with unfinished(results / SESSION_NAME) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
