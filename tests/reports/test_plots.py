import re
import warnings
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from phone_rows import phone_rows
from session_rows import make_rows, write_rows
from skimage.color import deltaE_ciede2000, rgb2lab

from reports.frame import load
from reports.plots import draw_all
from reports.plots.cases import MAX_CASES, drawn_cases, thinned
from reports.plots.distribution import sample_ecdf
from reports.plots.launches import launch_strip
from reports.plots.quality import accuracy_against_latency, pareto_front
from reports.plots.style import DARK, LIGHT
from reports.plots.timeline import latency_over_time
from reports.summary import summarize

LINE = ("plain", "fp32", "int8-x86", "int8-opt-x86")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def frames_of(write_session):
    """Load a session of these cases with its summary."""

    def loaded(*args, **options):
        frames = load(write_session(*args, **options))
        return frames, summarize(frames)

    return loaded


@pytest.fixture(scope="module")
def line_plots(tmp_path_factory):
    rows = make_rows({kind: {"latency_ms": 9.0 - place} for place, kind in enumerate(LINE)})
    frames = load(write_rows(tmp_path_factory.mktemp("line"), rows))
    return draw_all(frames, summarize(frames))


@pytest.fixture(scope="module")
def phone_plots(tmp_path_factory):
    frames = load(write_rows(tmp_path_factory.mktemp("phone"), phone_rows()))
    return {plot.title: plot for plot in draw_all(frames, summarize(frames))}


@pytest.fixture
def over_time(tmp_path):
    """Draw latency over time from a phone's rows."""

    def drawn(rows, name="one"):
        frames = load(write_rows(tmp_path / name, rows))
        (plot,) = latency_over_time(frames, summarize(frames))
        return plot

    return drawn


def texts_of(plot):
    return [text.text for text in ElementTree.fromstring(plot.svg).iter(f"{SVG}text")]


def test_every_plot_is_one_svg_element_that_names_each_graph(line_plots):
    assert len(line_plots) == 6
    for plot in line_plots:
        assert ElementTree.fromstring(plot.svg).tag == f"{SVG}svg"
        assert set(LINE) <= set(texts_of(plot)), plot.title


def test_a_plot_says_in_words_what_it_shows(line_plots):
    for plot in line_plots:
        said = ElementTree.fromstring(plot.svg).get("aria-label")
        assert all(name in said for name in LINE if name != "plain")
        assert re.search(r"\d (ms|MiB|dB)", said)


def test_the_same_rows_give_the_same_bytes(frames_of):
    frames, summary = frames_of({"plain": {"latency_ms": 4.0}, "fp32": {"latency_ms": 3.0}})
    assert draw_all(frames, summary) == draw_all(frames, summary)


def test_a_plot_leaves_the_page_around_it_alone(line_plots):
    for plot in line_plots:
        assert "<style" not in plot.svg
        assert "<?xml" not in plot.svg
        assert not re.search(r'href="(?!#)', plot.svg)


def test_every_colour_is_the_pages_own(phone_plots):
    for plot in phone_plots.values():
        colours = re.findall(r"(?:fill|stroke): ([^;\"]+)", plot.svg)
        assert colours
        assert {colour for colour in colours if not colour.startswith("var(--")} <= {"none"}


def test_a_name_with_a_tag_or_a_formula_stays_text(frames_of):
    name = '<b>&$\\frac{x}$"'
    for plot in draw_all(*frames_of({name: {"latency_ms": 4.0}})):
        assert any(name in text for text in texts_of(plot)), plot.title


def test_a_name_in_any_script_is_drawn_without_a_warning(frames_of):
    name = "模型-réseau-שלום-🌊"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots = draw_all(*frames_of({name: {"latency_ms": 4.0}}))
    assert name in texts_of(plots[0])


def test_nothing_measured_leaves_the_file_sizes(frames_of):
    failed = {("plain", block): "crash" for block in range(8)}
    plots = draw_all(*frames_of({"plain": {"latency_ms": 4.0}}, failed=failed))
    assert [plot.title for plot in plots] == ["File size"]


def test_without_quality_there_is_no_accuracy_plot(frames_of):
    frames, summary = frames_of({"plain": {"latency_ms": 4.0, "psnr_db": None}})
    assert accuracy_against_latency(frames, summary) is None


def test_more_graphs_than_colours_can_be_drawn(frames_of):
    cases = {f"graph-{place}": {"latency_ms": 4.0} for place in range(len(LIGHT) + 2)}
    assert set(cases) <= set(texts_of(launch_strip(*frames_of(cases, launches=2))))


def test_more_graphs_than_fit_are_counted_in_the_note(frames_of):
    cases = {f"graph-{place:02d}": {"latency_ms": 4.0} for place in range(MAX_CASES + 3)}
    frames, summary = frames_of(cases, launches=1)
    for draw in (launch_strip, sample_ecdf, accuracy_against_latency):
        assert f"The first {MAX_CASES} of {MAX_CASES + 3} graphs." in draw(frames, summary).note


def test_temperature_and_frequency_stand_under_the_latency(phone_plots):
    plot = phone_plots["Over time"]
    assert {"°C", "GHz", "skin", "battery", "cpu7", "throttled"} <= set(texts_of(plot))
    assert "Highest thermal status that the system told: moderate." in plot.note


def test_cores_that_share_a_clock_are_one_line(phone_plots):
    plot = phone_plots["Over time"]
    assert "cpu0" in texts_of(plot)
    assert "cpu1" not in texts_of(plot)


def test_without_sensors_the_note_says_so(over_time):
    plot = over_time(phone_rows(launches=3, samples=8) | {"telemetry": []})
    assert "No temperature and no frequency was recorded" in plot.note
    assert "°C" not in texts_of(plot)


def test_a_launch_stands_where_the_host_started_it(over_time):
    """A device that was started again counts its clock from zero."""
    rows = phone_rows(launches=4, samples=8)
    before = over_time(rows, "before")
    again = {run.run_id for run in rows["runs"] if run.block >= 2}
    for name, clock in (("samples", "t_start_ns"), ("telemetry", "t_ns")):
        rows[name] = [
            replace(row, **{clock: getattr(row, clock) - 80_000_000_000_000})
            if row.run_id in again
            else row
            for row in rows[name]
        ]
    assert over_time(rows, "after") == before


def test_many_samples_are_drawn_as_medians_over_time(over_time):
    plot = over_time(phone_rows(launches=8, samples=200))
    assert plot.note.startswith("The median of steady inferences over time")
    assert len(plot.svg) < 100_000


def test_the_memory_of_a_launch_has_its_phases_and_peaks(phone_plots):
    timeline = phone_plots["Memory over one launch"]
    texts = " ".join(texts_of(timeline))
    assert "plain: peak 390 MiB" in texts
    for phase in ("baseline", "loaded", "first", "steady"):
        assert phase in texts


def test_without_a_sampler_there_is_no_memory_timeline(line_plots):
    assert "Memory over one launch" not in {plot.title for plot in line_plots}


def test_the_front_is_what_no_other_graph_beats(frames_of):
    _, summary = frames_of(
        {
            "plain": {"latency_ms": 40.0, "psnr_db": 31.0},
            "fp32": {"latency_ms": 30.0, "psnr_db": 31.0},
            "int8-x86": {"latency_ms": 50.0, "psnr_db": 30.0},
            "int8-opt-x86": {"latency_ms": 10.0, "psnr_db": 30.0},
            "int8-arm-cpu": {"latency_ms": 1.0, "psnr_db": 40.0, "target": "arm-cpu"},
        },
        spread=0.0,
    )
    front = pareto_front(drawn_cases(summary))
    assert [case.label for case in front] == ["int8-opt-x86", "fp32"]


def test_thinning_keeps_the_order_and_the_extremes():
    values = np.r_[np.arange(1000.0), -5.0, np.arange(1000.0), 5000.0, np.arange(10.0)]
    kept = thinned(values, 50)
    assert kept.size <= 52
    assert {-5.0, 5000.0} <= set(kept)
    assert list(kept[:2]) == [0.0, 41.0]


def linear(colour: str) -> np.ndarray:
    """Give red, green and blue as light, after IEC 61966-2-1 (sRGB)."""
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    """WCAG 2.1, relative luminance."""
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize(
    ("colour", "page"),
    [(colour, "#ffffff") for colour in LIGHT] + [(colour, "#14171b") for colour in DARK],
)
def test_text_in_each_colour_can_be_read_on_its_page(colour, page):
    dark, light = sorted([luminance(colour), luminance(page)])
    assert (light + 0.05) / (dark + 0.05) >= 4.5


# Machado, Oliveira and Fernandes, "A Physiologically-based Model for Simulation of Color Vision
# Deficiency", IEEE TVCG 15(6), 2009, severity 1.0: what of each channel such an eye sees.
EYES = {
    "all cones": np.eye(3),
    "no red cones": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no green cones": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def seen(colour: str, eye: str) -> np.ndarray:
    """Give a colour in CIELAB as this eye sees it."""
    light = np.clip(EYES[eye] @ linear(colour), 0, 1)
    srgb = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return rgb2lab(srgb)


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_any_two_colours_can_be_told_apart_by_any_eye(palette, eye):
    pairs = combinations([seen(colour, eye) for colour in palette], 2)
    assert min(deltaE_ciede2000(one, other) for one, other in pairs) > 15
