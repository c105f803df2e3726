"""The two sides of a comparison: their cases, which belong together, and how they are unlike."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from deploy.errors import RowsError
from reports.footnotes import Case
from reports.frame import Frames

_SAME_CASE = ["model", "kind", "target"]
_RENAMED = {"intra_op_threads": "threads"}  # in the summary


@dataclass(frozen=True)
class Side:
    """One side of a comparison.

    Attributes:
        name: what the user calls it.
        frames: its rows.
        cases: rows of its summary, those that are compared.
    """

    name: str
    frames: Frames
    cases: pd.DataFrame


def session_side(name: str, frames: Frames) -> Side:
    """Give all cases of one session. Raises RowsError where there are several sessions."""
    sessions = frames.runs["session_id"].unique()
    if len(sessions) > 1 and not frames.summary["tool_version"].str.startswith("imported").all():
        raise RowsError(f"{name} holds {len(sessions)} sessions", "compare two of them")
    return Side(name, frames, frames.summary)


def case_side(name: str, frames: Frames) -> Side:
    """Give the one case that a name stands for: its kind, or its id.

    Raises:
        RowsError: no case or several have it.
    """
    summary = frames.summary
    found = summary[(summary["kind"] == name) | (summary["case_id"] == name)]
    if len(found) != 1:
        known = ", ".join(dict.fromkeys([*summary["kind"], *summary["case_id"]]))
        many = f"{len(found)} cases are" if len(found) else "no case is"
        raise RowsError(f"{many} called {name!r}", f"name one of {known}")
    return Side(name, frames, found)


def pairs_of(base: Side, other: Side) -> tuple[list[tuple[Case, Case]], list[str]]:
    """Give the cases that are on both sides, and what to say of those that are on one."""
    ones: list[Case] = base.cases.to_dict("records")
    others: list[Case] = other.cases.to_dict("records")
    if len(ones) == len(others) == 1:
        return [(ones[0], others[0])], []
    keys = list(_SAME_CASE)
    keys += (
        ["provider"] if _has_several(base, "provider") or _has_several(other, "provider") else []
    )
    by_key = {_key(case, keys): case for case in others}
    _refuse_twins(base, ones, keys)
    _refuse_twins(other, others, keys)
    pairs = [(one, by_key[_key(one, keys)]) for one in ones if _key(one, keys) in by_key]
    if not pairs:
        raise RowsError(
            f"{base.name} and {other.name} have no case in common",
            "a case is told by its model, kind and target; compare two cases by their kinds",
        )
    alone = []
    for side, cases in ((base, ones), (other, others)):
        shared = {_key(one, keys) for one, _ in pairs}
        left = [" ".join(filter(None, _key(case, keys)[:2])) for case in cases
                if _key(case, keys) not in shared]  # fmt: skip
        alone += [f"Only in {side.name}: {', '.join(left)}."] if left else []
    return pairs, alone


def _key(case: Case, names: Sequence[str]) -> tuple[str, ...]:
    return tuple("" if pd.isna(case[name]) else str(case[name]) for name in names)


def _has_several(side: Side, column: str) -> bool:
    return bool(side.cases[column].nunique() > 1)


def _refuse_twins(side: Side, cases: list[Case], keys: Sequence[str]) -> None:
    found = [_key(case, keys) for case in cases]
    twins = [key for key in dict.fromkeys(found) if found.count(key) > 1]
    if twins:
        raise RowsError(
            f"{side.name} has {found.count(twins[0])} cases of {' '.join(twins[0])}",
            "compare two cases by their ids",
        )


def unlike_in(pairs: list[tuple[Case, Case]], field: str) -> tuple[object, object] | None:
    """Give the first two values of a field that differ within a pair; missing ones do not."""
    name = _RENAMED.get(field, field)
    for one, two in pairs:
        known = not (pd.isna(one[name]) or pd.isna(two[name]))
        if known and one[name] != two[name]:
            return one[name], two[name]
    return None


def said_by(field: str, value: object, side: Side) -> str:
    """Give a value of a field as a reader knows it: a device by its name besides."""
    if field != "device_id":
        return str(value)
    names = side.frames.devices.set_index("device_id")["name"].to_dict()
    return f"{names.get(value)} ({value})"
