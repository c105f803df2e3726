"""Make the forms of a network that its quantized ones are compared with."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from deploy.artifact import find_artifact, read_artifact
from deploy.commands.images import probe_for_artifact
from deploy.commands.progress import clock
from deploy.commands.show import Made
from deploy.errors import UsageError


def comparison_forms(text: str | None) -> list[str]:
    """Give the forms that a user named, separated by commas. Raises UsageError."""
    from deploy.comparison import FORMS

    forms = [] if text is None else text.split(",")
    unknown = [form for form in forms if form not in FORMS]
    if unknown:
        raise UsageError(f"unknown form {unknown[0]!r}", f"use one of {', '.join(FORMS)}")
    return forms


def make_comparisons(
    forms: Sequence[str],
    made: Sequence[Made],
    source: Path | None,
    build: Path,
    *,
    held_out: Path | None,
    force: bool,
) -> list[Made]:
    """Make each form of the float model that was quantized.

    Args:
        made: what `quantize_model` gave: the float model is in it where it was prepared then.
        source: as `quantize_model`; the float model itself where it was not.
    """
    from deploy.comparison import make_comparison

    prepared = [artifact for artifact, _ in made if artifact.kind == "fp32"]
    if prepared:
        fp32 = prepared[0]
    elif source is not None:
        fp32 = read_artifact(source)
    else:
        fp32 = find_artifact(build, ("fp32",), made_by="mofa-deploy prepare")
    probe = probe_for_artifact(build, fp32, held_out)
    results = []
    for form in forms:
        with clock(f"making {form} of {fp32.model}") as count:
            counted = replace(probe, on_image=count)
            results.append(make_comparison(fp32, form, build, counted, force=force))
    return results
