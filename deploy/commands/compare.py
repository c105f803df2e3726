"""Two sessions or two cases side by side."""

from pathlib import Path

from deploy.commands.plans import unlike_plans
from deploy.commands.report import only_session
from deploy.commands.tables import check_format
from deploy.errors import RowsError, UsageError
from reports.frame import load
from reports.grid import Grid
from reports.importers import FORMATS
from reports.pair import case_side, compare_sides, session_side


def compare_named(
    base: str, other: str, build: Path, *, form: str | None = None, force: bool = False
) -> Grid:
    """Compare what two names stand for: folders or result files, else cases of one session.

    Args:
        base: what to compare with: a path, or a kind or id of a case of the session in `build`.
        other: what is compared, named in the same way.
        build: folder whose one session the cases are of.
        form: to be printed in; checked before any work.
        force: compare even where devices or plans differ, and say so.

    Raises:
        UsageError: one is a path and the other is none.
        RowsError: rows that are missing, broken, or not to be compared.
    """
    check_format(form)
    if base == other:
        raise UsageError(f"{base} is named twice", "name what to compare it with")
    paths = [_is_path(name) for name in (base, other)]
    if all(paths):
        sides = [session_side(_short(name), load(name)) for name in (base, other)]
        if sides[0].name == sides[1].name:
            sides = [session_side(name, load(name)) for name in (base, other)]
        differing = unlike_plans(Path(base), Path(other))
        return compare_sides(*sides, unlike_plans=differing, force=force)
    if any(paths):
        name = other if paths[0] else base
        raise RowsError(f"no session folder at {name}", "name two folders, or two cases of one")
    frames = load(only_session(build))
    return compare_sides(case_side(base, frames), case_side(other, frames), force=force)


def _is_path(name: str) -> bool:
    return Path(name).exists() or name.partition(":")[0] in FORMATS


def _short(name: str) -> str:
    return Path(name).name or name
