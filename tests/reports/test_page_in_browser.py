"""The page in a real browser, as a reader has it: mouse, keyboard, phone, night and paper."""

import io
from dataclasses import replace

import numpy as np
import pytest
import screenshot
from browser import browser_page, find_chromium
from phone_rows import phone_rows
from PIL import Image
from session_rows import write_rows

from reports.html import Picture
from reports.report import build_report

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt install chromium"),
]

LATENCY = "#cases thead th:nth-child(2)"


def png() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(written, "png")
    return written.getvalue()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    session = write_rows(folder / "phone", phone_rows())
    pictures = [Picture("cat", "degraded", png(), 20.1), Picture("cat", "sharp", png())]
    return build_report([session], folder / "out", pictures).html


@pytest.fixture(scope="module")
def browser():
    with browser_page(CHROMIUM) as page:
        yield page


@pytest.fixture
def page(browser, report):
    """The report, freshly opened on a desk in daylight."""
    browser.emulate()
    browser.resize(1200, 900)
    browser.open(report)
    return browser


def first_cells(page) -> list[str]:
    return page.evaluate(
        "[...document.querySelectorAll('#cases tbody th')].map((cell) => cell.textContent.trim())"
    )


def latencies(page) -> list[float]:
    keys = page.evaluate(
        "[...document.querySelectorAll('#cases tbody tr')].map((row) => row.cells[1].dataset.key)"
    )
    return [float(key) for key in keys]


def sort_order(page) -> str | None:
    return page.evaluate(f"document.querySelector({LATENCY!r}).getAttribute('aria-sort')")


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(page):
    before = latencies(page)
    page.click(f"{LATENCY} button")
    assert (latencies(page), sort_order(page)) == (sorted(before), "ascending")
    page.click(f"{LATENCY} button")
    assert (latencies(page), sort_order(page)) == (sorted(before, reverse=True), "descending")


@pytest.mark.parametrize(("key", "text"), [("Enter", "\r"), (" ", " ")])
def test_the_keyboard_reaches_a_heading_and_sorts(page, key, text):
    before = latencies(page)
    reached = f"document.activeElement === document.querySelector({LATENCY!r} + ' button')"
    for _ in range(60):
        page.press("Tab")
        if page.evaluate(reached):
            break
    page.press(key, text)
    assert (latencies(page), sort_order(page)) == (sorted(before), "ascending")


def test_what_has_the_focus_can_be_seen(page):
    page.evaluate(f"document.querySelector({LATENCY!r} + ' button').focus()")
    page.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"


def test_the_column_of_names_sorts_back_into_the_order_of_the_line(page):
    before = first_cells(page)
    page.click(f"{LATENCY} button")
    page.click("#cases thead th:first-child button")
    assert first_cells(page) == before


def test_nothing_is_wrong_and_nothing_is_asked_of_the_network(page):
    page.click(f"{LATENCY} button")
    asked = [event["request"]["url"] for event in page.named("Network.requestWillBeSent")]
    assert asked
    assert not [url for url in asked if not url.startswith(("file:", "data:"))]
    for event in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
        assert page.named(event) == []


def test_the_policy_lets_no_other_script_run(page):
    page.evaluate(
        "const evil = document.createElement('script');"
        "evil.textContent = 'window.evil = true'; document.body.append(evil)"
    )
    assert page.evaluate("window.evil") is None


@pytest.mark.parametrize("width_px", [320, 390, 768, 1200])
def test_there_is_nothing_to_scroll_sideways(page, width_px):
    page.resize(width_px, 844)
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px


def test_no_table_is_cut_off_on_a_phone(page):
    page.resize(390, 844)
    cut_off = (
        "[...document.querySelectorAll('.scroll')]"
        ".filter((box) => box.scrollWidth > box.clientWidth).length"
    )
    assert page.evaluate(cut_off) == 0


def test_names_without_end_do_not_widen_the_page(browser, tmp_path):
    endless = "x" * 300
    rows = phone_rows(launches=3, samples=4, model=endless, fusion=endless)
    rows["runs"] = [replace(run, kind=f"{run.kind}-{endless}") for run in rows["runs"]]
    rows["ops"] = [replace(row, op_type=endless) for row in rows["ops"]]
    session = write_rows(tmp_path / "phone", rows)
    browser.resize(390, 844)
    browser.open(build_report([session], tmp_path / "out").html)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_phone_shows_a_row_as_a_block_that_can_be_sorted(page):
    page.resize(390, 844)
    before = latencies(page)
    page.click(f"{LATENCY} button")
    assert latencies(page) == sorted(before)
    assert page.evaluate("getComputedStyle(document.querySelector('#cases tbody tr')).display") == (
        "block"
    )


@pytest.mark.parametrize(("scheme", "light"), [("light", True), ("dark", False)])
def test_the_page_and_its_plots_follow_day_and_night(page, scheme, light):
    page.emulate(scheme=scheme)
    page.evaluate("document.querySelector('.plot').scrollIntoView()")
    shown = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"))
    assert (np.median(shown) > 128) == light
    assert np.mean((shown > 128) != light) < 0.15  # no box of the other kind


def test_paper_is_white_also_for_who_likes_the_dark(page):
    page.emulate(media="print", scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_paper_shows_what_is_folded_on_the_screen(page):
    folded = "document.querySelector('details:not([open]) pre').checkVisibility({})"
    assert page.evaluate(folded.replace("{}", "{contentVisibilityAuto: true}")) is False
    page.emulate(media="print")
    assert page.evaluate(folded) is True


def test_the_page_without_its_script_shows_the_same_rows(page, browser, report):
    before = first_cells(page)
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(report)
        assert first_cells(page) == before
        assert page.evaluate("document.querySelectorAll('th button').length") == 0
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_the_picture_for_the_readme_is_small(report, tmp_path, capsys):
    picture = tmp_path / "docs" / "report.png"
    assert screenshot.main([str(report), str(picture)]) == 0
    assert Image.open(picture).size == (1200, 1290)
    assert picture.stat().st_size < 200_000
    assert capsys.readouterr().out.startswith(str(picture))


def test_a_picture_of_a_page_that_is_not_there_says_what_to_do(tmp_path, capsys):
    assert screenshot.main([str(tmp_path / "no.html"), str(tmp_path / "no.png")]) == 1
    assert "run `mofa-deploy report` first" in capsys.readouterr().err
