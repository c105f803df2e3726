"""How results are said: a table for people, JSON for machines."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from deploy.artifact import Artifact

MIB = 1024 * 1024

DASH = "–"  # where there is no value

PIPE_WIDTH = 160  # columns where stdout is no terminal

# an artifact, and whether it was made now (False: it was there already)
Made = tuple[Artifact, bool]


def console() -> Console:
    """Give the console that results are printed on."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def artifact_record(made: Made) -> dict[str, Any]:
    """Give an artifact as plain values."""
    artifact, now = made
    record = {**asdict(artifact), "path": str(artifact.path), "made": now}
    return {**record, "bytes": artifact.path.stat().st_size}


def show_artifacts(results: Sequence[Made], as_json: bool) -> None:
    """Print artifacts with what was measured on them; finished ones say so."""
    if as_json:
        print_json([artifact_record(made) for made in results])
        return
    table = Table("file", "MiB", "PSNR dB", "SSIM", "vs fp32 dB", "max error", "", box=None)
    for artifact, now in results:
        fidelity = artifact.fidelity
        errors = [value for key, value in fidelity.items() if key.startswith("max_error")]
        table.add_row(
            str(artifact.path),
            f"{artifact.path.stat().st_size / MIB:.2f}",
            _figure(fidelity, "psnr_db", "{:.2f}"),
            _figure(fidelity, "ssim", "{:.4f}"),
            _figure(fidelity, "psnr_vs_fp32_db", "{:.1f}"),
            f"{errors[0]:.1e}" if errors else DASH,
            "made" if now else "there already, nothing to do (--force makes it again)",
        )
    console().print(table)
    for line in _borders(results):
        console().print(line, soft_wrap=True, highlight=False)


def _borders(results: Sequence[Made]) -> list[str]:
    """Say what the last file loses at the images' border and where its tiles meet."""
    from deploy.fidelity import BORDER_PX  # with scikit-image, which lists of devices do without

    fidelity = results[-1][0].fidelity if results else {}
    places = {
        "border_psnr_db": f"in the outer {BORDER_PX} px of the images",
        "seam_psnr_db": "where tiles overlap",
    }
    said = [f"{fidelity[key]:.2f} dB {where}" for key, where in places.items() if key in fidelity]
    return [f"PSNR of {results[-1][0].path.name}: {', '.join(said)}"] if said else []


def _figure(fidelity: Mapping[str, Any], key: str, form: str) -> str:
    value = fidelity.get(key)
    return DASH if value is None else form.format(value)


def show_rows(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print rows that share their keys."""
    if as_json:
        print_json(list(rows))
        return
    table = Table(*(rows[0] if rows else ()), box=None)
    for row in rows:
        table.add_row(*(DASH if value is None else str(value) for value in row.values()))
    console().print(table)


def print_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, indent=1, default=str, allow_nan=False))
