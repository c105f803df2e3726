import pytest

from deploy.errors import RowsError, UsageError
from reports.exporters import to_markdown
from reports.frame import load
from reports.presets import PRESETS, Printed, find_preset, preset_table


@pytest.fixture
def frames_of(write_session):
    return lambda *args, **options: load(write_session(*args, **options))


@pytest.fixture
def thesis_rows(frames_of):
    """Two of the thesis' networks as they were measured: both stages, by both providers."""
    cases = {}
    for model, scale in (("nafnet-32-36-local", 10.0), ("nafnet-16-18-local", 1.0)):
        for kind, ms, mib in (("plain", 40.0, 200), ("int8-opt-arm-cpu", 20.0, 100)):
            for provider in ("cpu", "nnapi"):
                cases[f"{model} {kind} {provider}"] = {
                    "latency_ms": ms * scale,
                    "model": model,
                    "kind": kind,
                    "provider": provider,
                    "peak_native_heap_bytes": mib * 2**20,
                }
    return frames_of(cases, spread=0.0)


def headers(grid):
    return [column.header for column in grid.columns]


def table(grid):
    return to_markdown(grid).split("\n\n")[1]


def test_inference_time_before_and_after_has_the_shape_of_the_thesis(thesis_rows):
    assert table(preset_table(thesis_rows, find_preset("thesis-6.2"))) == (
        """\
| model             | Default, CPU, latency ms | Default, GPU (NNAPI), latency ms \
| Quantized + optimized, CPU, latency ms | Quantized + optimized, GPU (NNAPI), latency ms |
| ----------------- | -----------------------: | -------------------------------: \
| -------------------------------------: | ---------------------------------------------: |
| NAFNetLocal-32-36 |           400 [400, 400] |                   400 [400, 400] \
|                         200 [200, 200] |                                 200 [200, 200] |
| NAFNetLocal-16-18 |        40.0 [40.0, 40.0] |                40.0 [40.0, 40.0] \
|                      20.0 [20.0, 20.0] |                              20.0 [20.0, 20.0] |"""
    )


def test_memory_before_and_after_is_of_the_native_heap(thesis_rows):
    grid = preset_table(thesis_rows, find_preset("thesis-6.3"))
    assert headers(grid)[1] == "Default, CPU, native heap MiB"
    assert [cell.value for cell in grid.rows[0][1:]] == [200, 200, 100, 100]


def test_without_a_native_heap_resident_memory_stands_in_and_says_so(frames_of):
    frames = frames_of({"plain": {"latency_ms": 4.0}})
    grid = preset_table(frames, find_preset("thesis-6.3"))
    assert headers(grid)[1] == "Default, CPU, peak memory MiB"
    assert any("resident memory stands in" in remark for remark in grid.remarks)


def test_columns_that_nothing_was_measured_for_are_named(frames_of):
    grid = preset_table(frames_of({"plain": {"latency_ms": 4.0}}), find_preset("thesis-6.2"))
    assert grid.remarks[0] != ""
    assert (
        "Nothing was measured for: Default, GPU (NNAPI); Quantized + optimized, CPU; "
        "Quantized + optimized, GPU (NNAPI)."
    ) in grid.remarks


def test_the_rows_of_the_paper_come_first_in_its_order(frames_of):
    models = ("zebra", "nafnet-tiny", "pmrid-mofa", "pmrid")
    frames = frames_of({m: {"latency_ms": 4.0, "model": m, "kind": "fp32"} for m in models})
    grid = preset_table(frames, find_preset("mofa-4"))
    assert [row[0].text for row in grid.rows] == ["PMRID", "PMRID_mofa", "NAFNet"]
    assert "Measured too, and not of this table: zebra." in grid.remarks
    assert headers(grid) == ["model", "latency ms", "params M", "MACs G", "PSNR dB", "SSIM"]


def test_the_ablation_ticks_its_tricks(frames_of):
    models = ("mofa-1-row1", "mofa-1-row3", "mofa-1-row8")
    frames = frames_of({m: {"latency_ms": 4.0, "model": m, "kind": "fp32"} for m in models})
    grid = preset_table(frames, find_preset("mofa-1"))
    ticks = ["".join(cell.text or "." for cell in row[1:6]) for row in grid.rows]
    assert ticks == [".....", "✓✓...", "✓✓✓✓✓"]


def test_what_the_paper_prints_stands_beside_and_is_called_so(thesis_rows):
    printed = Printed("thesis, Table 6.3", {"cpu_mb": {"nafnet-32-36-local": "190"}})
    grid = preset_table(thesis_rows, find_preset("thesis-6.3"), printed=printed)
    ours, paper = headers(grid)[1:5], headers(grid)[5:]
    assert len(ours) == len(paper) == 4
    assert all(header.startswith("printed in the paper, ") for header in paper)
    assert [row[7].text for row in grid.rows] == ["190", "–"]
    assert grid.remarks[-1] == "Printed in the paper, not measured here: thesis, Table 6.3."


def test_without_being_asked_for_nothing_of_the_paper_is_there(thesis_rows):
    grid = preset_table(thesis_rows, find_preset("thesis-6.3"))
    assert not any("printed" in header for header in headers(grid))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_takes_any_rows(line_session, name):
    grid = preset_table(load(line_session), find_preset(name))
    assert [row[0].text for row in grid.rows] == ["net"]
    assert all(len(row) == len(grid.columns) for row in grid.rows)


def test_a_preset_without_a_provider_in_it_refuses_two(thesis_rows):
    with pytest.raises(RowsError, match="whose provider differs: cpu and nnapi"):
        preset_table(thesis_rows, find_preset("mofa-4"))
    assert preset_table(thesis_rows, find_preset("mofa-4"), where={"provider": "cpu"}).rows


def test_an_unknown_preset_is_answered_with_the_list():
    with pytest.raises(UsageError, match=r"unknown preset 'mofa-5': use one of mofa-1, mofa-4"):
        find_preset("mofa-5")
