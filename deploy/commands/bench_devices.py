"""Sessions on one device or on several side by side, with one line of progress for all."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from android_bench.attempt import CHECKED_MODES
from android_bench.device import Device, DeviceInfo
from android_bench.devices import ALL, HOST, emulated_cores, find_device, find_devices
from android_bench.launch import Case
from android_bench.order import all_slots
from android_bench.plan import BenchPlan, counting
from android_bench.programs import Programs, programs_for
from android_bench.request import is_same_request, read_request
from android_bench.rows import RunRow
from android_bench.session import bench, list_unfinished
from deploy.commands.progress import bar, note
from deploy.errors import BenchOutputError, DeviceError, MofaError, UsageError
from reports.frame import load

# of every launch of a case: the device or the plan says so, and the others are measured
NOT_A_FAILURE = ("unavailable",)
_MEND = {"timeout": "raise --timeout, or take smaller images"}  # status -> what to do


@dataclass(frozen=True)
class Job:
    """What is measured on one device.

    Attributes:
        plan: None: the one for all, as far as it fits the device.
    """

    device: Device
    info: DeviceInfo
    cases: Sequence[Case]
    plan: BenchPlan | None = None

    @property
    def label(self) -> str:
        """What people tell the device by: of two phones of one model, each by its serial."""
        return " ".join(filter(None, [self.info.name, getattr(self.device, "serial", "")]))

    def plan_of(self, for_all: BenchPlan) -> BenchPlan:
        """Give the plan of this job: a processor without a clock counts in place of timing."""
        plan = self.plan or for_all
        return counting(plan) if self.info.emulated_cpu and plan.metric == "latency" else plan


def native_programs(job: Job) -> Programs:
    """Give the native runner for a job's device, and the library that reads all its graphs.

    Raises:
        DeviceError: see `programs_for`.
    """
    models = [case.artifact.path for case in job.cases]
    return programs_for(job.info, list(dict.fromkeys(models)), note)


def measure(
    jobs: Sequence[Job],
    plan: BenchPlan,
    folder: Path,
    *,
    force: bool,
    programs: Callable[[Job], Programs] = native_programs,
) -> tuple[list[Path], dict[str, MofaError]]:
    """Measure every job; phones side by side, and what runs on this machine one by one beside them.

    One of several that fails stops no other.

    Args:
        programs: gives what has to be on a job's device.

    Returns:
        The sessions' folders, and the devices that failed, each with the reason.

    Raises:
        MofaError: the only job failed.
    """
    if not jobs:
        return [], {}
    plans = [job.plan_of(plan) for job in jobs]
    total = sum(len(all_slots(len(job.cases), own)) for job, own in zip(jobs, plans, strict=True))
    where = jobs[0].label if len(jobs) == 1 else f"{len(jobs)} devices"
    stopped = Event()
    with bar(f"measuring on {where}", total, "launches") as launched:
        board = _Board(len(jobs), launched, stopped)

        def one(place: int) -> Path:
            job = jobs[place]
            needed = programs(job)
            results = bench(
                job.cases,
                plans[place],
                job.device,
                folder,
                on_progress=board.counts(place),
                on_wait=board.notes(place, job.label),
                force=force,
                runner=needed.command,
                files=needed.files,
            )
            require_measured(results)
            return results

        if len(jobs) == 1:
            return [one(0)], {}
        if not any(job.info.is_phone for job in jobs):
            return _one_by_one(jobs, one)
        return _side_by_side(jobs, one, stopped)


def resume(
    build: Path, *, keep: bool = False, touch: bool = True
) -> tuple[list[Path], dict[str, MofaError]]:
    """Go on with the session in a folder that was interrupted last, on all devices it ran on.

    Args:
        keep, touch: see `AdbDevice`.

    Returns:
        As `measure`.

    Raises:
        UsageError: none was.
        DeviceError: its only device is not there.
    """
    unfinished = list_unfinished(build)
    if not unfinished:
        raise UsageError(f"no interrupted session in {build}", "leave --resume out")
    begun = [one for one in unfinished[:-1] if is_same_request(one, unfinished[-1])]
    jobs, absent = [], {}
    for session in [*begun, unfinished[-1]]:
        cases, plan, device_id = read_request(session)
        try:
            device = _device_of(device_id, keep=keep, touch=touch)
            jobs.append(Job(device, device.info(), cases, plan))
        except DeviceError as error:
            if not begun:
                raise
            note(f"{session.name}: {error}")
            absent[session.name] = error
    folders, failed = measure(jobs, plan, build, force=False)
    return folders, {**absent, **failed}


def require_measured(session: Path) -> None:
    """Check that every case has a good launch; a provider that is not there is told, and no more.

    Raises:
        BenchOutputError: a case has none, or no case had its provider.
    """
    runs = load(session).runs
    timed = runs[runs["mode"].isin(CHECKED_MODES)]
    absent: list[str] = []
    for _, launches in timed.groupby("case_id", sort=False):
        last = launches.iloc[-1]
        if (launches["status"] == "ok").any():
            continue
        what = f"{last['model']}.{last['kind']} with {last['provider']}"
        why = f"{last['status']}: {last['status_message']}"
        if last["status"] not in NOT_A_FAILURE:
            mend = _MEND.get(last["status"], "mend that")
            raise BenchOutputError(
                f"every launch of {what} failed ({why})",
                f"its rows are in {session}; {mend}, then measure again with --force",
            )
        absent.append(f"{what} ({why})")
    if len(absent) == timed["case_id"].nunique():
        raise BenchOutputError(
            f"nothing could be measured: {absent[0]}", f"its rows are in {session}; mend that"
        )
    for one in absent:
        note(f"not measured: {one}")


class _Board:
    """Counts the launches of all devices, and stops those that go on after an interruption."""

    def __init__(self, n_jobs: int, launched: Callable[[int], None], stopped: Event) -> None:
        self._done = [0] * n_jobs
        self._launched, self._stopped = launched, stopped

    def counts(self, place: int) -> Callable[[int, int, RunRow | None], None]:
        """Give what one session tells of its launches."""

        def on_progress(done: int, total: int, run: RunRow | None) -> None:
            self._done[place] = done
            self._launched(sum(self._done))
            if done == total and run is None:
                note("measured already, nothing to do (--force measures again)")
            if self._stopped.is_set():
                raise KeyboardInterrupt

        return on_progress

    def notes(self, place: int, name: str) -> Callable[[str], None]:
        """Give what one session tells of its waiting: said once, until it waits for another."""
        said: list[str] = []

        def on_wait(text: str) -> None:
            if self._stopped.is_set():
                raise KeyboardInterrupt
            if said[-1:] != [text]:
                note(f"{name}: {text}")
                said.append(text)

        return on_wait


def _one_by_one(
    jobs: Sequence[Job], one: Callable[[int], Path]
) -> tuple[list[Path], dict[str, MofaError]]:
    futures: list[Future[Path]] = [Future() for _ in jobs]
    for place, future in enumerate(futures):
        try:
            future.set_result(one(place))
        except MofaError as error:
            future.set_exception(error)
    return _collected(jobs, futures)


def _side_by_side(
    jobs: Sequence[Job], one: Callable[[int], Path], stopped: Event
) -> tuple[list[Path], dict[str, MofaError]]:
    with ThreadPoolExecutor(len(jobs)) as threads, ThreadPoolExecutor(1) as here:
        # an emulation beside the launches of this machine would slow them
        futures = [
            (threads if job.info.is_phone else here).submit(one, place)
            for place, job in enumerate(jobs)
        ]
        try:
            wait(futures)
        except KeyboardInterrupt:
            note("stopping after the launches in progress")
            stopped.set()
            here.shutdown(wait=False, cancel_futures=True)
            raise
    return _collected(jobs, futures)


def _collected(
    jobs: Sequence[Job], futures: Sequence["Future[Path]"]
) -> tuple[list[Path], dict[str, MofaError]]:
    folders, failed = [], {}
    for job, future in zip(jobs, futures, strict=True):
        error = future.exception()
        if error is None:
            folders.append(future.result())
        elif isinstance(error, MofaError):
            failed[job.label] = error
            note(f"{job.label} failed: {error}")
        else:
            raise error
    return folders, failed


def _device_of(device_id: str, *, keep: bool, touch: bool) -> Device:
    """Give the device of that id, among those that are there.

    Raises:
        DeviceError: it is none of them.
    """
    for device in (find_device(HOST), *_emulated()):
        if device.info().device_id == device_id:
            return device
    missing = "the device of the interrupted session is not there"
    left_out: list[str] = []
    try:
        for phone in find_devices(ALL, keep=keep, touch=touch, on_left_out=left_out.append):
            if phone.info().device_id == device_id:
                return phone
    except DeviceError as error:  # none is ready, and this says what to do about the one there is
        raise DeviceError(f"{missing} ({error.problem})", error.next_step) from error
    for why in left_out:
        note(why)  # it may be this one: a locked phone does not say which it is
    raise DeviceError(missing, "plug it in, or start anew without --resume")


def _emulated() -> Sequence[Device]:
    """Give the cores that can be emulated here; none where that is not set up."""
    try:
        return emulated_cores()
    except DeviceError:
        return ()
