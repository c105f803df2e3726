"""Measure both sides of a change in one session, interleaved, and judge them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from android_bench.devices import find_devices
from android_bench.plan import BenchPlan
from android_bench.session import SESSION_NAME, list_sessions
from deploy.artifact import Artifact, current_line, list_artifacts, read_artifact
from deploy.commands.bench import SESSIONS, bench_everywhere
from deploy.commands.bench_cases import read_providers
from deploy.commands.gate import PAIRS_NAME
from deploy.commands.progress import note
from deploy.errors import ArtifactError, DeviceError, UsageError
from deploy.files import unfinished
from reports.budgets import Budgets
from reports.frame import load
from reports.gate import Pair, Verdict, confirm, judge_interleaved, to_confirm
from reports.gate_cases import case_name
from reports.gate_findings import WHOLE_CASE, Finding
from reports.rule import INVALID, PASS

Pairs = Mapping[str, tuple[Artifact, Artifact]]  # name of the case -> baseline, current


@dataclass(frozen=True)
class Side:
    """A model file of one side, by the name of its case."""

    name: str
    artifact: Artifact


@dataclass(frozen=True)
class GateRequest:
    """How both sides are measured and judged.

    Attributes:
        build: results go into its folder of sessions.
        device_name: of one device.
        confirming: measure a suspected regression once more before it counts.
        force: measure again what is measured already.
        touch: settings of a phone may be changed for a while.
    """

    build: Path
    budgets: Budgets
    plan: BenchPlan
    device_name: str = "host"
    provider: str = "cpu"
    held_out: Path | None = None
    confirming: bool = True
    force: bool = False
    touch: bool = True


def gate_against(
    reference: Path, sources: Sequence[Path], model: str | None, request: GateRequest
) -> Verdict:
    """Measure the reference and the files in one interleaved session and judge them.

    A suspected regression is measured once more, in another order, before it counts. Files whose
    bytes are the same on both sides are not measured.

    Args:
        reference: a folder with the artifacts of the baseline, or one model file.
        sources: model files; none: the line of `model` in the folder of results.

    Raises:
        MofaError: as `bench_everywhere`; but what fails while measuring is an invalid verdict.
    """
    provider = read_providers(request.provider)
    if len(provider) > 1:
        raise UsageError(f"{len(provider)} providers: {', '.join(provider)}", "judge one at a time")
    baseline = _sides(reference, "baseline", model)
    current = [_side(read_artifact(path)) for path in sources]
    current = current or _sides(request.build, "model", model, only_current=True)
    pairs, notes = _paired(baseline, current, as_named=reference.is_file())
    told = [
        Finding(name, WHOLE_CASE, PASS, "the same file on both sides; not measured")
        for name, (old, new) in pairs.items()
        if old.sha256 == new.sha256
    ]
    if not sources:
        left_out = {_side(one).name for one in list_artifacts(request.build)} - pairs.keys()
        told += [
            Finding(one.name, WHOLE_CASE, INVALID, _lost(one.name in left_out, request.build))
            for one in baseline
            if one.name not in pairs
        ]
    differing = {name: pair for name, pair in pairs.items() if pair[0].sha256 != pair[1].sha256}
    if not differing:
        return Verdict(tuple(told), tuple(notes))
    verdict = _measured(differing, request, request.plan)
    suspected = to_confirm(verdict)
    if suspected and request.confirming:
        note(f"{', '.join(suspected)}: looks like a regression; measuring again to confirm")
        again = {name: pair for name, pair in differing.items() if name in suspected}
        other_order = replace(request.plan, seed=request.plan.seed + 1)
        verdict = confirm(verdict, _measured(again, request, other_order))
    return Verdict((*verdict.findings, *told), (*verdict.notes, *notes))


def _measured(pairs: Pairs, request: GateRequest, plan: BenchPlan) -> Verdict:
    """Measure and judge; where the device or the runner fails, that is invalid."""
    try:
        session = _bench(pairs, request, plan)
    except DeviceError as error:
        left = _session_of(pairs, request.build, plan)
        if left is None:
            lost = [Finding(name, WHOLE_CASE, INVALID, str(error)) for name in pairs]
            return Verdict(tuple(lost))
        session = left  # some case failed in every launch; the others have something to say
    ids = _write_pairs(session, pairs)
    return judge_interleaved(load(session), ids, request.budgets, force=request.force)


def _bench(pairs: Pairs, request: GateRequest, plan: BenchPlan) -> Path:
    devices = find_devices(request.device_name, touch=request.touch, on_left_out=note)
    if len(devices) > 1:
        raise UsageError(f"{request.device_name} is {len(devices)} devices", "judge one at a time")
    measured = bench_everywhere(
        [side.path for pair in pairs.values() for side in pair],
        request.build,
        model=None,
        devices=devices,
        providers=[request.provider],
        plan=plan,
        held_out=request.held_out,
        force=request.force,
        pictures=False,
    )
    measured.require_all()
    return measured.folders[0]


def _session_of(pairs: Pairs, build: Path, plan: BenchPlan) -> Path | None:
    """Give the finished session of these files and this plan, if there is one."""
    wanted = {side.sha256 for pair in pairs.values() for side in pair}
    for session in reversed(list_sessions(build / SESSIONS)):
        record = json.loads((session / SESSION_NAME).read_text())
        there = {one["model_sha256"] for one in record["cases"]}
        if there == wanted and record["plan"] == json.loads(json.dumps(asdict(plan))):
            return session
    return None


def _sides(place: Path, side: str, model: str | None, *, only_current: bool = False) -> list[Side]:
    """Give the model files in a folder, or the one file.

    Args:
        only_current: leave out what was made from a file that has been made anew since. Not of a
            baseline: its folder may hold only what is released, and not what that was made from.
    """
    if not place.exists():
        raise ArtifactError(f"no {side} at {place}", "name a folder of artifacts or a model file")
    if place.is_file():
        return [_side(read_artifact(place))]
    there = list_artifacts(place)
    line = current_line(there) if only_current else there
    if not line:
        files = sorted(path for form in ("*.onnx", "*.ort") for path in place.glob(form))
        line = [read_artifact(path) for path in files]
    sides = [_side(one) for one in line if model in (None, one.model)]
    if not sides:
        what = "no model file" + (f" of {model}" if model else "")
        raise ArtifactError(f"{what} in {place}", "name files, or another folder")
    return sides


def _lost(is_there: bool, build: Path) -> str:
    """Say why a case of the baseline has no counterpart in the line."""
    if is_there:
        return f"left out: what it was made from is not in {build}; name the files to judge"
    return f"in the baseline, but not in the line in {build}"


def _side(artifact: Artifact) -> Side:
    return Side(case_name(artifact.model, artifact.kind, artifact.target), artifact)


def _paired(
    old: Sequence[Side], new: Sequence[Side], *, as_named: bool
) -> tuple[dict[str, tuple[Artifact, Artifact]], list[str]]:
    """Pair by model, kind and target.

    Args:
        as_named: the baseline is one file that was named: with one other it is a pair, whatever
            the names are.
    """
    notes = []
    if as_named and len(new) == 1 and old[0].name != new[0].name:
        notes = [f"{old[0].artifact.path} is compared with {new[0].artifact.path}, as named"]
        old = [Side(new[0].name, old[0].artifact)]
    for sides in (old, new):
        names = [one.name for one in sides]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            paths = ", ".join(str(one.artifact.path) for one in sides if one.name == twice)
            raise UsageError(f"{paths} are all {twice}", "name one of them")
    before = {one.name: one.artifact for one in old}
    pairs = {one.name: (before[one.name], one.artifact) for one in new if one.name in before}
    if not pairs:
        raise ArtifactError(
            f"the baseline has {', '.join(before)}, and the files are "
            f"{', '.join(one.name for one in new)}",
            "name files of the same models and kinds",
        )
    notes += [
        f"{one.name}: new, no baseline to compare with" for one in new if one.name not in pairs
    ]
    return pairs, notes


def _write_pairs(session: Path, chosen: Mapping[str, tuple[Artifact, Artifact]]) -> dict[str, Pair]:
    """Leave in the session's folder which of its cases are compared; give the same."""
    runs = load(session).runs
    keys = zip(runs["model"], runs["kind"], runs["model_sha256"], strict=True)
    cases = dict(zip(keys, runs["case_id"], strict=True))

    def case_id(one: Artifact) -> str:
        return str(cases.get((one.model, one.kind, one.sha256), "not measured"))

    pairs = {name: Pair(case_id(old), case_id(new)) for name, (old, new) in chosen.items()}
    with unfinished(session / PAIRS_NAME) as temporary:
        temporary.write_text(
            json.dumps({name: asdict(one) for name, one in pairs.items()}, indent=1)
        )
    return pairs
