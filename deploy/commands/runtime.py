"""Keep and list the ONNX Runtime libraries that phones are measured with."""

from collections.abc import Sequence
from pathlib import Path

from android_bench.runtime_releases import COORDINATES
from android_bench.runtimes import Runtime, add_runtime, list_runtimes
from deploy.commands.progress import note
from deploy.commands.show import MIB, show_rows


def add_file(file: Path, as_json: bool) -> None:
    """Keep what a file holds and say what that is."""
    show_runtimes(add_runtime(file), as_json)


def list_kept(as_json: bool) -> None:
    """Say which libraries there are."""
    kept = list_runtimes()
    if not kept:
        note(f"none is kept yet; get {COORDINATES} as an .aar, and `mofa-deploy runtime add` it")
    show_runtimes(kept, as_json)


def show_runtimes(runtimes: Sequence[Runtime], as_json: bool) -> None:
    """Print one row a library."""
    show_rows(
        [
            {
                "version": one.version,
                "abi": one.abi,
                "mib": round(one.bytes / MIB, 1),
                "nnapi": one.has_nnapi,
                "page_kib": one.load_alignment_bytes // 1024,
                "sha256": one.sha256[:16],
                "source": one.source,
            }
            for one in runtimes
        ],
        as_json,
    )
