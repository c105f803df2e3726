"""What `--tuned FILE` means to the stages of the line: forms, target and preset of one device."""

from importlib import metadata
from pathlib import Path

from deploy.artifact import Artifact
from deploy.commands.progress import note
from deploy.rewrites.forms import Forms
from deploy.tuning import Tuned, read_tuned


def tuned_from(path: Path | None) -> Tuned | None:
    """Read a tuned file where one is named. Raises UsageError."""
    return None if path is None else read_tuned(path)


def given_or(given: str | None, tuned: Tuned | None, name: str, default: str) -> str:
    """Give an option's value: what was given, else what was tuned, else the default.

    Args:
        name: `target` or `preset`.
    """
    if given is not None:
        return given
    return default if tuned is None else tuned.choice.record()[name]


def tuned_forms(tuned: Tuned, source: Artifact) -> Forms:
    """Give the forms to prepare a model in; say where they were tuned for something else.

    Raises:
        UsageError: the model was prepared or quantized already, in another way.
    """
    for remark in tuned.remarks(source, metadata.version("onnxruntime")):
        note(remark)
    tuned.require_made_so(source)
    return tuned.choice.forms
