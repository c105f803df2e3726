"""What a reader has to know of a case before its numbers can be read: one sentence a flag."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.frame import Frames
from reports.launches import CASE_KEY
from reports.stats import ENOUGH_LAUNCHES, MIN_LAUNCHES
from reports.summary import MAIN_MODES, abi_family

Case = dict[Hashable, Any]  # a row of the summary

_PROVIDERS = {"cpu": "CPU", "nnapi": "NNAPI", "qnn": "QNN", "xnnpack": "XNNPACK"}


@dataclass(frozen=True)
class Footnotes:
    """What the rows say of each case besides its numbers.

    Attributes:
        failed: session, case -> how its launches ended that did not end well.
        wrong: session, case -> the greatest error of its output, as a share of the range.
    """

    failed: dict[tuple[str, str], str]
    wrong: dict[tuple[str, str], float]

    def of(self, row: Case, baseline_kind: str, *, ratios: bool = True) -> list[str]:
        """Give the sentences on one row of the summary, as its flags ask for.

        Args:
            baseline_kind: the kind that speed-ups are against.
            ratios: whether the speed-up is shown, and has to be spoken of.
        """
        key = (str(row["session_id"]), str(row["case_id"]))
        texts: dict[str, Callable[[], str]] = {
            "wrong_output": lambda: self._wrong(key),
            "failed_launches": lambda: self._failures(row, key),
            "redone_launches": lambda: (
                f"{counted(row['n_redone'], 'launch')} taken again ({self.failed[key]})"
            ),
            "few_launches": lambda: few(row["n_launches"]),
            "imported": lambda: imported(row),
            "provider_fallback": lambda: fell_back(row),
            "partial_coverage": lambda: partial(row),
            "throttled": lambda: (
                f"throttled in {row['n_throttled']} of {counted(row['n_launches'], 'launch')}"
            ),
            "foreign_target": lambda: foreign(row),
            "output_changes": lambda: "its output changes from launch to launch on the same input",
            "peak_not_reset": lambda: "the peak includes the start of the process",
        }
        if ratios:
            texts["slower"] = lambda: f"slower than {baseline_kind} on this machine"
            texts["undecided"] = lambda: (
                f"not shown to differ from {baseline_kind}: the interval holds 1"
            )
        return [texts[flag]() for flag in row["flags"].split(",") if flag in texts]

    def _failures(self, row: Case, key: tuple[str, str]) -> str:
        of_all = counted(row["n_launches"] + row["n_failed"], "launch")
        return f"{row['n_failed']} of {of_all} failed ({self.failed[key]})"

    def _wrong(self, key: tuple[str, str]) -> str:
        error = self.wrong.get(key)
        by = "" if error is None or pd.isna(error) else f", by up to {error:.2g} of its range"
        return f"left out: its output differs from what the same file gives elsewhere{by}"


def footnotes(frames: Frames) -> Footnotes:
    """Read from the rows what the footnotes on their cases need."""
    runs = frames.runs
    bad = runs.loc[(runs["status"] != "ok") & runs["mode"].isin(MAIN_MODES)]
    failed: dict[tuple[str, str], str] = {}
    ends = bad.groupby([*CASE_KEY, "status"]).size().reset_index(name="count")
    for session, case, status, count in ends.itertuples(index=False, name=None):
        told = failed.get((session, case))
        failed[session, case] = ", ".join(filter(None, [told, f"{status}: {count}"]))
    suspect = (runs["status"] == "output_mismatch") | ~runs["output_ok"].fillna(True)
    errors = runs.loc[suspect].groupby(CASE_KEY)["output_max_abs_err"].max().reset_index()
    wrong = {(one, case): error for one, case, error in errors.itertuples(index=False, name=None)}
    return Footnotes(failed, wrong)


def provider_name(provider: Any) -> str:
    """Give a provider as a reader knows it; nothing where it is missing."""
    return "" if pd.isna(provider) else _PROVIDERS.get(provider, str(provider))


def fell_back(row: Case) -> str:
    """Say that the provider that was asked for left everything to the CPU."""
    nodes: str = (
        "no node" if pd.isna(row["nodes_total"]) else f"none of {row['nodes_total']:.0f} nodes"
    )
    name = provider_name(row["provider"])
    return f"CPU ({name} fell back): {name} took {nodes}"


def partial(row: Case) -> str:
    """Say how much of the graph the provider took."""
    name = provider_name(row["provider"])
    took, total = row["nodes_on_provider"], row["nodes_total"]
    said = f"{name} took {took:.0f} of {total:.0f} nodes ({100 * took / total:.0f} %)"
    pieces = row["partitions_on_provider"]
    return said if pd.isna(pieces) else f"{said} in {counted(round(pieces), 'partition')}"


def imported(row: Case) -> str:
    """Say which tool measured, and what its figures are."""
    said = str(row["tool_version"])
    if row["n_launches"] < MIN_LAUNCHES:
        said += ": no launches, so no interval"
    return said if pd.isna(row["message"]) else f"{said}; {row['message']}"


def few(n_launches: int) -> str:
    """Say that there are too few launches."""
    if n_launches == 0:
        return "nothing was measured"
    if n_launches < MIN_LAUNCHES:
        return f"{counted(n_launches, 'launch')} only: no interval below {MIN_LAUNCHES}"
    return (
        f"{counted(n_launches, 'launch')} only: below {ENOUGH_LAUNCHES} the interval is too narrow"
    )


def foreign(row: Case) -> str:
    """Say that a file ran on other hardware than it was made for."""
    target, family = row["target"], abi_family(row["abi"])
    about = "a phone" if target.startswith("arm") else target
    if row["is_counted"]:
        return f"made for {target}; its instructions on {family} say nothing about {about}"
    return f"made for {target}; its time on {family} says nothing about {about}"


def counted(count: int, noun: str) -> str:
    """Give a count with its noun, in the plural where there is not one."""
    plural = f"{noun}es" if noun.endswith("ch") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"
