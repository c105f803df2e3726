from html.parser import HTMLParser

import pytest

from deploy.errors import DataError
from reports.compare import add_speed_ups, speed_ups, summarize
from reports.frame import load
from reports.html import Picture, render_html
from reports.tables import comparison_table

PNG = b"\x89PNG\r\n\x1a\nrest"
HOSTILE = "<script>alert('x')</script>\"&"


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

    def all_of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def page_of(write_session):
    def page(cases, pictures=(), **options):
        frames = load(write_session(cases, **options))
        summary = add_speed_ups(summarize(frames), speed_ups(frames))
        return render_html(summary, frames, comparison_table(summary, frames), pictures)

    return page


def test_the_page_refers_to_nothing_outside_itself(page_of, line):
    text = page_of(line, [Picture("cat", "degraded", PNG, 20.0)])
    for tag, attributes in Page(text).tags:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        for name in ("src", "href", "xlink:href", "srcset", "action", "poster"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/png;base64,")), (tag, name, value)
    assert "@import" not in text
    assert "url(http" not in text


def test_the_page_holds_every_cell_note_and_hash(page_of, line, write_session):
    text = Page(page_of(line)).text
    frames = load(write_session(line, "s2"))
    summary = add_speed_ups(summarize(frames), speed_ups(frames))
    table = comparison_table(summary, frames)
    for expected in [*table.cells.to_numpy().ravel(), *table.notes, *summary["model_sha256"]]:
        assert expected in text


def test_the_headline_is_the_fastest_graph_made_for_this_machine(page_of, line):
    cases = {**line, "int8-arm-cpu": {"latency_ms": 1.0, "target": "arm-cpu"}}
    text = Page(page_of(cases, spread=0.0)).text
    place = text.index("Fastest graph here")
    assert [word for word in text[place:] if word][1:3] == ["16.000 ms", "int8-opt-x86"]


def test_where_nothing_beats_plain_the_headline_says_so(page_of):
    cases = {"plain": {"latency_ms": 4.0}, "int8-x86": {"latency_ms": 9.0, "target": "x86"}}
    assert "no other graph made for this machine is faster" in Page(page_of(cases)).text


def test_several_models_have_no_one_headline(page_of, line):
    cases = {**line, "other": {"latency_ms": 4.0, "kind": "plain", "model": "net2"}}
    assert "Fastest graph here" not in Page(page_of(cases)).text


def test_a_hostile_name_stays_text_everywhere(page_of):
    case = {"latency_ms": 4.0, "model": HOSTILE, "target": HOSTILE, "model_sha256": HOSTILE}
    picture = Picture(HOSTILE, HOSTILE, PNG)
    page = Page(page_of({"plain": {"latency_ms": 4.0}, HOSTILE: case}, [picture]))
    assert len(page.all_of("script")) == 1  # the page's own
    assert HOSTILE in page.text
    assert [image["alt"] for image in page.all_of("img")] == [f"{HOSTILE}, {HOSTILE}"]


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


def test_pictures_of_one_image_stand_together_with_their_psnr(page_of, line):
    pictures = [
        Picture("cat", "degraded", PNG, 20.123),
        Picture("dog", "degraded", PNG, 21.0),
        Picture("cat", "sharp", PNG),
    ]
    page = Page(page_of(line, pictures))
    assert [image["alt"] for image in page.all_of("img")] == [
        "cat, degraded",
        "cat, sharp",
        "dog, degraded",
    ]
    assert "20.12 dB" in page.text


def test_a_picture_that_is_no_png_is_refused(page_of, line):
    with pytest.raises(DataError, match="picture 'sharp' of 'cat' is not a PNG"):
        page_of(line, [Picture("cat", "sharp", b"\xff\xd8\xff")])
