import base64
import hashlib
import math
import re
from dataclasses import fields, replace
from html.parser import HTMLParser
from itertools import pairwise
from numbers import Integral

import pandas as pd
import pytest
from phone_rows import phone_rows
from session_rows import make_rows, write_rows

from android_bench.rows import DeviceRow, RunRow
from deploy.errors import DataError
from reports.compare import add_speed_ups, speed_ups, summarize
from reports.frame import Frames, load
from reports.headline import card_groups
from reports.html import Picture, render_html
from reports.provenance import CONDITIONS, IDENTITY, RESULTS
from reports.tables import comparison_table

PNG = b"\x89PNG\r\n\x1a\nrest"
LINE = ("plain", "fp32", "int8-x86", "int8-opt-x86")
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"&"


class Page(HTMLParser):
    """Every tag with its attributes, and all text outside of script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._inside[-1:]):
            self.text.append(data.strip())

    def said(self) -> str:
        """All text in one line."""
        return " ".join(" ".join(self.text).split())

    def all_of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page_from(frames: Frames, pictures=()) -> str:
    summary = add_speed_ups(summarize(frames), speed_ups(frames))
    return render_html(summary, frames, comparison_table(summary, frames), pictures)


@pytest.fixture
def page_of(write_session):
    def page(cases, pictures=(), **options):
        return page_from(load(write_session(cases, **options)), pictures)

    return page


@pytest.fixture(scope="module")
def line_page(tmp_path_factory):
    """A whole line on this machine: nothing but what every session has."""
    cases = {kind: {"latency_ms": 9.0 - place} for place, kind in enumerate(LINE)}
    frames = load(write_rows(tmp_path_factory.mktemp("line"), make_rows(cases)))
    pictures = [
        Picture("cat", "degraded", PNG, 20.123),
        Picture("dog", "degraded", PNG, 21.0),
        Picture("cat", "sharp", PNG),
    ]
    return Page(page_from(frames, pictures))


@pytest.fixture(scope="module")
def phone_frames(tmp_path_factory):
    return load(write_rows(tmp_path_factory.mktemp("session") / "phone", phone_rows()))


@pytest.fixture(scope="module")
def phone_text(phone_frames):
    return page_from(phone_frames)


@pytest.fixture(scope="module")
def phone_page(phone_text):
    return Page(phone_text)


def test_the_page_refers_to_nothing_outside_itself(line_page, phone_page, phone_text):
    for tag, attributes in line_page.tags + phone_page.tags:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        for name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
    assert "@import" not in phone_text
    assert "url(http" not in phone_text


def test_nothing_but_the_pages_own_script_may_run_or_reach_out(phone_text):
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', phone_text)
    (script,) = re.findall(r"<script>(.*?)</script>", phone_text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert not re.search(r"connect-src|https?:", policy)


def test_the_page_holds_every_cell_note_and_hash(phone_frames, phone_page):
    summary = add_speed_ups(summarize(phone_frames), speed_ups(phone_frames))
    table = comparison_table(summary, phone_frames)
    for expected in [*table.cells.to_numpy().ravel(), *table.notes, *summary["model_sha256"]]:
        assert expected in phone_page.said()


def test_the_headline_is_the_fastest_graph_made_for_this_machine(page_of, line):
    cases = {**line, "int8-arm-cpu": {"latency_ms": 1.0, "target": "arm-cpu"}}
    text = Page(page_of(cases, spread=0.0)).text
    place = text.index("Fastest graph here")
    assert [word for word in text[place:] if word][1:3] == ["16.0 ms", "int8-opt-x86"]


def test_where_nothing_beats_plain_the_headline_says_so(page_of):
    cases = {"plain": {"latency_ms": 4.0}, "int8-x86": {"latency_ms": 9.0, "target": "x86"}}
    assert "no other graph made for this machine is faster" in Page(page_of(cases)).text


def test_each_model_has_its_own_headline(page_of, line):
    cases = {**line, "other": {"latency_ms": 4.0, "kind": "plain", "model": "net2"}}
    text = Page(page_of(cases, spread=0.0)).said()
    assert "net Fastest graph here 16.0 ms" in text
    assert "net2 Fastest graph here 4.00 ms" in text


def test_many_models_have_no_headline_but_the_warnings(page_of):
    cases = {
        f"case-{place}": {"latency_ms": 4.0, "kind": "plain", "model": f"net{place}"}
        for place in range(5)
    }
    text = Page(page_of(cases, launches=2)).said()
    assert "Fastest graph here" not in text
    assert "Warnings 5 too few launches:" in text


def test_the_headline_says_what_the_fastest_graph_costs(phone_page):
    text = phone_page.said()
    assert "Smallest file 4.27 MiB int8-opt-arm-cpu plain: 16.61 MiB" in text
    assert "Peak memory 188 MiB of int8-opt-arm-cpu plain: 402 MiB" in text
    assert "PSNR cost −0.27 dB 32.60 dB plain: 32.87 dB input: 24.13 dB" in text


@pytest.mark.parametrize(
    ("plain_db", "fp32_db", "said"),
    [
        (30.0, 30.001, "PSNR cost 0.00 dB"),
        (30.0, 29.999, "PSNR cost 0.00 dB"),
        (30.0, 30.5, "PSNR cost +0.50 dB"),
        (math.inf, math.inf, "PSNR, held-out images ∞ dB"),
        (None, 30.0, "PSNR, held-out images 30.00 dB"),
    ],
)
def test_the_cost_in_quality_is_a_signed_difference(summary_of, plain_db, fp32_db, said):
    summary = summary_of(plain_db, fp32_db)
    (group,) = card_groups(summary, "plain")
    titles = [f"{card.title} {card.figure}" for card in group.cards]
    assert said in titles


@pytest.fixture
def summary_of(write_session):
    def summary(plain_db, fp32_db):
        cases = {
            "plain": {"latency_ms": 4.0, "psnr_db": plain_db},
            "fp32": {"latency_ms": 2.0, "psnr_db": fp32_db},
        }
        frames = load(write_session(cases))
        return add_speed_ups(summarize(frames), speed_ups(frames))

    return summary


def test_warnings_name_their_graphs(phone_page):
    assert "the provider took only some nodes: int8-opt-arm-cpu" in phone_page.said()


def test_a_session_without_a_flaw_has_no_warning(line_page):
    assert "Warnings none every launch ended well" in line_page.said()


def test_a_hostile_name_stays_text_everywhere(tmp_path):
    hostile = {
        column.name: HOSTILE
        for column in fields(RunRow)
        if "str" in str(column.type)
        and not column.name.endswith(("_id", "_utc"))
        and column.name not in ("status", "mode", "kind", "provider", "runtime", "runtime_version")
    }
    rows = phone_rows(launches=2, samples=4, **hostile)
    rows["runs"] = [replace(run, kind=f"{HOSTILE}{run.kind}") for run in rows["runs"]]
    rows["devices"] = [replace(rows["devices"][0], name=HOSTILE, cpu=HOSTILE, soc=HOSTILE)]
    rows["ops"] = [replace(op, op_type=HOSTILE, provider=HOSTILE) for op in rows["ops"]]
    rows["telemetry"] = [replace(reading, source=HOSTILE) for reading in rows["telemetry"]]
    frames = load(write_rows(tmp_path / "hostile", rows))
    page = Page(page_from(frames, [Picture(HOSTILE, HOSTILE, PNG)]))
    assert len(page.all_of("script")) == 1  # the page's own
    assert not [tag for tag, attributes in page.tags if "onerror" in attributes]
    assert [image["alt"] for image in page.all_of("img")] == [f"{HOSTILE}, {HOSTILE}"]
    assert HOSTILE in page.text


def test_missing_numbers_are_dashes_and_never_nan(page_of):
    nothing = dict.fromkeys(["psnr_db", "ssim", "degraded_psnr_db", "degraded_ssim"])
    failed = {("fp32", block): "timeout" for block in range(8)}
    cases = {"plain": {"latency_ms": 4.0, **nothing}, "fp32": {"latency_ms": 4.0, **nothing}}
    text = " ".join(Page(page_of(cases, failed=failed)).text).lower()
    assert "–" in text
    assert not {"nan", "<na>", "none"} & set(text.split())


def test_a_session_without_a_good_launch_still_has_its_page(page_of):
    failed = {("plain", block): "crash" for block in range(8)}
    text = Page(page_of({"plain": {"latency_ms": 4.0}}, failed=failed)).text
    assert "8 of 8 launches failed (crash: 8)" in " ".join(text)


def test_missing_numbers_sort_last_and_numbers_by_value(page_of):
    cases = {"plain": {"latency_ms": 4.0, "psnr_db": None}, "fp32": {"latency_ms": 2.0}}
    cells = Page(page_of(cases, spread=0.0)).all_of("td")
    keys = {cell["data-label"]: cell["data-key"] for cell in cells[:6]}
    assert keys["PSNR dB"] == ""
    assert float(keys["median latency ms [95 % interval]"]) == 4.0
    assert float(keys["speed-up"]) == 1.0


def test_pictures_of_one_image_stand_together_with_their_psnr(line_page):
    assert [image["alt"] for image in line_page.all_of("img")] == [
        "cat, degraded",
        "cat, sharp",
        "dog, degraded",
    ]
    assert "20.12 dB" in line_page.text


def test_a_picture_that_is_no_png_is_refused(page_of, line):
    with pytest.raises(DataError, match="picture 'sharp' of 'cat' is not a PNG"):
        page_of(line, [Picture("cat", "sharp", b"\xff\xd8\xff")])


def test_telemetry_and_profiles_have_their_place_on_the_page(phone_page):
    text = phone_page.said()
    assert "181 of 198 (91 %)" in text
    assert "int8-opt-arm-cpu: 9 ReduceMean: axes are not constant" in text
    assert "Conv (a partition) xnnpack 4" in text
    assert "1 launch did not end well" in text
    assert "the low-memory killer ended it" in text


def test_what_was_not_recorded_is_left_out(line_page):
    assert "Who computed it" not in line_page.text
    assert "Where the time goes" not in line_page.text
    assert "No temperature and no frequency was recorded in this session." in line_page.said()


def test_shares_of_the_time_add_up_to_the_whole(phone_text):
    for table in re.findall(r'id="operators-\d+".*?</table>', phone_text, re.DOTALL):
        shares = [float(share) for share in re.findall(r"--share: ([\d.]+)%", table)]
        assert sum(shares) == pytest.approx(100, abs=0.5)


def test_every_column_that_identifies_a_launch_is_in_the_provenance(phone_frames, phone_page):
    assert {*IDENTITY, *RESULTS, *CONDITIONS} == {column.name for column in fields(RunRow)}
    provenance = phone_page.said().partition("Provenance All launches")[2]
    runs = phone_frames.runs
    for column in set(IDENTITY) - {"schema_version", "mode"}:
        for value in runs[column].dropna().unique():
            shown = f"{value:,}".replace(",", " ") if isinstance(value, Integral) else str(value)
            assert shown in provenance.replace("\u202f", " ") or value in (True, False), column


def test_what_the_rows_lack_is_named_once_or_left_out(phone_frames):
    """Results of other tools know neither the file nor when it ran."""
    runs = phone_frames.runs.copy()
    unknown = ["model_bytes", "peak_rss_bytes", "psnr_db", "ssim", "seed", "session_create_ns"]
    unknown += ["started_at_utc", "model_sha256", "provider", "intra_op_threads", "nodes_total"]
    for column in unknown:
        runs[column] = pd.Series(pd.NA, index=runs.index, dtype=runs[column].dtype)
    text = Page(page_from(replace(phone_frames, runs=runs))).said()
    assert "Not recorded" in text.partition("Provenance All launches")[2]
    assert not {"nan", "<na>", "nat"} & set(text.lower().split())
    assert "Smallest file" not in text


def test_every_known_fact_of_the_device_is_in_the_provenance(phone_frames, phone_page):
    device = phone_frames.devices.iloc[0]
    for column in fields(DeviceRow):
        value = device[column.name]
        if isinstance(value, str) and not pd.isna(value):
            assert value in phone_page.said()


def test_headings_go_down_one_level_at_a_time(phone_page):
    levels = [int(tag[1]) for tag, _ in phone_page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(deeper <= level + 1 for level, deeper in pairwise(levels))


def test_every_heading_of_a_table_has_its_scope_and_every_picture_its_words(phone_page):
    assert {heading["scope"] for heading in phone_page.all_of("th")} == {"col", "row"}
    assert all(svg["aria-label"] for svg in phone_page.all_of("svg"))


def test_ids_are_there_once_and_links_lead_to_them(phone_page):
    ids = [attributes["id"] for _, attributes in phone_page.tags if "id" in attributes]
    outside = [name for name in ids if not re.fullmatch(r"[mpC]+[0-9a-f_]{8,}", name)]
    assert len(outside) == len(set(outside))
    assert {link["href"].removeprefix("#") for link in phone_page.all_of("a")} <= set(outside)


def test_a_page_of_four_graphs_is_small(phone_text):
    assert len(phone_text.encode()) < 1_000_000


@pytest.mark.slow
def test_a_page_of_ten_thousand_launches_is_bearable(phone_frames):
    assert len(page_from(repeated(phone_frames, 300)).encode()) < 5_000_000


def repeated(frames: Frames, times: int) -> Frames:
    """Give the rows so many times over, every time with runs and blocks of its own."""

    def again(table: pd.DataFrame, number: int) -> pd.DataFrame:
        changed = {"run_id": table["run_id"].astype(str) + f"-{number}"}
        if "block" in table:
            changed["block"] = table["block"] + 100 * number
        return table.assign(**changed)

    many = {
        name: pd.concat([again(table, number) for number in range(times)], ignore_index=True)
        for name, table in (
            ("runs", frames.runs),
            ("samples", frames.samples.groupby("run_id", observed=True).head(6)),
            ("memory_samples", frames.memory_samples),
            ("telemetry", frames.telemetry.groupby("run_id", observed=True).head(6)),
            ("ops", frames.ops),
        )
    }
    return Frames(**many, counts=frames.counts, devices=frames.devices)
