"""The file that holds what a device chose: graph forms, target and preset, and how that was found.

TOML, with three parts: `choice` is what `--tuned FILE` takes from it; `tuned_on` says for which
model and on which device it was chosen; `tried` is for people, a table a candidate.

History:
    1: first format
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from deploy.artifact import Artifact
from deploy.errors import UsageError
from deploy.files import unfinished
from deploy.placement import PRESETS
from deploy.rewrites.forms import Forms
from deploy.targets import TARGETS

TUNED_FORMAT = 1

_PARTS = ("format", "choice", "tuned_on", "tried")
_TUNE = "write it with `mofa-deploy tune`"


@dataclass(frozen=True)
class Choice:
    """What a device chooses between.

    Attributes:
        target: of `deploy.targets.TARGETS`: it decides the type of activations.
        preset: of `deploy.placement.PRESETS`.
        forms: of the graph.

    Raises:
        UsageError: a target or preset that there is not.
    """

    target: str
    preset: str = "fast"
    forms: Forms = field(default_factory=Forms)

    def __post_init__(self) -> None:
        for what, value, known in (
            ("target", self.target, tuple(TARGETS)),
            ("preset", self.preset, PRESETS),
        ):
            if value not in known:
                raise UsageError(f"unknown {what} {value!r}", f"use one of {', '.join(known)}")

    def record(self) -> dict[str, str]:
        """Give it as flat plain values; `choice_of_record` gives it back."""
        return {"target": self.target, "preset": self.preset, **self.forms.record()}


def choice_of_record(record: Mapping[str, Any]) -> Choice:
    """Give the choice that `Choice.record` described.

    Raises:
        UsageError: a key or value that there is not, or one that is missing.
    """
    known = list(Choice("x86").record())
    _require_keys("choice", record, known, known)
    forms = {name: record[name] for name in Forms().record()}
    return Choice(record["target"], record["preset"], Forms(**forms))


@dataclass(frozen=True)
class TunedOn:
    """Where a choice comes from.

    Attributes:
        model_sha256: of the plain file.
        input_shape: as 1x3x64x64.
        device: its name.
        metric: of `android_bench.plan.METRICS`: what was measured there.
        optimized_sha256: of the optimized file that won; the same calibration gives it again.
        ratio: of its measure to that of the default; below 1 is better. 1 where the default is it.
        ratio_low, ratio_high: its 95 % interval; the ratio itself where counts are exact.
        emulated_cpu: of an emulated device.
        max_psnr_drop_db: the bound that it keeps; None where there was none.
        psnr_drop_db: what it loses on held-out images; None where that is not known.
    """

    model: str
    model_sha256: str
    input_shape: str
    device: str
    device_id: str
    abi: str
    metric: str
    onnxruntime: str
    mofa_deploy: str
    optimized_sha256: str
    ratio: float
    ratio_low: float
    ratio_high: float
    emulated_cpu: str | None = None
    max_psnr_drop_db: float | None = None
    psnr_drop_db: float | None = None


@dataclass(frozen=True)
class Tuned:
    """A file of what was tuned.

    Attributes:
        tried: a record a candidate, for people.
        path: that it was read from or written to.
    """

    choice: Choice
    tuned_on: TunedOn
    tried: Sequence[Mapping[str, Any]] = field(default=())
    path: Path = Path("tuned.toml")

    def remarks(self, artifact: Artifact, onnxruntime: str) -> list[str]:
        """Say where it is used for something else than what it was measured for."""
        on, said = self.tuned_on, []
        if artifact.model != on.model:
            said.append(
                f"{self.path} was tuned for {on.model}: its forms are taken by their names, and "
                f"nothing was measured for {artifact.model}"
            )
        elif artifact.kind in ("plain", "external") and artifact.sha256 != on.model_sha256:
            said.append(
                f"{self.path} was tuned for another {on.model} (input {on.input_shape}); "
                f"nothing was measured for {artifact.path}"
            )
        if onnxruntime != on.onnxruntime:
            said.append(
                f"{self.path} was tuned with ONNX Runtime {on.onnxruntime}, and this is "
                f"{onnxruntime}"
            )
        return said

    def require_made_so(self, artifact: Artifact) -> None:
        """Check that a file was made as the choice says.

        Raises:
            UsageError: it was not; what differs is named.
        """
        params = artifact.params
        made = dict(params.get("forms") or {})
        if "recipe" in params:
            made["preset"] = params["recipe"].get("preset")
        wanted = self.choice.record()
        for name, value in made.items():
            if name in wanted and value != wanted[name]:
                raise UsageError(
                    f"{artifact.path} was made with {name} {value}, and {self.path} says "
                    f"{wanted[name]}",
                    f"run `mofa-deploy quantize --tuned {self.path}` on the plain model first",
                )


def write_tuned(tuned: Tuned) -> None:
    """Write the file at its path, in one step. Raises OutputError."""
    tables: dict[str, Mapping[str, Any]] = {
        "choice": tuned.choice.record(),
        "tuned_on": asdict(tuned.tuned_on),
    }
    lines = [
        f"# What {tuned.tuned_on.device} chose for {tuned.tuned_on.model}: pass it as --tuned FILE",
        "# to mofa-deploy prepare, quantize, optimize or run.",
        f"format = {TUNED_FORMAT}",
    ]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *_lines(table)]
    for one in tuned.tried:
        lines += ["", "[[tried]]", *_lines(one)]
    with unfinished(tuned.path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _lines(table: Mapping[str, Any]) -> list[str]:
    """Give the lines of a flat table; what is not known is not there, as TOML has no null."""
    # a JSON string without \u escapes is a TOML string too, and so is a JSON number
    return [
        f"{name} = {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for name, value in table.items()
        if value is not None
    ]


def read_tuned(path: Path) -> Tuned:
    """Read what `write_tuned` wrote.

    Raises:
        UsageError: no such file, not TOML, or a key or value that there is not.
    """
    try:
        parts = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"no tuned file at {path} ({error.strerror})", "check --tuned") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML ({error})", _TUNE) from error
    try:
        return _tuned(parts, path)
    except UsageError as error:
        raise UsageError(f"{path}: {error.problem}", error.next_step) from error


def _tuned(parts: Mapping[str, Any], path: Path) -> Tuned:
    version = parts.get("format")
    if isinstance(version, int) and version > TUNED_FORMAT:
        raise UsageError(
            f"format {version}, and this version reads up to {TUNED_FORMAT}", "update mofa-deploy"
        )
    if version != TUNED_FORMAT:
        raise UsageError(f"format {version!r} is not one of a tuned file", _TUNE)
    _require_keys("file", parts, _PARTS, _PARTS[:3])
    for name in ("choice", "tuned_on"):
        if not isinstance(parts[name], dict):
            raise UsageError(f"{name} is {parts[name]!r}, not a table", _TUNE)
    tried = parts.get("tried", [])
    if not (isinstance(tried, list) and all(isinstance(one, dict) for one in tried)):
        raise UsageError("tried is no list of tables", _TUNE)
    return Tuned(choice_of_record(parts["choice"]), _tuned_on(parts["tuned_on"]), tried, path)


def _tuned_on(record: Mapping[str, Any]) -> TunedOn:
    optional = ("emulated_cpu", "max_psnr_drop_db", "psnr_drop_db")
    known = [one.name for one in fields(TunedOn)]
    _require_keys("tuned_on", record, known, [name for name in known if name not in optional])
    for name, value in record.items():
        number = name.startswith("ratio") or name.endswith("_db")
        right = isinstance(value, int | float if number else str) and not isinstance(value, bool)
        if not right:
            kind = "number" if number else "text"
            raise UsageError(f"tuned_on: {name} is {value!r}, no {kind}", _TUNE)
    return TunedOn(**record)


def _require_keys(
    where: str, record: Mapping[str, Any], known: Sequence[str], needed: Sequence[str]
) -> None:
    for name in record:
        if name not in known:
            raise UsageError(f"{where}: unknown key {name!r}", f"use {', '.join(known)}")
    for name in needed:
        if name not in record:
            raise UsageError(f"{where}: no {name}", f"give all of {', '.join(needed)}")
