import re
from xml.etree import ElementTree

import numpy as np
import pytest

from reports.compare import summarize
from reports.frame import load
from reports.plots import PALETTE, draw_all


@pytest.fixture
def draw(write_session):
    def drawn(*args, **options):
        frames = load(write_session(*args, **options))
        return draw_all(frames, summarize(frames))

    return drawn


def test_every_plot_is_one_svg_element_that_names_each_graph(draw, line):
    plots = draw(line)
    assert len(plots) == 5
    for plot in plots:
        root = ElementTree.fromstring(plot.svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        texts = {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
        assert set(line) <= texts


def test_the_same_rows_give_the_same_bytes(write_session, line):
    frames = load(write_session(line))
    summary = summarize(frames)
    assert draw_all(frames, summary) == draw_all(frames, summary)


def test_a_plot_leaves_the_page_around_it_alone(draw, line):
    for plot in draw(line):
        assert "<style" not in plot.svg
        assert "<?xml" not in plot.svg
        assert not re.search(r'href="(?!#)', plot.svg)


def test_text_takes_the_colour_of_the_page(draw, line):
    for plot in draw(line):
        texts = re.findall(r"<text [^>]*>", plot.svg)
        assert texts
        assert all("fill: currentColor" in text for text in texts)


def test_a_name_with_a_tag_or_a_formula_stays_text(draw):
    name = '<b>&$\\frac{x}$"'
    for plot in draw({name: {"latency_ms": 4.0}}):
        texts = [text.text for text in ElementTree.fromstring(plot.svg).iter() if text.text]
        assert name in texts


def test_nothing_measured_leaves_the_file_sizes(draw):
    failed = {("plain", block): "crash" for block in range(8)}
    plots = draw({"plain": {"latency_ms": 4.0}}, failed=failed)
    assert [plot.title for plot in plots] == ["File size"]


def test_without_quality_there_is_no_accuracy_plot(draw):
    plots = draw({"plain": {"latency_ms": 4.0, "psnr_db": None}})
    assert "Accuracy against latency" not in [plot.title for plot in plots]


def test_more_graphs_than_colours_can_be_drawn(draw):
    cases = {f"graph-{place}": {"latency_ms": 4.0} for place in range(len(PALETTE) + 2)}
    assert len(draw(cases, launches=2)) == 5


def luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("page", ["#ffffff", "#14171b"])
@pytest.mark.parametrize("colour", PALETTE)
def test_each_colour_stands_out_on_both_pages(colour, page):
    dark, light = sorted([luminance(colour), luminance(page)])
    assert (light + 0.05) / (dark + 0.05) >= 3
