"""Any table that a user asks for: rows, columns and values by name, from the summary of the rows.

What of a case a cell shows is decided here: the one farthest along the line where several fit, the
newest session where there are several, nothing where the output was wrong. Each decision is said.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from deploy.errors import RowsError, UsageError
from reports.compare import add_speed_ups, speed_ups
from reports.footnotes import footnotes
from reports.frame import Frames
from reports.grid import Grid
from reports.layout import AT, Layout, Slot, columns_of, filled, in_order
from reports.rounding import DASH
from reports.summary import kind_place
from reports.tables import caption, counted
from reports.values import DIMENSIONS, OF_A_CLOCK, OF_A_COUNTER, VALUES, checked

# What rows of one table share unless it tells them apart: the column, and how it is asked for.
_ALIKE = {
    "device_id": "device",
    "provider": "provider",
    "threads": "threads",
    "runtime": "runtime",
    "runtime_version": "version",
    "cores_asked": "cores",
}


def pivot(
    frames: Frames,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[str],
    *,
    where: Mapping[str, str] | None = None,
    baseline_kind: str = "plain",
    force: bool = False,
) -> Grid:
    """Lay values out by what the cases differ in.

    Args:
        frames: the rows.
        rows: names of `DIMENSIONS`.
        columns: names of `DIMENSIONS`; none for one group of columns.
        values: names of `VALUES`.
        where: dimension -> the value that a case has to have to be in the table.
        baseline_kind: the kind that speed-ups are against.
        force: let unlike rows stand in one table, and say so.

    Raises:
        UsageError: a name fits nothing.
        RowsError: the rows are unlike in what is neither in rows nor in columns, or none is left.
    """
    rows = checked(rows, DIMENSIONS, "dimension")
    columns = checked(columns, DIMENSIONS, "dimension")
    values = checked(values, VALUES, "value")
    if not rows or not values:
        raise UsageError("a table needs rows and values", "pass --rows and --value")
    if both := [name for name in columns if name in rows]:
        raise UsageError(f"{both[0]} is in rows and in columns", "take it out of one of them")
    cases = cases_of(frames, where or {}, baseline_kind)
    there = cases[[f"{AT}{name}" for name in columns]].drop_duplicates() if columns else None
    slots = [Slot((), {}, tuple(values))] if there is None else []
    if there is not None:
        for combination in in_order(there, cases).itertuples(index=False, name=None):
            named = dict(zip(columns, combination, strict=True))
            slots.append(Slot(tuple(one or DASH for one in combination), named, tuple(values)))
    layout = Layout(tuple(rows), tuple(slots))
    return laid_out(frames, cases, layout, baseline_kind=baseline_kind, force=force)


def cases_of(frames: Frames, where: Mapping[str, str], baseline_kind: str) -> pd.DataFrame:
    """Give the summary with speed-ups and a column for each dimension, of the cases asked for.

    Raises:
        UsageError: a dimension that is not there.
        RowsError: no case is left.
    """
    checked(list(where), DIMENSIONS, "dimension")
    ratios = speed_ups(frames, baseline_kind, force=True)
    cases = add_speed_ups(frames.summary, ratios)
    dimensions = {f"{AT}{name}": read(cases).fillna("") for name, read in DIMENSIONS.items()}
    cases = cases.assign(**dimensions)
    for name, wanted in where.items():
        there = cases[f"{AT}{name}"]
        kept = there.str.casefold() == wanted.casefold()
        if not kept.any():
            known = ", ".join(sorted({one or DASH for one in there}))
            raise RowsError(f"no case has the {name} {wanted!r}", f"there are {known}")
        cases = cases[kept]
    return cases


def laid_out(
    frames: Frames,
    cases: pd.DataFrame,
    layout: Layout,
    *,
    baseline_kind: str = "plain",
    force: bool = False,
) -> Grid:
    """Fill a layout with cases that `cases_of` gave.

    Raises:
        RowsError: the cases are unlike in what the layout does not tell apart.
    """
    axes = {*layout.rows, *(name for slot in layout.slots for name in slot.where)}
    cases, left_out = _of_one_metric(cases, layout)
    _refuse_sizes(cases, axes)
    forced = _unlike(cases, frames, axes, force=force)
    rows, shared = filled(layout, _preferred(cases), footnotes(frames), baseline_kind)
    shown = dict.fromkeys(name for slot in layout.slots for name in slot.values)
    remarks = [VALUES[name].remark for name in shown]
    if "speed_up" in shown:
        remarks += [f"Speed-up is against {baseline_kind}, block by block; above 1 is faster."]
    remarks += left_out
    every = (*forced, *(f"All: {text}." for text in shared), *filter(None, remarks))
    return Grid(caption(cases, frames), tuple(columns_of(layout)), rows, (*every, *layout.remarks))


def _of_one_metric(cases: pd.DataFrame, layout: Layout) -> tuple[pd.DataFrame, list[str]]:
    """Leave out what was counted of a table of times, or what was timed of one of counts.

    Returns:
        The cases that are left, and what to say of the others.

    Raises:
        UsageError: the table asks for both.
        RowsError: no case is left.
    """
    values = dict.fromkeys(name for slot in layout.slots for name in slot.values)
    times = [name for name in values if name in OF_A_CLOCK]
    counts = [name for name in values if name in OF_A_COUNTER]
    if times and counts:
        raise UsageError(
            f"{counts[0]} and {times[0]} do not stand in one table: instructions are no time",
            "ask for one table of each",
        )
    if not (times or counts):
        return cases, []
    fits = cases["is_counted"].astype(bool) == bool(counts)
    others = cases[~fits]
    if others.empty:
        return cases, []
    where = ", ".join(dict.fromkeys(others["device"].fillna("a device that is not told")))
    what, instead = ("measured in time", "latency") if counts else ("counted", "instructions")
    if not fits.any():
        raise RowsError(f"all graphs were {what}, on {where}", f"ask for --value {instead}")
    graphs = counted(len(others), "graph")
    return cases[fits], [f"Left out: {graphs} on {where}, {what}: --value {instead} shows them."]


def _unlike(cases: pd.DataFrame, frames: Frames, axes: set[str], *, force: bool) -> tuple[str, ...]:
    """Refuse cases that differ in what no axis tells; or, by force, say in what they do."""
    said = []
    for name, dimension in _ALIKE.items():
        values = cases[name].dropna().unique()
        if len(values) < 2 or dimension in axes:
            continue
        names = frames.devices.set_index("device_id")["name"].to_dict()
        one, other = (f"{names[v]} ({v})" if name == "device_id" else str(v) for v in values[:2])
        if not force:
            raise RowsError(
                f"cannot put rows into one table whose {name} differs: {one} and {other}",
                f"add {dimension} to --rows or --columns, choose one by --where, or pass --force",
            )
        said.append(f"Unlike rows by --force: {name} is {one} and {other}.")
    return tuple(said)


def _refuse_sizes(cases: pd.DataFrame, axes: set[str]) -> None:
    """Refuse one network at two input shapes, which are two tasks."""
    if "shape" in axes:
        return
    shapes = cases.groupby("model")["input_shape"].unique().map(lambda one: one.dropna())
    for model, several in shapes.items():
        if len(several) > 1:
            raise RowsError(
                f"cannot put rows of {model} into one table whose input_shape differs: "
                f"{several[0]} and {several[1]}",
                "add shape to --rows or --columns, or choose one by --where",
            )


def _preferred(cases: pd.DataFrame) -> pd.DataFrame:
    """Order cases so that the last of several is the one to show."""
    flags = cases["flags"].str.split(",")
    ordered = cases.assign(
        _right=~flags.map(lambda names: "wrong_output" in names),
        _home=~flags.map(lambda names: "foreign_target" in names),
        _timed=cases["latency_median_ms"].notna(),
        _place=cases["kind"].map(kind_place),
    )
    by = ["_right", "_home", "_timed", "_place", "kind", "started_at_utc", "session_id"]
    return ordered.sort_values(by, kind="stable")
