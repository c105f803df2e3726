"""How many times faster one case is than another. Refuses to compare unlike things."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from deploy.errors import RowsError
from reports.frame import Frames
from reports.launches import CASE_KEY, launch_table
from reports.stats import CONFIDENCE, MIN_LAUNCHES
from reports.summary import FLAGS, QUALITY, abi_family, case_labels, join_flags, summarize

__all__ = [
    "CASE_KEY",
    "FLAGS",
    "MAY_DIFFER",
    "MUST_MATCH",
    "QUALITY",
    "CaseKey",
    "Comparison",
    "abi_family",
    "add_speed_ups",
    "case_labels",
    "launch_table",
    "refuse_unlike",
    "speed_ups",
    "summarize",
]

# What a row must share with the row it is compared to.
MUST_MATCH = ("device_id", "provider", "intra_op_threads", "runtime", "runtime_version")
# Of these, what may stand side by side in one report: speed-ups are within each anyway.
SIDE_BY_SIDE = ("provider",)
# What may differ between two compared cases, and is told.
MAY_DIFFER = (
    "kind",
    "target",
    "model_sha256",
    "calibration_sha256",
    "graph_opt_level",
    "session_config",
    "tool_version",
    "seed",
)

CaseKey = tuple[str, str]  # session_id, case_id


@dataclass(frozen=True)
class Comparison:
    """How many times faster a case is than its baseline.

    Attributes:
        ratio: baseline latency over the case's, geometric mean over blocks; above 1 is faster.
        ci_low: lower end of its 95 % interval; NaN below three pairs.
        ci_high: upper end.
        pairs: blocks in which both launches ended well.
        differs: what else differs between the two, as columns of `runs`.
    """

    ratio: float
    ci_low: float
    ci_high: float
    pairs: int
    differs: tuple[str, ...]


def speed_ups(
    frames: Frames, baseline_kind: str = "plain", *, force: bool = False
) -> dict[CaseKey, Comparison]:
    """Give how many times faster each case is than the baseline of its model and session.

    Baseline and case share all of `MUST_MATCH`.

    Args:
        force: let unlike rows stand side by side; what is compared is alike even so.

    Returns:
        Empty where there is no case of the baseline's kind. The baseline itself is left out.

    Raises:
        RowsError: the rows are not alike in what `MUST_MATCH` names, but for `SIDE_BY_SIDE`, or
            there are two baselines.
    """
    if not force:
        refuse_unlike(frames, [one for one in MUST_MATCH if one not in SIDE_BY_SIDE])
    pairs = _with_baselines(_cases(frames), baseline_kind)
    if pairs.empty:
        return {}
    ratios = _ratios(frames.launches, pairs)
    differs = _differences(pairs)
    keys = zip(pairs["session_id"], pairs["case_id"], strict=True)
    ends = ratios.itertuples(index=False, name=None)
    return {
        (str(session), str(case)): Comparison(ratio, low, high, int(n), what)
        for (session, case), (ratio, low, high, n), what in zip(keys, ends, differs, strict=True)
    }


def _cases(frames: Frames) -> pd.DataFrame:
    columns = dict.fromkeys(["model", "kind", *MUST_MATCH, *MAY_DIFFER])
    cases = frames.runs.groupby(CASE_KEY)[list(columns)].first().reset_index()
    return cases.astype("string").fillna("")


def _with_baselines(cases: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Give each case beside the baseline that it shares all of `MUST_MATCH` with."""
    shared = ["session_id", "model", *MUST_MATCH]
    baselines = cases.loc[cases["kind"] == kind]
    twice = baselines.loc[baselines.duplicated(shared, keep=False)]
    if not twice.empty:
        same = twice.loc[(twice[shared] == twice[shared].iloc[0]).all(axis=1)]
        raise RowsError(
            f"{len(same)} {kind} cases of {same['model'].iloc[0]} in one session: "
            f"{', '.join(same['case_id'])}",
            "bench one of them",
        )
    pairs = cases.merge(baselines, on=shared, suffixes=("", "_base"))
    return pairs.loc[pairs["case_id"] != pairs["case_id_base"]].reset_index(drop=True)


def _ratios(launches: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Give ratio, low, high and n of each pair: Student's t on log-ratios, block by block.

    Source: as `reports.stats.paired_ratio`, for all pairs at once.
    """
    timed = launches.loc[launches["latency_ms"].notna(), [*CASE_KEY, "block", "latency_ms"]]
    by_block = timed.groupby([*CASE_KEY, "block"])["latency_ms"].median().map(np.log).reset_index()
    own = pairs[[*CASE_KEY, "case_id_base"]].reset_index(names="pair")
    both = own.merge(by_block, on=CASE_KEY).merge(
        by_block.rename(columns={"case_id": "case_id_base"}),
        on=["session_id", "case_id_base", "block"],
        suffixes=("", "_base"),
    )
    logs = (both["latency_ms_base"] - both["latency_ms"]).groupby(both["pair"])
    mean = logs.mean().reindex(own["pair"]).to_numpy(dtype=float)
    n = logs.size().reindex(own["pair"]).fillna(0).to_numpy(dtype=int)
    error = logs.std(ddof=1).reindex(own["pair"]).to_numpy(dtype=float) / np.sqrt(np.maximum(n, 1))
    half = error * stats.t.ppf((1 + CONFIDENCE) / 2, np.maximum(n - 1, 1))
    half[n < MIN_LAUNCHES] = np.nan
    ends = {"ratio": mean, "low": mean - half, "high": mean + half}
    return pd.DataFrame({name: np.exp(end) for name, end in ends.items()} | {"n": n})


def _differences(pairs: pd.DataFrame) -> list[tuple[str, ...]]:
    unlike = np.column_stack(
        [(pairs[name] != pairs[f"{name}_base"]).to_numpy(dtype=bool) for name in MAY_DIFFER]
    )
    names = np.array(MAY_DIFFER)
    return [tuple(map(str, names[row])) for row in unlike]


def refuse_unlike(frames: Frames, fields: Iterable[str] = MUST_MATCH) -> None:
    """Refuse rows whose times mean different things, naming the field and two of its values.

    Raises:
        RowsError: a field has more than one value.
    """
    for field in fields:
        values = frames.runs[field].dropna().unique()
        if len(values) > 1:
            one, other = (said_of(field, value, frames) for value in values[:2])
            raise RowsError(
                f"cannot compare rows whose {field} differs: {one} and {other}",
                "report on each session by itself, or pass --force for one table",
            )


def said_of(field: str, value: object, frames: Frames) -> str:
    """Give a value of a field as a reader knows it: a device by its name besides."""
    if field != "device_id":
        return str(value)
    name = frames.devices.loc[frames.devices["device_id"] == value, "name"].iloc[0]
    return f"{name} ({value})"


def add_speed_ups(summary: pd.DataFrame, ratios: Mapping[CaseKey, Comparison]) -> pd.DataFrame:
    """Give the summary with speed_up, its interval and its flags; NaN where there is no ratio."""
    keys = list(zip(summary["session_id"], summary["case_id"], strict=True))
    nothing = Comparison(np.nan, np.nan, np.nan, 0, ())
    of_rows = [ratios.get(key, nothing) for key in keys]
    with_ratios = summary.assign(
        speed_up=[one.ratio for one in of_rows],
        speed_up_ci_low=[one.ci_low for one in of_rows],
        speed_up_ci_high=[one.ci_high for one in of_rows],
        speed_up_pairs=[one.pairs for one in of_rows],
    )
    at_home = ~summary["flags"].str.contains("foreign_target")
    raised = pd.DataFrame(
        {
            "slower": (with_ratios["speed_up_ci_high"] < 1) & at_home,
            "undecided": with_ratios["speed_up_ci_low"].le(1)
            & with_ratios["speed_up_ci_high"].ge(1)
            & at_home,
        }
    )
    flags = summary["flags"].str.cat(join_flags(raised), sep=",").str.strip(",")
    return with_ratios.assign(flags=flags)
