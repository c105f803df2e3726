"""What the page says first: the fastest graph, what it costs, and what to be careful about."""

import math
from dataclasses import dataclass

import pandas as pd

from reports.instruction_table import fewer, ratio_said
from reports.instructions import millions
from reports.summary import case_labels
from reports.tables import DASH, counted, fixed, rounded

_MOST_GROUPS = 4  # of one model in one session; more have no headline but the warnings
_MOST_NAMED = 3  # graphs of one warning

# flag -> what it means, in the words of a warning
_WARNINGS = {
    "wrong_output": "wrong output, left out",
    "redone_launches": "launches taken again",
    "imported": "from another tool",
    "provider_fallback": "the provider took no node",
    "partial_coverage": "the provider took only some nodes",
    "throttled": "slowed down by heat",
    "failed_launches": "launches failed",
    "few_launches": "too few launches",
    "foreign_target": "made for other hardware",
    "output_changes": "output changes between launches",
    "peak_not_reset": "peak includes the start of the process",
    "slower": "slower than the baseline",
    "undecided": "not shown to differ from the baseline",
}


@dataclass(frozen=True)
class Card:
    """One headline figure.

    Attributes:
        title: what it is.
        figure: the value with its unit.
        details: what it is to be held against, a line each.
        link: where on the page it is explained; empty for nowhere.
        weight: "" or one of leading, warnings.
    """

    title: str
    figure: str
    details: tuple[str, ...]
    link: str = ""
    weight: str = ""


@dataclass(frozen=True)
class CardGroup:
    """The cards of one model in one session.

    Attributes:
        title: which, where there are several; empty otherwise.
        cards: in the order to show them.
    """

    title: str
    cards: tuple[Card, ...]


def card_groups(summary: pd.DataFrame, baseline_kind: str) -> list[CardGroup]:
    """Give the headline of each model and session, and the warnings on all of them."""
    groups = list(summary.groupby(["model", "session_id"], sort=False))
    warnings = _warnings_card(summary)
    if len(groups) > _MOST_GROUPS:
        return [CardGroup("", (warnings,))]
    if len(groups) == 1:
        return [CardGroup("", (*_cards(summary, baseline_kind), warnings))]
    one_session = summary["session_id"].nunique() == 1
    titled = [
        CardGroup(str(model) if one_session else f"{model}, session {session}", cards)
        for (model, session), rows in groups
        if (cards := _cards(rows, baseline_kind))
    ]
    return [*titled, CardGroup("All together", (warnings,))]


def _cards(summary: pd.DataFrame, baseline_kind: str) -> tuple[Card, ...]:
    """Give the best graph that is made for this machine, next to the baseline."""
    if summary["is_counted"].any():
        return _count_cards(summary, baseline_kind)
    at_home = ~summary["flags"].str.contains("foreign_target")
    measured = summary[at_home & summary["latency_median_ms"].notna()]
    if measured.empty:
        return ()
    summary = summary.assign(label=case_labels(summary))
    best = summary.loc[measured.index].sort_values("latency_median_ms").iloc[0]
    of_kind = summary[(summary["kind"] == baseline_kind).fillna(False)]
    alike = of_kind[(of_kind["provider"] == best["provider"]).fillna(False)]
    baseline = next((rows.iloc[0] for rows in (alike, of_kind) if len(rows)), None)
    cards = (
        _latency_card(best),
        _speed_card(best, baseline_kind),
        _smallest_card(summary, baseline),
        _memory_card(best, baseline),
        _quality_card(best, baseline),
    )
    return tuple(card for card in cards if card is not None)


def _count_cards(summary: pd.DataFrame, baseline_kind: str) -> tuple[Card, ...]:
    """Give the graph with the fewest instructions that is made for this processor."""
    summary = summary.assign(
        label=case_labels(summary), ratio=fewer(summary, baseline_kind)
    ).reset_index(drop=True)
    at_home = ~summary["flags"].str.contains("foreign_target")
    measured = summary[at_home & summary["instructions"].notna()]
    if measured.empty:
        return ()
    best = measured.sort_values("instructions", kind="stable").iloc[0]
    of_kind = summary[(summary["kind"] == baseline_kind).fillna(False)]
    baseline = of_kind.iloc[0] if len(of_kind) else None
    what = (best["label"], "one steady inference, counted exactly")
    figure = f"{millions(best['instructions'])} M"
    cards = (
        Card("Fewest instructions", figure, what, weight="leading"),
        _fewer_card(best, baseline_kind),
        _smallest_card(summary, baseline),
        _quality_card(best, baseline),
    )
    return tuple(card for card in cards if card is not None)


def _fewer_card(best: pd.Series, baseline_kind: str) -> Card:
    title = f"Against {baseline_kind}"
    if best["kind"] == baseline_kind:
        return Card(title, "1×", ("no other graph made for this processor has fewer",))
    if math.isnan(best["ratio"]):
        return Card(title, DASH, (f"no {baseline_kind} graph to hold it against",))
    return Card(title, ratio_said(best["ratio"]), (f"instructions than {baseline_kind}",))


def _latency_card(best: pd.Series) -> Card:
    latency_ms = (best[f"latency_{end}_ms"] for end in ("median", "ci_low", "ci_high"))
    figure, interval = rounded(*latency_ms)
    details = (best["label"], f"95\u00a0% {unbroken(interval)}" if interval else "no interval")
    return Card("Fastest graph here", f"{figure} ms", details, weight="leading")


def _speed_card(best: pd.Series, baseline_kind: str) -> Card:
    if best["kind"] == baseline_kind:
        return Card("Speed-up", "1×", ("no other graph made for this machine is faster",))
    if math.isnan(best["speed_up"]):
        return Card("Speed-up", DASH, (f"no {baseline_kind} graph to compare with",))
    figure, interval = rounded(
        best["speed_up"], best["speed_up_ci_low"], best["speed_up_ci_high"], "×"
    )
    over = f"{unbroken(interval)} over {counted(best['speed_up_pairs'], 'pair')}".lstrip()
    return Card("Speed-up", figure, (f"against {baseline_kind}", over))


def _smallest_card(summary: pd.DataFrame, baseline: pd.Series | None) -> Card | None:
    if summary["model_mib"].isna().all():
        return None
    smallest = summary.sort_values("model_mib", kind="stable").iloc[0]
    details = [smallest["label"]]
    if baseline is not None and baseline["kind"] != smallest["kind"]:
        details += [f"{baseline['kind']}: {with_unit(baseline['model_mib'], 2, 'MiB')}"]
    return Card("Smallest file", with_unit(smallest["model_mib"], 2, "MiB"), tuple(details))


def _memory_card(best: pd.Series, baseline: pd.Series | None) -> Card | None:
    if math.isnan(best["peak_rss_mib"]):
        return None
    details = [f"of {best['label']}"]
    if baseline is not None and baseline["kind"] != best["kind"]:
        details += [f"{baseline['kind']}: {with_unit(baseline['peak_rss_mib'], 0, 'MiB')}"]
    return Card("Peak memory", with_unit(best["peak_rss_mib"], 0, "MiB"), tuple(details))


def _quality_card(best: pd.Series, baseline: pd.Series | None) -> Card:
    title = "PSNR, held-out images"
    if math.isnan(best["psnr_db"]):
        return Card(title, DASH, ("not measured",))
    before = f"input: {with_unit(best['degraded_psnr_db'], 2, 'dB')}"
    before_db = math.nan if baseline is None else float(baseline["psnr_db"])
    change_db = float(best["psnr_db"]) - before_db
    if baseline is None or baseline["kind"] == best["kind"] or not math.isfinite(change_db):
        return Card(title, with_unit(best["psnr_db"], 2, "dB"), (before,))
    details = (
        f"{best['psnr_db']:.2f} dB",
        f"{baseline['kind']}: {baseline['psnr_db']:.2f} dB",
        before,
    )
    change = f"{change_db:+z.2f}".replace("-", "\u2212").replace("+0.00", "0.00")
    return Card("PSNR cost", f"{change} dB", details)


def _warnings_card(summary: pd.DataFrame) -> Card:
    labels = pd.Series(case_labels(summary), index=summary.index)
    flags = summary["flags"].str.split(",").explode()
    flags = flags[flags.notna() & (flags != "")]
    details = []
    for flag in dict.fromkeys(flags):
        named = list(labels[flags.index[flags == flag]])
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        about = _WARNINGS.get(flag, flag.replace("_", " "))
        details += [f"{about}: {', '.join(named[:_MOST_NAMED])}{more}"]
    if not details:
        return Card("Warnings", "none", ("every launch ended well",), weight="warnings")
    return Card("Warnings", str(len(flags)), tuple(details), "#notes", "warnings")


def unbroken(interval: str) -> str:
    """Keep an interval on one line."""
    return interval.replace(" ", "\u00a0")


def with_unit(value: float, places: int, unit: str) -> str:
    """Give a number with its unit, a dash where it is missing."""
    return DASH if math.isnan(value) else f"{fixed(value, places)} {unit}"
