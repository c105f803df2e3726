import pytest

from deploy.errors import RowsError, UsageError
from reports.exporters import to_markdown
from reports.frame import load
from reports.pivot import pivot
from reports.values import DIMENSIONS, OF_A_COUNTER, VALUES


@pytest.fixture
def frames_of(write_session):
    return lambda *args, **options: load(write_session(*args, **options))


@pytest.fixture
def two_providers(frames_of):
    """A model whose int8 form runs on the CPU and, in part, by NNAPI; its float form falls back."""
    nnapi = {"provider": "nnapi", "nodes_total": 80}
    return frames_of(
        {
            "plain": {"latency_ms": 40.0},
            "int8": {"latency_ms": 20.0},
            "n-plain": {"latency_ms": 44.0, "kind": "plain", "nodes_on_provider": 0, **nnapi},
            "n-int8": {
                "latency_ms": 10.0,
                "kind": "int8",
                "nodes_on_provider": 60,
                "partitions_on_provider": 3,
                **nnapi,
            },
        },
        spread=0.0,
    )


@pytest.fixture(scope="module")
def line_frames(line_session):
    return load(line_session)


def table_below_caption(grid):
    return to_markdown(grid).partition("\n\n")[2]


def cells(grid, column):
    place = [one.header for one in grid.columns].index(column)
    return [row[place].text for row in grid.rows]


def test_any_pivot_renders_as_this(two_providers):
    grid = pivot(two_providers, ["model"], ["provider", "precision"], ["latency", "psnr"])
    assert table_below_caption(grid) == (
        """\
| model | CPU, fp32, latency ms | CPU, fp32, PSNR dB | CPU, int8, latency ms | CPU, int8, PSNR dB \
| NNAPI, fp32, latency ms | NNAPI, fp32, PSNR dB | NNAPI, int8, latency ms | NNAPI, int8, PSNR dB |
| ----- | --------------------: | -----------------: | --------------------: | -----------------: \
| ----------------------: | -------------------: | ----------------------: | -------------------: |
| net   |     40.0 [40.0, 40.0] |              30.50 |     20.0 [20.0, 20.0] |              30.50 \
|     44.0 [44.0, 44.0] ¹ |                30.50 |     10.0 [10.0, 10.0] ² |                30.50 |

- ¹ CPU (NNAPI fell back): NNAPI took none of 80 nodes
- ² NNAPI took 60 of 80 nodes (75 %) in 3 partitions
- Latency is the median over launches of each launch's median [95 % interval].
"""
    )


def test_a_provider_that_fell_back_is_called_the_cpu_in_a_row(two_providers):
    grid = pivot(two_providers, ["kind", "provider"], [], ["latency"])
    assert cells(grid, "provider") == ["CPU", "CPU (NNAPI fell back)", "CPU", "NNAPI"]


def test_a_speed_up_is_against_the_same_provider(two_providers):
    grid = pivot(two_providers, ["kind"], ["provider"], ["speed_up"])
    assert cells(grid, "CPU, speed-up") == ["1×", "2.00× [2.00, 2.00]"]
    assert cells(grid, "NNAPI, speed-up") == ["1×", "4.40× [4.40, 4.40]"]


def test_the_value_of_a_cell_is_not_rounded(frames_of):
    grid = pivot(frames_of({"plain": {"latency_ms": 40.0}}), ["model"], [], ["latency"])
    cell = grid.rows[0][1]
    assert cell.low < cell.value < cell.high
    assert cell.text == f"{cell.value:.2f} [{cell.low:.2f}, {cell.high:.2f}]"


def test_of_several_kinds_in_one_cell_the_last_of_the_line_is_shown(frames_of, line):
    grid = pivot(frames_of(line, spread=0.0), ["model"], ["precision"], ["latency"])
    assert cells(grid, "fp32, latency ms") == ["30.0 [30.0, 30.0]"]
    assert cells(grid, "int8, latency ms") == ["16.0 [16.0, 16.0]"]
    assert list(grid.footnotes) == [
        "shown is fp32 of plain, fp32; kind as an axis shows all",
        "shown is int8-opt-x86 of int8-x86, int8-opt-x86; kind as an axis shows all",
    ]


def test_a_file_made_for_other_hardware_is_not_shown_where_another_fits(frames_of):
    cases = {
        "int8-x86": {"latency_ms": 30.0, "target": "x86"},
        "int8-opt-arm-cpu": {"latency_ms": 9.0, "target": "arm-cpu"},
    }
    grid = pivot(frames_of(cases, spread=0.0), ["model"], [], ["latency"])
    assert cells(grid, "latency ms") == ["30.0 [30.0, 30.0]"]


def test_of_several_sessions_the_newest_is_shown(write_session, rewrite):
    first = write_session({"plain": {"latency_ms": 5.0}}, "s1", spread=0.0)
    second = write_session({"plain": {"latency_ms": 6.0}}, "s0", spread=0.0)
    rewrite(second, "runs", lambda runs: runs.assign(started_at_utc="2026-02-01T00:00:00Z"))
    grid = pivot(load(first, second), ["model"], [], ["latency"])
    assert cells(grid, "latency ms") == ["6.00 [6.00, 6.00]"]
    assert list(grid.footnotes) == ["the newest of 2 sessions"]


def test_wrong_output_is_left_out_and_said(frames_of):
    cases = {
        "plain": {"latency_ms": 5.0},
        "fp32": {"latency_ms": 4.0, "output_ok": False, "output_max_abs_err": 0.25},
    }
    grid = pivot(frames_of(cases, spread=0.0), ["kind"], [], ["latency"])
    assert cells(grid, "latency ms") == ["5.00 [5.00, 5.00]", "–"]
    (note,) = grid.footnotes
    assert note == (
        "left out: its output differs from what the same file gives elsewhere, "
        "by up to 0.25 of its range"
    )


@pytest.mark.parametrize(
    ("case", "options", "note"),
    [
        ({"throttled": True}, {}, "throttled in 8 of 8 launches"),
        ({}, {"launches": 2}, "2 launches only: no interval below 3"),
        ({}, {"launches": 4}, "4 launches only: below 5 the interval is too narrow"),
        (
            {"tool_version": "imported from elsewhere"},
            {"launches": 1},
            "imported from elsewhere: no launches, so no interval",
        ),
        (
            {"tool_version": "imported from x", "status_message": "only the mean is known"},
            {"launches": 1},
            "imported from x: no launches, so no interval; only the mean is known",
        ),
        ({"target": "arm-cpu"}, {}, "made for arm-cpu; its time on x86 says nothing about a phone"),
    ],
)
def test_a_footnote_adds_itself(frames_of, case, options, note):
    frames = frames_of({"plain": {"latency_ms": 5.0, **case}}, **options)
    assert list(pivot(frames, ["model"], [], ["latency"]).footnotes) == [note]


def test_counts_that_rows_lack_are_empty_with_a_footnote(frames_of):
    cases = {"plain": {"latency_ms": 5.0}, "fp32": {"latency_ms": 4.0, "model_params": 285_432}}
    grid = pivot(frames_of(cases), ["kind"], [], ["params"])
    assert cells(grid, "params M") == ["–", "0.285"]
    (note,) = grid.footnotes
    assert note.startswith("no params M: counted at a float file")


def test_a_quantile_without_samples_enough_is_left_out_with_a_footnote(frames_of):
    grid = pivot(frames_of({"plain": {"latency_ms": 5.0}}), ["model"], [], ["p90", "p99"])
    assert cells(grid, "p90 ms") != ["–"]
    assert cells(grid, "p99 ms") == ["–"]
    assert list(grid.footnotes) == ["no p99 ms: it takes 100 samples"]


def test_what_all_rows_say_is_said_once(frames_of):
    cases = {"plain": {"latency_ms": 5.0}, "fp32": {"latency_ms": 4.0}}
    grid = pivot(frames_of(cases, launches=2), ["kind"], [], ["latency"])
    assert not grid.footnotes
    assert grid.remarks[0] == "All: 2 launches only: no interval below 3."


def test_what_holds_in_one_column_only_stays_in_it(two_providers):
    grid = pivot(
        two_providers, ["model", "kind"], ["provider"], ["latency"], where={"kind": "int8"}
    )
    assert list(grid.footnotes) == ["NNAPI took 60 of 80 nodes (75 %) in 3 partitions"]


def test_where_keeps_some_cases(line_frames):
    grid = pivot(line_frames, ["kind"], [], ["latency"], where={"precision": "INT8"})
    assert cells(grid, "kind") == ["int8-x86", "int8-opt-x86"]


def test_where_without_a_case_names_what_there_is(line_frames):
    with pytest.raises(RowsError, match="no case has the provider 'nnapi': there are CPU"):
        pivot(line_frames, ["kind"], [], ["latency"], where={"provider": "nnapi"})


@pytest.mark.parametrize(
    ("rows", "columns", "values", "said"),
    [
        (["modle"], [], ["latency"], "unknown dimension 'modle': use one of model, kind, prec"),
        (["model"], ["x"], ["latency"], "unknown dimension 'x'"),
        (["model"], [], ["speed"], "unknown value 'speed': use one of latency, p90, p99"),
        ([], [], ["latency"], "a table needs rows and values"),
        (["model"], ["model"], ["latency"], "model is in rows and in columns"),
    ],
)
def test_names_that_fit_nothing_are_answered_with_the_list(
    line_frames, rows, columns, values, said
):
    with pytest.raises(UsageError, match=said):
        pivot(line_frames, rows, columns, values)


@pytest.mark.parametrize("name", DIMENSIONS)
def test_every_dimension_can_be_an_axis(line_frames, name):
    assert pivot(line_frames, [name], [], ["latency"]).rows


@pytest.mark.parametrize("name", [name for name in VALUES if name not in OF_A_COUNTER])
def test_every_value_can_be_shown(line_frames, name):
    grid = pivot(line_frames, ["kind"], [], [name])
    assert [len(row) for row in grid.rows] == [2] * 4


@pytest.mark.parametrize(
    ("field", "values", "said"),
    [
        ("intra_op_threads", (1, 4), "whose threads differs: 1 and 4: add threads to --rows"),
        ("runtime", ("onnxruntime", "litert"), "whose runtime differs"),
        ("provider", ("cpu", "nnapi"), "whose provider differs: cpu and nnapi"),
        ("input_shape", ("[1]", "[2]"), r"rows of net into one table whose input_shape differs"),
    ],
)
def test_unlike_rows_are_refused_naming_the_field_and_both_values(frames_of, field, values, said):
    one, other = values
    cases = {
        "plain": {"latency_ms": 5.0, field: one},
        "fp32": {"latency_ms": 4.0, field: other},
    }
    with pytest.raises(RowsError, match=said):
        pivot(frames_of(cases), ["kind"], [], ["latency"])


def test_two_devices_are_refused_by_name_and_shown_as_an_axis(write_session, line, phone):
    frames = load(write_session(line, "s1"), write_session(line, "s2", device=phone))
    said = r"device_id differs: desk \(d-host\) and handy \(d-phone\)"
    with pytest.raises(RowsError, match=said):
        pivot(frames, ["kind"], [], ["latency"])
    grid = pivot(frames, ["kind"], ["device"], ["latency"])
    assert [column.header for column in grid.columns] == [
        "kind",
        "desk, latency ms",
        "handy, latency ms",
    ]


def test_force_goes_on_and_says_so(frames_of):
    cases = {
        "plain": {"latency_ms": 5.0, "intra_op_threads": 1},
        "fp32": {"latency_ms": 4.0, "intra_op_threads": 4},
    }
    grid = pivot(frames_of(cases), ["kind"], [], ["latency"], force=True)
    assert grid.remarks[0] == "Unlike rows by --force: threads is 1 and 4."
