"""What a gate compares: the cases of a session, what each measured, and why one cannot be used."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from deploy.errors import RowsError
from reports.frame import Frames
from reports.stats import launch_medians

# What two compared cases must share; what differs here makes a time mean something else.
MUST_MATCH = (
    "device_id",
    "intra_op_threads",
    "cores_asked",
    "input_shape",
    "runtime",
    "runtime_version",
)
# What may be the very change that is judged, and is told.
MAY_DIFFER = (
    "graph_opt_level",
    "session_config",
    "calibration_sha256",
    "runner_sha256",
    "runtime_sha256",
    "tool_version",
    "input_sha256",
)

MOST_FAILED = 0.25  # of a case's launches; beyond, those that did end well are a selection
CPU = "cpu"
_MIB = 2**20

CaseKey = tuple[str, str]  # session_id, case_id


@dataclass(frozen=True)
class MeasuredCase:
    """One case of one side.

    Attributes:
        name: MODEL/KIND, with the target where the kind does not end with it, and `on PROVIDER`
            where that is not the CPU.
        runs: its rows of `runs`.
        launches: metric -> one value a block, indexed by (session_id, block): latency in ms,
            memory in MiB.
        exact: metric -> the value that all launches share: psnr in dB, coverage in %, size in
            MiB; what is missing is not there.
        problem: why it cannot be judged at all, or None.
        notes: what a reader has to know.
    """

    name: str
    runs: pd.DataFrame
    launches: dict[str, "pd.Series[float]"]
    exact: dict[str, float]
    problem: str | None
    notes: tuple[str, ...]


def case_name(model: str, kind: str, target: str | None, provider: str = CPU) -> str:
    """Give the name by which a case is paired and budgets are found."""
    aside = f"@{target}" if target and not kind.removesuffix("-ort").endswith(target) else ""
    return f"{model}/{kind}{aside}" + ("" if provider == CPU else f" on {provider}")


def measured_cases(frames: Frames, case_ids: Collection[str] | None = None) -> list[MeasuredCase]:
    """Give the cases of some sessions.

    Args:
        case_ids: those that belong to this side; None: all.

    Raises:
        RowsError: two cases have one name, so that it is not known which to compare.
    """
    runs = frames.runs
    runs = runs if case_ids is None else runs.loc[runs["case_id"].isin(case_ids)]
    runs = runs.assign(
        latency=runs["run_id"].map(launch_medians(frames.samples)).astype("float64") / 1e6,
        memory=runs["peak_rss_bytes"].astype("float64") / _MIB,
        mode=runs["mode"].fillna("latency"),
    )
    cases = [_measured(rows) for _, rows in runs.groupby("case_id", sort=False)]
    names = [one.name for one in cases]
    for name in names:
        if names.count(name) > 1:
            raise RowsError(f"{names.count(name)} cases are {name}", "judge one of them at a time")
    return cases


def _measured(rows: pd.DataFrame) -> MeasuredCase:
    first = rows.iloc[0]
    target = None if pd.isna(first["target"]) else first["target"]
    of_latency = rows.loc[rows["mode"] == "latency"]
    # not of the launches that read memory all the time: few, and with the reader's own share
    launches = {name: _by_block(of_latency, name) for name in ("latency", "memory")}
    problem, notes = _judged(rows, of_latency)
    return MeasuredCase(
        case_name(first["model"], first["kind"], target, first["provider"]),
        rows,
        {name: values for name, values in launches.items() if not values.empty},
        _exact(rows),
        problem,
        notes,
    )


def _usable(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.loc[(rows["status"] == "ok") & ~rows["throttled"].fillna(False).astype(bool)]


def _by_block(rows: pd.DataFrame, metric: str) -> "pd.Series[float]":
    """Give one value a block; a launch that was taken again has one good attempt."""
    values = _usable(rows).groupby(["session_id", "block"])[metric].median()
    return values[values > 0]  # also drops what is missing; a ratio needs no zero


def _exact(rows: pd.DataFrame) -> dict[str, float]:
    """Give what the launches of a case share; of a coverage that varies, the least."""
    coverage = 100 * rows["nodes_on_provider"].astype("float64") / rows["nodes_total"].astype(float)
    values = {
        "psnr": rows["psnr_db"].astype("float64").min(),
        "coverage": coverage.min(),
        "size": rows["model_bytes"].astype("float64").max() / _MIB,
    }
    known = {name: float(value) for name, value in values.items() if not pd.isna(value)}
    return {name: value for name, value in known.items() if value > 0 or name != "size"}


def _judged(rows: pd.DataFrame, of_latency: pd.DataFrame) -> tuple[str | None, tuple[str, ...]]:
    """Say why a case cannot be judged, or what of it failed; never that it is slower."""
    wrong = (rows["status"] == "output_mismatch") | rows["output_ok"].eq(False).fillna(False)
    if wrong.any():
        return f"wrong output in {_of(wrong.sum(), len(rows))}", ()
    if of_latency.empty:
        return "no launch that measures latency", ()
    wanted = of_latency.drop_duplicates(["session_id", "block"])
    good = _usable(of_latency).drop_duplicates(["session_id", "block"])
    failed = len(wanted) - len(good)
    if not failed:
        return None, ()
    told = f"{_of(failed, len(wanted))} failed ({_statuses(of_latency)})"
    return (told, ()) if failed > MOST_FAILED * len(wanted) else (None, (told,))


def _of(count: int, total: int) -> str:
    return f"{count} of {total} launches"


def _statuses(rows: pd.DataFrame) -> str:
    """Give how launches failed and how often, with what the commonest failure said."""
    status = rows["status"].mask(rows["throttled"].fillna(False).astype(bool), "throttled")
    failed = status[status != "ok"]
    counts = failed.value_counts().sort_index(kind="stable")
    told = ", ".join(f"{name}: {count}" for name, count in counts.items())
    messages = rows.loc[failed.index, "status_message"].dropna()
    return f"{told}; {messages.iloc[0]}" if len(messages) else told


def unlike(baseline: MeasuredCase, current: MeasuredCase, devices: pd.DataFrame) -> list[str]:
    """Name every field of `MUST_MATCH` in which two cases differ, with both values."""
    names = dict(zip(devices["device_id"], devices["name"], strict=True))

    def shown(field: str, value: object) -> str:
        return f"{names[value]} ({value})" if field == "device_id" else str(value)

    return [
        f"{field} differs: {shown(field, old)} and {shown(field, new)}"
        for field, old, new in _differences(baseline, current, MUST_MATCH)
    ]


def told_differences(baseline: MeasuredCase, current: MeasuredCase) -> list[str]:
    """Name what else differs, shortened where it is a hash."""
    return [
        f"{field} differs: {str(old)[:40]} and {str(new)[:40]}"
        for field, old, new in _differences(baseline, current, MAY_DIFFER)
    ]


def _differences(
    baseline: MeasuredCase, current: MeasuredCase, fields: tuple[str, ...]
) -> list[tuple[str, object, object]]:
    """Give fields in which any two values differ, also of one side; unknown equals anything."""
    found = []
    for field in fields:
        both = pd.concat([baseline.runs[field], current.runs[field]]).dropna()
        values = list(dict.fromkeys(both))
        if len(values) > 1:
            found.append((field, values[0], values[-1]))
    return found
