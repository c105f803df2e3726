"""From measured sessions to tables and a page."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
from skimage.io import imread
from skimage.metrics import peak_signal_noise_ratio

from android_bench.session import SESSION_NAME
from deploy.commands.bench import SESSIONS
from deploy.commands.pictures import PICTURES, SHARP
from deploy.commands.plans import unlike_plans
from deploy.commands.progress import clock
from deploy.commands.show import console, print_json
from deploy.commands.tables import TableRequest, check_format, table_of
from deploy.errors import RowsError, UsageError
from reports.compare import add_speed_ups, speed_ups
from reports.exporters import to_rich
from reports.frame import Frames, load
from reports.grid import Grid
from reports.html import Picture
from reports.importers import FORMATS
from reports.importers.launches import IMPORTED
from reports.instruction_table import with_fewer
from reports.report import ReportFiles, build_report, main_table
from reports.tables import ComparisonTable, render_rich


def report_table(
    sessions: Sequence[Path], imports: Sequence[str], build: Path, request: TableRequest
) -> Grid:
    """Compute the table that is asked for, of the given rows or of the session in `build`.

    Raises:
        UsageError: a name fits nothing.
        RowsError: rows that are missing, broken, or do not belong into one table.
    """
    check_format(request.form)
    paths = _paths(sessions, imports, build)
    frames = load(*paths)
    unlike = {} if request.tells_sessions else unlike_plans(*paths)
    for field, (one, other) in unlike.items():
        if not request.force:
            raise RowsError(
                f"cannot put rows into one table whose {field} differs: {one} and {other}",
                "add session to --rows or --columns, choose one by --where, or pass --force",
            )
    grid = table_of(frames, request, _baseline(frames))
    said = [
        f"Unlike rows by --force: {field} is {one} and {other}."
        for field, (one, other) in unlike.items()
    ]
    return replace(grid, remarks=(*said, *grid.remarks))


def _paths(sessions: Sequence[Path], imports: Sequence[str], build: Path) -> list[Path]:
    """Give what to read: what was named, or the one session in `build`."""
    for one in imports:
        if one.partition(":")[0] not in FORMATS and not Path(one).is_file():
            known = ", ".join(FORMATS)
            raise UsageError(f"--import takes FORMAT:FILE, not {one!r}", f"formats are {known}")
    named = [*sessions, *map(Path, imports)]
    return named or [only_session(build)]


def report_sessions(
    sessions: Sequence[Path], build: Path, imports: Sequence[str] = ()
) -> ReportFiles:
    """Write the report of the given rows, or of the session in `build`, into `build/report`.

    Args:
        imports: results of other tools, each FORMAT:FILE.
    """
    folders = _paths(sessions, imports, build)
    for field, (one, other) in unlike_plans(*folders).items():
        raise RowsError(
            f"cannot put rows onto one page whose {field} differs: {one} and {other}",
            "report on each session by itself, or pass --force for one table",
        )
    pictures = [picture for folder in folders for picture in _pictures(folder / PICTURES)]
    with clock("writing the report"):
        baseline = _baseline(load(*folders))
        return build_report(folders, build / "report", pictures, baseline_kind=baseline)


def show_measured(folders: Sequence[Path], as_json: bool, *, several: bool) -> None:
    """Print what each session measured: times, or counts, never both in one table.

    Args:
        several: devices were asked for, so that JSON is a list, however many were measured.
    """
    records = []
    for folder in folders:
        frames = load(folder)
        summary = show_session(frames, as_json)
        cases = json.loads(summary.to_json(orient="records"))  # missing values become null
        records.append({"session": str(folder), "cases": cases})
        if not as_json:
            console().print(f"rows: {folder}", soft_wrap=True)
    if as_json:
        print_json(records if several else records[0])


def show_session(frames: Frames, as_json: bool) -> pd.DataFrame:
    """Give what a session measured; print it, unless JSON is wanted."""
    baseline = _baseline(frames)
    summary = add_speed_ups(frames.summary, speed_ups(frames, baseline))
    if not as_json:
        _print(main_table(summary, frames, baseline))
    return with_fewer(summary, baseline) if summary["is_counted"].all() else summary


def show_report(files: ReportFiles, as_json: bool) -> None:
    """Print where the report is, and its table."""
    if as_json:
        print_json(report_paths(files))
        return
    _print(files.table)
    for name, path in report_paths(files).items():
        console().print(f"{name}: {path}", soft_wrap=True, highlight=False)


def _print(table: ComparisonTable | Grid) -> None:
    screen = console()
    if isinstance(table, Grid):
        screen.print(to_rich(table, screen.width), highlight=False)
    else:
        screen.print(render_rich(table))


def report_paths(files: ReportFiles) -> dict[str, str]:
    """Give the files of a report by what they hold."""
    values = {field.name: getattr(files, field.name) for field in fields(files)}
    return {name: str(value) for name, value in values.items() if isinstance(value, Path)}


def only_session(build: Path) -> Path:
    """Give the one session in a build folder, of whichever version measured it.

    Raises:
        RowsError: there is none, or there are several.
    """
    finished = (build / SESSIONS).glob(f"*/{SESSION_NAME}")  # written last
    there = sorted((path.stat().st_mtime_ns, path.parent) for path in finished)
    if not there:
        raise RowsError(f"no measured session in {build}", "run `mofa-deploy bench` first")
    if len(there) > 1:
        names = ", ".join(str(folder) for _, folder in there)
        raise RowsError(f"{len(there)} sessions: {names}", "name one or several, newest last")
    return there[0][1]


def _pictures(folder: Path) -> list[Picture]:
    """Read PICTURE.INDEX.LABEL.png files in their order, each judged against its sharp one."""
    files = sorted(folder.glob("*.*.*.png"))
    sharp = {_name(path): imread(path) for path in files if _label(path) == SHARP}
    return [
        Picture(_name(path), _label(path), path.read_bytes(), _psnr_db(sharp[_name(path)], path))
        for path in files
    ]


def _name(path: Path) -> str:
    return path.name.rsplit(".", 3)[0]


def _label(path: Path) -> str:
    return path.name.rsplit(".", 3)[2]


def _psnr_db(sharp: np.ndarray, path: Path) -> float | None:
    if _label(path) == SHARP:
        return None
    return float(peak_signal_noise_ratio(sharp, imread(path)))


def _baseline(frames: Frames) -> str:
    """Give the head of the line: the user's own file, the exported graph, or what came of it."""
    foreign = frames.runs["tool_version"].str.startswith(IMPORTED)
    measured = set(frames.runs.loc[~foreign, "kind"])
    return next((kind for kind in ("external", "plain", "fp32") if kind in measured), "plain")
