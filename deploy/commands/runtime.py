"""Keep and list the ONNX Runtime libraries of phones, and the pieces of the emulated core."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from android_bench.arm64_pieces import find_pieces
from android_bench.arm64_set_up import KeptPiece, list_kept_pieces, set_up
from android_bench.runtime_releases import COORDINATES
from android_bench.runtimes import Runtime, add_runtime, list_runtimes
from deploy.commands.progress import note
from deploy.commands.show import MIB, show_rows
from deploy.errors import DeviceError, UsageError


def add_file(file: Path, as_json: bool) -> None:
    """Keep what a file holds and say what that is."""
    show_runtimes(add_runtime(file), as_json)


def require_one(file: Path | None, arm64: bool) -> None:
    """Check that exactly one thing is to be added.

    Raises:
        UsageError: none or both are.
    """
    if (file is None) != arm64:
        given = "FILE and --arm64" if arm64 else "neither FILE nor --arm64"
        raise UsageError(f"{given} given", "name a file for phones, or pass --arm64")


def add_arm64(as_json: bool) -> None:
    """Fetch what the emulation lacks, and say what it is made of.

    Raises:
        DeviceError: see `set_up`.
    """
    show_rows([_piece_row(one) for one in list_kept_pieces(set_up(note))], as_json)


def list_kept(as_json: bool) -> None:
    """Say which libraries there are."""
    kept = list_runtimes()
    if not kept:
        note(f"none is kept yet; get {COORDINATES} as an .aar, and `mofa-deploy runtime add` it")
    try:
        emulation = list_kept_pieces(find_pieces())
    except DeviceError as error:
        note(str(error))
        emulation = []
    show_rows([*map(_row, kept), *map(_piece_row, emulation)], as_json)


def show_runtimes(runtimes: Sequence[Runtime], as_json: bool) -> None:
    """Print one row a library."""
    show_rows([_row(one) for one in runtimes], as_json)


def _row(one: Runtime) -> Mapping[str, Any]:
    return {
        "version": one.version,
        "abi": one.abi,
        "mib": round(one.bytes / MIB, 1),
        "nnapi": one.has_nnapi,
        "page_kib": one.load_alignment_bytes // 1024,
        "sha256": one.sha256[:16],
        "source": one.source,
    }


def _piece_row(one: KeptPiece) -> Mapping[str, Any]:
    """Give a row for a piece of the emulation, with the keys of a library's."""
    return {
        "version": one.version,
        "abi": one.what,
        "mib": round(one.bytes / MIB, 1),
        "nnapi": None,
        "page_kib": None,
        "sha256": one.sha256[:16],
        "source": one.source,
    }
