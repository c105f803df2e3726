"""What a session was asked to measure, on disk: enough to go on without being told again."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from android_bench.device import DeviceInfo
from android_bench.launch import Case
from android_bench.plan import BenchPlan
from deploy.artifact import read_artifact
from deploy.errors import RowsError
from deploy.files import unfinished

REQUEST_NAME = "request.json"


def write_request(results: Path, cases: Sequence[Case], plan: BenchPlan, info: DeviceInfo) -> None:
    """Write down what is being measured, beside the journal."""
    record = {
        "device_id": info.device_id,
        "plan": asdict(plan),
        "cases": [
            {
                "model": str(case.artifact.path.resolve()),
                "input": str(case.input.resolve()),
                "opt_level": case.opt_level,
                "config": dict(case.config),
                "provider": case.provider,
                "provider_options": dict(case.provider_options),
                "known": dict(case.known),
            }
            for case in cases
        ],
    }
    with unfinished(results / REQUEST_NAME) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


def is_same_request(one: Path, other: Path) -> bool:
    """Say whether two sessions were asked to measure the same, on whichever devices."""
    try:
        first, second = (
            json.loads((results / REQUEST_NAME).read_text()) | {"device_id": ""}
            for results in (one, other)
        )
    except (OSError, ValueError, TypeError):  # gone, or broken: `read_request` tells
        return False
    return bool(first == second)


def read_request(results: Path) -> tuple[list[Case], BenchPlan, str]:
    """Give the cases, the plan and the id of the device of a session.

    Raises:
        ArtifactError: a model file is gone, or has changed.
        RowsError: it is not such a file, or one of another version.
    """
    path = results / REQUEST_NAME
    try:
        record = json.loads(path.read_text())
        plan = BenchPlan(**record["plan"])
        cases = [
            Case(
                read_artifact(Path(one.pop("model"))),
                Path(one.pop("input")),
                **one,
            )
            for one in record["cases"]
        ]
        return cases, plan, record["device_id"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RowsError(
            f"{path} does not say what to go on with ({error})",
            "give the command again as it was, without --resume",
        ) from error
