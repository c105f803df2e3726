"""What makes a session this one and no other: the same again is resumed, anything else is new."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from android_bench.device import DeviceInfo
from android_bench.launch import Case, case_id, made_with
from android_bench.plan import BenchPlan
from android_bench.rows import SCHEMA_VERSION
from deploy.artifact import tool_versions
from deploy.errors import ArtifactError, DataError, UsageError
from deploy.files import file_sha256


def identity_of(
    cases: Sequence[Case],
    plan: BenchPlan,
    info: DeviceInfo,
    runner: Sequence[str],
    cores: str | None,
) -> dict[str, Any]:
    """Give all that makes a session this one and no other. The host's name is in no part of it."""
    if not cases:
        raise UsageError("there is nothing to measure", "name a model file")
    described = [_describe(case, plan, cores) for case in cases]
    ids = [one["case_id"] for one in described]
    for case, one in zip(cases, ids, strict=True):
        if ids.count(one) > 1:
            raise UsageError(f"{case.artifact.path} is given twice", "name each case once")
    return {
        "schema_version": SCHEMA_VERSION,
        "plan": asdict(plan),
        "cases": described,
        "device_id": info.device_id,
        **({"counts_with": json.loads(info.counts_with)} if info.counts_with else {}),
        "versions": tool_versions("onnxruntime"),
        # its paths are this machine's own business, and what is in its files is not
        "runner": hash_of([list(runner), *program_hashes(runner).values()]),
    }


def _describe(case: Case, plan: BenchPlan, cores: str | None) -> dict[str, Any]:
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
        "case_id": case_id(case, plan, input_sha256, cores),
        "model": artifact.model,
        "kind": artifact.kind,
        "target": artifact.target,
        "model_sha256": artifact.sha256,
        "input_sha256": input_sha256,
        "opt_level": case.opt_level,
        "config": dict(case.config),
        "provider": case.provider,
        "provider_options": dict(case.provider_options),
        **made_with(artifact),
    }


def hash_of(what: Any) -> str:
    """Give a short hash of what can be written as JSON."""
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


def program_hashes(runner: Sequence[str]) -> dict[str, str | None]:
    """Give the hashes of the runner and of the library that it is told to load."""
    library = next(
        (after for word, after in pairwise(runner) if word == "--library"),
        None,
    )
    files = [word for word in runner if word != library and Path(word).is_file()]
    return {
        "runner_sha256": file_sha256(Path(files[-1])) if files else None,
        "runtime_sha256": file_sha256(Path(library))
        if library and Path(library).is_file()
        else None,
    }
