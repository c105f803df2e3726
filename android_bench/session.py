"""A session: launch every case many times, interleaved, and leave tables. Resumes where it died.

`bench` is a function of cases, plan and device; it holds no state of its own besides the folder.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from android_bench.attempt import Launcher
from android_bench.cores import core_mask
from android_bench.device import Device, DeviceInfo, nameless
from android_bench.finished import Ended, new_run_id, run_row
from android_bench.identity import hash_of, identity_of, program_hashes
from android_bench.journal import Journal
from android_bench.launch import Case, Due, Finished, Session, Slot, Target
from android_bench.layout import Layout, await_return, put_all
from android_bench.order import all_slots, last_of_slots, launch_order, next_due
from android_bench.outcome import Outcome
from android_bench.plan import BenchPlan
from android_bench.programs import programs_for
from android_bench.request import REQUEST_NAME, write_request
from android_bench.rows import RunRow
from android_bench.sensor_text import CanQuery, HostSource, NoSource, PhoneSource, Source
from android_bench.sensors import Sensors
from android_bench.tables import has_tables, write_tables
from android_bench.thermal import Guard
from deploy.errors import DeviceError, UsageError
from deploy.files import unfinished

__all__ = ["bench", "is_finished", "launch_order", "list_sessions"]

JOURNAL_NAME = "journal.jsonl"
SESSION_NAME = "session.json"  # written last: a folder that has it is finished
COVERAGE_COLUMNS = (
    *("nodes_total", "nodes_on_provider", "partitions_on_provider"),
    *("coverage_source", "fallback_reasons"),
)

Progress = Callable[[int, int, RunRow | None], None]


def bench(
    cases: Sequence[Case],
    plan: BenchPlan,
    device: Device,
    folder: Path,
    *,
    on_progress: Progress = lambda done, total, run: None,
    on_wait: Callable[[str], None] = lambda text: None,
    force: bool = False,
    runner: Sequence[str] | None = None,
    files: Sequence[Path] = (),
) -> Path:
    """Measure cases on a device and give the folder of the results.

    Every block launches every case once, each in a fresh process. Blocks come in pairs, a random
    order and its reverse, so that a drift of the device weighs on all cases alike; launches that
    read memory or profile come after those whose latency counts. A launch that fails is a row
    with its status and is not repeated. One that was lost with the device, or throttled, says
    nothing of the case: it is a row, and is taken again. Where every launch of a case failed, its
    rows are there and the caller decides.

    The same cases, plan, device and versions are the same session: one that was interrupted goes
    on where it stopped, one that is finished is given as it is.

    Args:
        folder: the session's own folder is made in here, named by its id.
        on_progress: told at the start and after each launch: how many are done, of how many, and
            the row of the launch that has just ended. None at the start; if all are done then,
            the session was finished already.
        on_wait: told why the next launch waits.
        force: measure anew, also where there is something to resume.
        runner: the program that runs on the device and keeps to native/PROTOCOL.md, with its
            first arguments; None: our own, see `programs.programs_for`.
        files: those of its words that are files to be put on the device first.

    Returns:
        The folder with each table of `rows.TABLES` as parquet and csv, session.json and the
        journal.

    Raises:
        UsageError: no case, or the same one twice.
        ArtifactError: a model file is missing, or is not the one that its artifact describes.
        DataError: a case's input file is missing.
        DeviceError: the device cannot be used, or the session is being measured already. What was
            measured is in the journal and in tables; the same call goes on.
        OutputError: the folder refuses.
        RowsError: the journal to resume from is broken.
    """
    info = device.info()
    _require_plan_fits(plan, info)
    if runner is None:
        needed = programs_for(info, [case.artifact.path for case in cases])
        runner, files = needed.command, needed.files
    sensors = Sensors(_source(device, info))
    cores = _cores(plan, info, sensors)
    identity = identity_of(cases, plan, info, runner, cores)
    results = folder / hash_of(identity)
    slots = all_slots(len(cases), plan)
    if is_finished(results) and not force:
        on_progress(len(slots), len(slots), None)
        return results
    info = _with_sensors(info, sensors)
    layout = Layout(cases, identity, device, runner, files)
    session = Session(
        session_id=results.name,
        plan=plan,
        device_id=info.device_id,
        tool_version=identity["versions"]["mofa-deploy"],
        runner=runner,
        cores=cores,
        **program_hashes(runner),
    )
    with Journal(results / JOURNAL_NAME, results.name, fresh=force) as journal:
        (results / SESSION_NAME).unlink(missing_ok=True)
        write_request(results, cases, plan, info)
        guard = Guard(sensors, plan.max_wait_s if info.is_phone else 0.0, on_wait=on_wait)
        launcher = Launcher(device, info, session, guard)
        on_progress(_done(slots, plan, journal), len(slots), None)
        try:
            _launch_all(launcher, layout, slots, journal, on_progress)
        except DeviceError as error:
            skipped = _skipped(session, layout, slots, journal, error)
            write_tables(results, _rows([*journal.launches, *skipped], info))
            raise
        finally:
            _leave(device)
        write_tables(results, _rows(journal.launches, info))
        _write_session(results, identity, journal)
        (results / REQUEST_NAME).unlink()  # its paths are this machine's, and rows get passed on
    return results


def is_finished(results: Path) -> bool:
    """Say whether a session's folder holds all that `bench` leaves."""
    return (results / SESSION_NAME).is_file() and has_tables(results)


def list_sessions(folder: Path) -> list[Path]:
    """Give the folders of the finished sessions in a folder, the one finished last at the end."""
    found = [path.parent for path in folder.glob(f"*/{SESSION_NAME}") if is_finished(path.parent)]
    return sorted(found, key=lambda results: (results / SESSION_NAME).stat().st_mtime_ns)


def list_unfinished(folder: Path) -> list[Path]:
    """Give the sessions in a folder that are not finished, the one measured last at the end."""
    begun = [
        path.parent
        for path in folder.glob(f"*/{JOURNAL_NAME}")
        if (path.parent / REQUEST_NAME).is_file() and not is_finished(path.parent)
    ]
    return sorted(begun, key=lambda one: (one / JOURNAL_NAME).stat().st_mtime_ns)


def _launch_all(
    launcher: Launcher,
    layout: Layout,
    slots: Sequence[Slot],
    journal: Journal,
    on_progress: Progress,
) -> None:
    plan = launcher.session.plan
    targets: list[Target] = []
    while due := next_due(slots, plan, journal.launches):
        if not targets:
            argv, targets = put_all(layout, plan)
            launcher.session = replace(launcher.session, runner=argv)
        finished = launcher.make(targets[due.slot.case], due)
        journal.append(finished)
        on_progress(_done(slots, plan, journal), len(slots), finished.run)
        if finished.run.status == "device_lost":
            await_return(layout.device, plan)
            targets = []  # a phone that comes back may have lost what lay on it


def _leave(device: Device) -> None:
    try:
        device.remove()
    except DeviceError:  # gone; what lies there is removed when it is used next
        return


def _done(slots: Sequence[Slot], plan: BenchPlan, journal: Journal) -> int:
    """Count the launches that need not be made any more, as far as the order has come."""
    due = next_due(slots, plan, journal.launches)
    last = last_of_slots(journal.launches)
    again = due is not None and (due.slot.block, due.slot.order_in_block) in last
    return len(last) - again


def _require_plan_fits(plan: BenchPlan, info: DeviceInfo) -> None:
    """Refuse a plan whose metric the device does not have.

    Raises:
        UsageError: it is one.
    """
    if info.emulated_cpu is not None and plan.metric == "latency":
        raise UsageError(f"{info.name} has no clock", "count instructions on it")
    if info.emulated_cpu is None and plan.metric == "instructions":
        raise UsageError(f"{info.name} counts no instructions", "pass --device arm64")


def _source(device: Device, info: DeviceInfo) -> Source:
    if isinstance(device, CanQuery):
        return PhoneSource(device)
    return HostSource() if info.emulated_cpu is None else NoSource()


def _cores(plan: BenchPlan, info: DeviceInfo, sensors: Sensors) -> str | None:
    """Give the mask of the cores to run on: as asked; else the big ones of a phone, if known."""
    told = json.loads(info.cpu_max_freq_khz) if info.cpu_max_freq_khz else sensors.max_freq_khz
    wish = plan.cores
    if wish is None and info.is_phone and told and None not in told:
        wish = "big"
    return core_mask(wish, told, len(told) or info.cpu_cores, plan.threads)


def _with_sensors(info: DeviceInfo, sensors: Sensors) -> DeviceInfo:
    known = [one for one in sensors.max_freq_khz if one is not None]
    return replace(
        info,
        sensors=json.dumps(sensors.states, sort_keys=True),
        cpu_max_freq_khz=info.cpu_max_freq_khz
        or (json.dumps(sensors.max_freq_khz) if known else None),
    )


def _skipped(
    session: Session,
    layout: Layout,
    slots: Sequence[Slot],
    journal: Journal,
    error: DeviceError,
) -> list[Finished]:
    """Give a row for every launch that is not made, for want of the device."""
    last, targets = last_of_slots(journal.launches), layout.targets()
    outcome = Outcome("skipped", f"not launched: {nameless(error.problem, layout.device)}")
    ended = Ended(outcome, datetime.now(UTC).isoformat(timespec="milliseconds"), 0, None)
    return [
        Finished(run_row(session, targets[slot.case], Due(slot, 1), ended, new_run_id()))
        for slot in slots
        if (slot.block, slot.order_in_block) not in last
    ]


def _with_coverage(launches: Sequence[Finished]) -> list[RunRow]:
    """Give the rows of all launches; where one could not tell who computed, its case's others do.

    Runtimes before 1.24 tell by their verbose log alone, which no timed launch writes.
    """
    known: dict[str, dict[str, Any]] = {}
    for run in (one.run for one in launches):
        if run.nodes_total is not None:
            columns = {name: getattr(run, name) for name in COVERAGE_COLUMNS}
            known[run.case_id] = known.get(run.case_id) or columns
    return [
        replace(one.run, **known[one.run.case_id])
        if one.run.status == "ok" and one.run.nodes_total is None and one.run.case_id in known
        else one.run
        for one in launches
    ]


def _rows(launches: Sequence[Finished], info: DeviceInfo) -> dict[str, list[Any]]:
    return {
        "runs": _with_coverage(launches),
        "samples": [row for one in launches for row in one.samples],
        "memory_samples": [row for one in launches for row in one.memory],
        "telemetry": [row for one in launches for row in one.telemetry],
        "ops": [row for one in launches for row in one.ops],
        "counts": [row for one in launches for row in one.counts],
        "devices": [info],
    }


def _write_session(results: Path, identity: dict[str, Any], journal: Journal) -> None:
    record = {
        "session_id": results.name,
        "started_at_utc": journal.launches[0].run.started_at_utc,
        "finished_at_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **identity,
        "order": [one.run.case_id for one in journal.launches],
    }
    with unfinished(results / SESSION_NAME) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")
