"""One HTML page that needs no network: headline, table, plots, pictures, provenance."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pandas.api.typing import NAType

from deploy.errors import DataError
from reports.compare import CASE_KEY, case_labels
from reports.frame import Frames
from reports.plots import draw_all
from reports.tables import COLUMNS, DASH, ComparisonTable, counted, fixed, rounded

_TEMPLATES = Path(__file__).parent / "templates"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """One version of one held-out image.

    Attributes:
        image_name: which image it shows; versions of one image stand side by side.
        label: which version: degraded, sharp, or the kind of the graph that made it.
        png: the picture as PNG bytes.
        psnr_db: against the sharp image; None for the sharp image itself.
    """

    image_name: str
    label: str
    png: bytes
    psnr_db: float | None = None


@dataclass(frozen=True)
class Card:
    """One headline figure.

    Attributes:
        title: what it is.
        figure: the value with its unit.
        details: what it is to be held against, a line each.
    """

    title: str
    figure: str
    details: tuple[str, ...]


def render_html(
    summary: pd.DataFrame,
    frames: Frames,
    table: ComparisonTable,
    pictures: Sequence[Picture] = (),
    baseline_kind: str = "plain",
) -> str:
    """Give the whole page; names are escaped wherever they stand.

    Args:
        summary: what `summarize` and then `add_speed_ups` gave.
        frames: the rows behind it.
        table: what `comparison_table` made of them.
        pictures: in the order to show them.
        baseline_kind: the kind that the speed-ups are against.

    Raises:
        DataError: a picture is not a PNG.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        models=", ".join(summary["model"].unique()),
        table=table,
        columns=list(COLUMNS),
        rows=_table_rows(summary, table, baseline_kind),
        cards=_cards(summary, baseline_kind),
        plots=[(plot.title, plot.note, Markup(plot.svg)) for plot in draw_all(frames, summary)],
        images=_images(pictures),
        conditions=_conditions(frames),
        cases=_cases(summary, frames),
    )


def _table_rows(
    summary: pd.DataFrame, table: ComparisonTable, baseline_kind: str
) -> list[list[tuple[str, str]]]:
    """Give each cell as its text and the value to sort by; a missing value sorts last."""
    is_baseline = summary["kind"] == baseline_kind
    sortable = summary.assign(speed_up=summary["speed_up"].mask(is_baseline, 1.0))
    rows = []
    for place, (_, case) in enumerate(sortable.iterrows()):
        values = [place if column is None else case[column] for column in COLUMNS.values()]
        keys = ["" if math.isnan(value) else repr(float(value)) for value in values]
        rows.append(list(zip(table.cells.iloc[place], keys, strict=True)))
    return rows


def _cards(summary: pd.DataFrame, baseline_kind: str) -> list[Card]:
    """Give the headline: the fastest graph that is made for this machine, next to the baseline."""
    at_home = ~summary["flags"].str.contains("foreign_target")
    measured = summary[at_home & summary["latency_median_ms"].notna()]
    if measured.empty or summary[["session_id", "model"]].drop_duplicates().shape[0] > 1:
        return []  # several models or sessions have no one headline
    best = measured.sort_values("latency_median_ms").iloc[0]
    of_kind = summary[summary["kind"] == baseline_kind]
    baseline = of_kind.iloc[0] if len(of_kind) and best["kind"] != baseline_kind else None
    return [
        _latency_card(best),
        _speed_card(best, baseline_kind),
        _quality_card(best, baseline),
        _size_card("Peak memory", "peak_rss_mib", 0, best, baseline),
        _size_card("File", "model_mib", 2, best, baseline),
    ]


def _latency_card(best: pd.Series) -> Card:
    latency_ms = (best[f"latency_{end}_ms"] for end in ("median", "ci_low", "ci_high"))
    figure, interval = rounded(*latency_ms)
    return Card("Fastest graph here", f"{figure} ms", (best["kind"], interval))


def _speed_card(best: pd.Series, baseline_kind: str) -> Card:
    if best["kind"] == baseline_kind:
        return Card("Speed-up", "1×", ("no other graph made for this machine is faster",))
    if math.isnan(best["speed_up"]):
        return Card("Speed-up", DASH, (f"no {baseline_kind} graph to compare with",))
    figure, interval = rounded(
        best["speed_up"], best["speed_up_ci_low"], best["speed_up_ci_high"], "×"
    )
    over = f"{interval} over {counted(best['speed_up_pairs'], 'pair')}".lstrip()
    return Card("Speed-up", figure, (f"against {baseline_kind}", over))


def _quality_card(best: pd.Series, baseline: pd.Series | None) -> Card:
    title = "PSNR, held-out images"
    if math.isnan(best["psnr_db"]):
        return Card(title, DASH, ("not measured",))
    details = [f"input: {_with_unit(best['degraded_psnr_db'], 2, 'dB')}"]
    if baseline is not None:
        details += [f"{baseline['kind']}: {_with_unit(baseline['psnr_db'], 2, 'dB')}"]
    return Card(title, _with_unit(best["psnr_db"], 2, "dB"), tuple(details))


def _size_card(
    title: str, column: str, places: int, best: pd.Series, baseline: pd.Series | None
) -> Card:
    details: tuple[str, ...] = ()
    if baseline is not None:
        details = (f"{baseline['kind']}: {_with_unit(baseline[column], places, 'MiB')}",)
    return Card(title, _with_unit(best[column], places, "MiB"), details)


def _with_unit(value: float, places: int, unit: str) -> str:
    return DASH if math.isnan(value) else f"{fixed(value, places)} {unit}"


def _images(pictures: Sequence[Picture]) -> dict[str, list[tuple[str, str, str]]]:
    """Give the versions of each image: label, what to say of it, and the picture as a data URI."""
    images: dict[str, list[tuple[str, str, str]]] = {}
    for picture in pictures:
        if not picture.png.startswith(_PNG_SIGNATURE):
            raise DataError(
                f"picture {picture.label!r} of {picture.image_name!r} is not a PNG",
                "encode it as PNG",
            )
        said = "" if picture.psnr_db is None else _with_unit(picture.psnr_db, 2, "dB")
        uri = f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
        images.setdefault(picture.image_name, []).append((picture.label, said, uri))
    return images


def _conditions(frames: Frames) -> dict[str, str]:
    """Give what the launches had in common; where they did not, every value."""
    runs, devices = frames.runs, frames.devices
    memory_gib = (devices["mem_total_bytes"] / 2**30).round(1)
    phone = devices["is_phone"].map({True: "a phone", False: "not a phone"})
    runtime = runs["runtime"].str.cat(runs["runtime_version"], sep=" ")
    return {
        "Device": _values(devices["name"].str.cat(phone, sep=", ")),
        "Processor": _values(devices["cpu"]),
        "Cores": _values(devices["cpu_cores"]),
        "Memory": f"{_values(memory_gib)} GiB",
        "System": _values(devices["os"].str.cat(devices["abi"], sep=", ")),
        "Runtime": _values(runtime),
        "Provider": _values(runs["provider"]),
        "Threads": _values(runs["intra_op_threads"]),
        "Plan": f"{counted(runs['block'].nunique(), 'block')}, each launches every graph once",
        "Seed": _values(runs["seed"]),
        "mofa-deploy": _values(runs["tool_version"]),
        "Session": _values(runs["session_id"]),
        "Started (UTC)": str(runs["started_at_utc"].min()),
        "Row schema": _values(runs["schema_version"]),
    }


def _values(column: pd.Series) -> str:
    return ", ".join(column.dropna().astype("string").unique()) or DASH


def _cases(summary: pd.DataFrame, frames: Frames) -> list[tuple[str, dict[str, str]]]:
    """Give each case's label and where it came from."""
    sizes = frames.runs.groupby(CASE_KEY)["model_bytes"].first()
    cases = []
    for label, (_, case) in zip(case_labels(summary), summary.iterrows(), strict=True):
        total = case["n_launches"] + case["n_failed"]
        size = sizes[case["session_id"], case["case_id"]]
        described = {
            "Model": case["model"],
            "Made for": _text(case["target"], "any hardware"),
            "File": f"{size:,} bytes".replace(",", "\u202f"),
            "Graph optimization": _text(case["graph_opt_level"]),
            "Session settings": _text(case["session_config"]),
            "Fusion": _text(case["fusion"], "not audited"),
            "Launches": f"{case['n_launches']} of {total} ok",
            "Steady inferences": str(case["n_samples"]),
            "Session creation": _with_unit(case["session_create_ms"], 1, "ms"),
            "First inference": _with_unit(case["first_inference_ms"], 1, "ms"),
            "PSNR to fp32": _with_unit(case["psnr_vs_fp32_db"], 2, "dB"),
            "sha256": case["model_sha256"],
            "Calibration sha256": _text(case["calibration_sha256"], "not calibrated"),
        }
        cases.append((label, described))
    return cases


def _text(value: str | NAType, missing: str = DASH) -> str:
    return missing if isinstance(value, NAType) else value
