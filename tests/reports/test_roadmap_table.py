import math

import pytest

from deploy.errors import RowsError
from reports.frame import load
from reports.roadmap import Step, fastest, render_markdown, roadmap_table

STEPS = (
    Step("baseline", "net", 1_031_000_000, 1_035_000_000, 288_691),
    Step("partial", "net-partial", 1_227_000_000, 1_231_000_000, 343_000),
    Step("depthwise", "net-depthwise", 912_000_000, 937_000_000, 222_000),
)


def cases(**latency_ms):
    """The kinds tell the cases of a session apart; in a roadmap the models do, too."""
    return {
        step.name: {"latency_ms": latency_ms[step.name], "model": step.model}
        for step in STEPS
        if step.name in latency_ms
    }


@pytest.fixture
def frames(write_session):
    return load(write_session(cases(baseline=100.0, partial=120.0, depthwise=80.0)))


def test_each_step_is_a_row_with_its_counts_and_times(frames):
    table = roadmap_table(frames, STEPS)
    assert list(table["step"]) == ["baseline", "partial", "depthwise"]
    assert list(table["macs_g"]) == [1.031, 1.227, 0.912]
    assert table["latency_median_ms"].tolist() == pytest.approx([100, 120, 80], rel=0.05)
    assert table["speed_up"].tolist() == pytest.approx([1, 100 / 120, 100 / 80], rel=0.05)


def test_the_interval_of_a_speed_up_holds_it(frames):
    row = roadmap_table(frames, STEPS).set_index("step").loc["depthwise"]
    assert row["speed_up_ci_low"] < row["speed_up"] < row["speed_up_ci_high"]


def test_a_step_without_trained_weights_has_a_dash_and_no_number(write_session):
    described = cases(baseline=100.0, partial=120.0, depthwise=80.0)
    described["depthwise"] |= {"psnr_db": None, "ssim": None}
    table = roadmap_table(load(write_session(described)), STEPS)
    assert math.isnan(table.set_index("step").loc["depthwise", "psnr_db"])
    last = render_markdown(table).splitlines()[-1]
    assert last.endswith("| – | – |")
    assert "30.50" in render_markdown(table).splitlines()[2]


def test_the_fastest_step_stands_alone_where_the_others_are_clearly_slower(frames):
    best, ties = fastest(frames, STEPS)
    assert (best.name, ties) == ("depthwise", [])


def test_steps_that_cannot_be_told_from_the_fastest_are_named(write_session):
    frames = load(write_session(cases(baseline=100.0, partial=100.2, depthwise=140.0), spread=0.1))
    best, ties = fastest(frames, STEPS)
    assert {best.name, *(step.name for step in ties)} == {"baseline", "partial"}


def test_the_papers_last_step_is_not_always_the_fastest(write_session):
    frames = load(write_session(cases(baseline=100.0, partial=70.0, depthwise=80.0)))
    assert fastest(frames, STEPS)[0].name == "partial"


def test_a_step_that_was_not_measured_is_named(write_session):
    frames = load(write_session(cases(baseline=100.0, partial=120.0)))
    with pytest.raises(RowsError, match="no rows of step depthwise"):
        roadmap_table(frames, STEPS)


def test_the_head_of_the_markdown_is_the_papers_table_with_both_counts(frames):
    head, rule, *rows = render_markdown(roadmap_table(frames, STEPS)).splitlines()
    assert head.startswith("| step | MACs G | paper's count G | params M | latency ms")
    assert rule.count("|") == head.count("|")
    assert rows[0].startswith("| baseline | 1.031 | 1.035 | 0.289 | ")
