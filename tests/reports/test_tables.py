import io
import re

import pandas as pd
import pytest
from rich.console import Console

from reports.compare import add_speed_ups, speed_ups, summarize
from reports.frame import load
from reports.tables import (
    COLUMNS,
    DASH,
    ComparisonTable,
    comparison_table,
    render_markdown,
    render_rich,
    superscript,
)


@pytest.fixture
def table_of(write_session):
    def table(*args, **options):
        frames = load(write_session(*args, **options))
        return comparison_table(add_speed_ups(summarize(frames), speed_ups(frames)), frames)

    return table


def test_a_session_without_noise_renders_as_this(table_of):
    cases = {
        "plain": {"latency_ms": 40.0},
        "fp32": {"latency_ms": 32.0, "psnr_db": None, "ssim": None},
        "int8-x86": {"latency_ms": 50.0, "target": "x86", "psnr_db": 30.25},
        "int8-arm-cpu": {"latency_ms": 16.0, "target": "arm-cpu", "model_bytes": 2**19},
    }
    failed = {("int8-arm-cpu", 1): "crash", ("int8-arm-cpu", 2): "timeout"}
    table = table_of(cases, spread=0.0, failed=failed)
    assert render_markdown(table) == (
        "net on desk (Some CPU, 2 cores, x86_64), 2 threads, cpu provider, onnxruntime 1.2.3, "
        "6 to 8 launches of each graph. Measured on this machine, not on a phone.\n"
        """
| graph            | median latency ms [95 % interval] |              speed-up | peak memory MiB (added) | PSNR dB |   SSIM | file MiB |
| ---------------- | --------------------------------: | --------------------: | ----------------------: | ------: | -----: | -------: |
| plain            |                 40.0 [40.0, 40.0] |                    1× |               120 (+80) |   30.50 | 0.8712 |     1.50 |
| fp32             |                 32.0 [32.0, 32.0] |    1.25× [1.25, 1.25] |               120 (+80) |       – |      – |     1.50 |
| int8-arm-cpu ¹ ² |                 16.0 [16.0, 16.0] |    2.50× [2.50, 2.50] |               120 (+80) |   30.50 | 0.8712 |     0.50 |
| int8-x86 ³       |                 50.0 [50.0, 50.0] | 0.800× [0.800, 0.800] |               120 (+80) |   30.25 | 0.8712 |     1.50 |

- ¹ 2 of 8 launches failed (crash: 1, timeout: 1)
- ² made for arm-cpu; its time on x86 says nothing about a phone
- ³ slower than plain on this machine
- Latency is the median over launches of each launch's median.
- Speed-up is against plain, paired block by block; above 1 is faster.
- Memory in brackets: what the peak adds to the process before the model loads.
- PSNR and SSIM are of held-out images, measured when each file was made.
- Degraded input: PSNR 20.70 dB, SSIM 0.4300.
"""  # noqa: E501
    )


def notes_of(table):
    return "\n".join(table.notes)


def test_what_holds_for_all_graphs_is_said_once_and_unmarked(table_of):
    cases = {"plain": {"latency_ms": 40.0}, "fp32": {"latency_ms": 20.0}}
    table = table_of(cases, launches=2, spread=0.0)
    assert list(table.cells["graph"]) == ["plain", "fp32"]
    assert table.notes[0] == "All graphs: 2 launches only: no interval below 3"


def test_a_few_launches_have_an_interval_and_a_warning(table_of):
    table = table_of({"plain": {"latency_ms": 40.0}}, launches=4)
    assert "¹ 4 launches only: below 5 the interval is too narrow" in table.notes


def test_a_case_without_a_good_launch_has_dashes_and_says_so(table_of):
    failed = {("fp32", block): "load_error" for block in range(8)}
    table = table_of({"plain": {"latency_ms": 4.0}, "fp32": {"latency_ms": 2.0}}, failed=failed)
    assert list(table.cells.iloc[1])[:4] == ["fp32 ¹ ²", DASH, DASH, DASH]
    assert "8 of 8 launches failed (load_error: 8)" in notes_of(table)
    assert "nothing was measured" in notes_of(table)


def test_a_baseline_that_never_ran_is_not_once_as_fast_as_itself(table_of):
    cases = {"plain": {"latency_ms": 40.0}, "fp32": {"latency_ms": 32.0}}
    failed = {("plain", block): "crash" for block in range(3)}
    table = table_of(cases, launches=3, failed=failed)
    assert list(table.cells["speed-up"]) == [DASH, DASH]


def test_an_undecided_speed_up_is_called_so(table_of):
    cases = {"plain": {"latency_ms": 4.0}, "fp32": {"latency_ms": 4.0}}
    table = table_of(cases, spread=0.1)
    assert "not shown to differ from plain: the interval holds 1" in notes_of(table)


def test_without_a_baseline_the_table_says_why_there_is_no_speed_up(table_of):
    table = table_of({"fp32": {"latency_ms": 4.0}})
    assert table.cells["speed-up"].iloc[0] == DASH
    assert "No plain graph was measured, so there is no speed-up." in table.notes


def test_quality_is_not_spoken_of_where_none_was_measured(table_of):
    table = table_of({"plain": {"latency_ms": 4.0, "psnr_db": None, "degraded_psnr_db": None}})
    assert "PSNR" not in notes_of(table)


def test_a_phone_is_not_called_this_machine(table_of, phone):
    table = table_of({"plain": {"latency_ms": 4.0}}, device=phone)
    assert "not on a phone" not in table.caption


def test_a_graph_made_for_x86_says_nothing_when_it_runs_on_a_phone(table_of, phone):
    table = table_of({"int8-x86": {"latency_ms": 4.0, "target": "x86"}}, device=phone)
    assert "made for x86; its time on arm-cpu says nothing about x86" in notes_of(table)


def test_what_of_a_graph_fused_is_told_below_the_table(table_of):
    cases = {
        "plain": {"latency_ms": 40},
        "int8-opt-x86": {"latency_ms": 20, "fusion": "9 of 9 operators in integers"},
    }
    table = table_of(cases)
    assert "int8-opt-x86: 9 of 9 operators in integers." in table.notes


def test_footnotes_past_nine_keep_their_digits():
    assert superscript(12) == "¹²"


def hostile(label: str) -> ComparisonTable:
    cells = pd.DataFrame([[label, *[DASH] * 6]], columns=list(COLUMNS), dtype="string")
    return ComparisonTable("caption", cells, ())


def test_a_name_cannot_open_a_cell_a_tag_or_a_line_in_markdown():
    markdown = render_markdown(hostile("a|b <script>\nc"))
    assert r"| a\|b &lt;script> c |" in markdown
    assert len(markdown.splitlines()) == 6


def test_a_name_is_not_taken_for_rich_markup():
    console = Console(file=io.StringIO(), width=120)
    console.print(render_rich(hostile("[bold]net[/bold]")))
    assert "[bold]net[/bold]" in console.file.getvalue()


def test_the_terminal_table_keeps_each_value_whole_in_80_columns(table_of, line):
    line = {**line, "int8-opt-arm-cpu": {"latency_ms": 9.0, "target": "arm-cpu"}}
    table = table_of(line, failed={("int8-opt-arm-cpu", 0): "crash"})
    console = Console(file=io.StringIO(), width=80)
    console.print(render_rich(table))
    printed = console.file.getvalue()
    for cell in table.cells.to_numpy().ravel():
        assert all(part in printed for part in re.split(r" (?=[\[(¹²³])", cell)), cell
