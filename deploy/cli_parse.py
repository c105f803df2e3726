"""Texts of the command line -> values, where typer has no type for them."""

from pathlib import Path

from deploy.errors import UsageError


def read_step_weights(texts: list[str]) -> dict[str, Path]:
    """Give step -> file of texts STEP=FILE. Raises UsageError."""
    pairs = [text.partition("=") for text in texts]
    for text, (step, _, file) in zip(texts, pairs, strict=True):
        if not step or not file:
            raise UsageError(f"weights {text!r} is not STEP=FILE", "name it like that")
    return {step: Path(file) for step, _, file in pairs}


def read_shape(text: str | None) -> tuple[int, ...] | None:
    """Give the sides of N,C,H,W; None of None. Raises UsageError."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"shape {text!r} is not N,C,H,W", "pass for instance 1,3,256,256")
    return tuple(int(part) for part in parts)
