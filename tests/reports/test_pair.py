import numpy as np
import pytest
from scipy import stats

from deploy.errors import RowsError
from reports.frame import load
from reports.pair import case_side, compare_sides, session_side, unpaired_ratio

OLD = {"plain": {"latency_ms": 40.0}, "fp32": {"latency_ms": 30.0}}


@pytest.fixture
def side(write_session):
    def make(name, cases, **options):
        return session_side(name, load(write_session(cases, name, **options)))

    return make


def speed_ups(grid):
    return {row[0].text: row[3] for row in grid.rows}


def test_two_sessions_are_compared_case_by_case(side):
    new = {"plain": {"latency_ms": 40.0}, "fp32": {"latency_ms": 15.0}}
    grid = compare_sides(side("old", OLD), side("new", new))
    found = speed_ups(grid)
    assert found["net fp32"].low < 2 < found["net fp32"].high
    assert [column.header for column in grid.columns][:4] == [
        "graph",
        "latency ms, old",
        "latency ms, new",
        "speed-up",
    ]


def test_what_is_on_one_side_only_is_said(side):
    new = {"plain": {"latency_ms": 40.0}, "int8": {"latency_ms": 15.0}}
    grid = compare_sides(side("old", OLD), side("new", new))
    assert [row[0].text for row in grid.rows] == ["net plain"]
    assert {"Only in old: net fp32.", "Only in new: net int8."} <= set(grid.remarks)


def test_two_cases_of_a_session_are_paired_by_block(write_session):
    frames = load(write_session(OLD, spread=0.01))
    grid = compare_sides(case_side("plain", frames), case_side("case-fp32", frames))
    (cell,) = speed_ups(grid).values()
    assert cell.low < 4 / 3 < cell.high
    assert "paired block by block" in grid.remarks[0]


def test_two_sessions_are_not_called_paired(side):
    grid = compare_sides(side("old", OLD), side("new", OLD))
    assert "not paired" in grid.remarks[0]


def test_what_else_differs_is_told(side):
    new = {"plain": {"latency_ms": 40.0, "model_sha256": "other"}}
    grid = compare_sides(side("old", OLD), side("new", new))
    assert "What else differs: model_sha256." in grid.remarks


def test_nothing_in_common_is_refused(side):
    with pytest.raises(RowsError, match="old and new have no case in common"):
        compare_sides(side("old", OLD), side("new", {"int8": {"latency_ms": 1.0}}))


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("intra_op_threads", (2, 4)),
        ("provider", ("cpu", "nnapi")),
        ("runtime_version", ("1.2.3", "1.31.1")),
        ("input_shape", ("[1, 3, 8, 8]", "[1, 3, 9, 9]")),
        ("cores_asked", ("f0", "0f")),
    ],
)
def test_another_plan_is_refused_naming_the_field_and_both_values(side, field, values):
    one, other = ({"plain": {"latency_ms": 5.0, field: value}} for value in values)
    base, new = side("old", one), side("new", other)
    with pytest.raises(RowsError) as raised:
        compare_sides(base, new)
    assert f"whose {field} differs: {values[0]} and {values[1]}" in str(raised.value)
    forced = compare_sides(base, new, force=True)
    said = f"Compared by --force although {field} differs: {values[0]} and {values[1]}."
    assert said in forced.remarks


def test_another_device_is_refused_by_name(side, phone):
    base, new = side("old", OLD), side("new", OLD, device=phone)
    with pytest.raises(RowsError, match=r"device_id differs: desk \(d-host\) and handy \(d-ph"):
        compare_sides(base, new)
    assert compare_sides(base, new, force=True).rows


def test_a_case_that_is_not_there_is_answered_with_the_list(write_session):
    frames = load(write_session(OLD))
    with pytest.raises(RowsError, match="no case is called 'int8': name one of plain, fp32, case"):
        case_side("int8", frames)


def test_several_sessions_on_one_side_are_refused(write_session):
    frames = load(write_session(OLD, "s1"), write_session(OLD, "s2"))
    with pytest.raises(RowsError, match="old holds 2 sessions"):
        session_side("old", frames)


def test_what_one_side_has_to_say_is_said_with_its_name(side):
    new = {kind: {"latency_ms": case["latency_ms"] / 2} for kind, case in OLD.items()}
    grid = compare_sides(side("old", OLD), side("new", new, launches=4))
    assert list(grid.footnotes) == ["new: 4 launches only: below 5 the interval is too narrow"]


def test_a_speed_up_that_may_be_none_is_called_so(side):
    grid = compare_sides(side("old", OLD), side("new", OLD))
    assert list(grid.footnotes) == ["not shown to differ: the interval of the speed-up holds 1"]


def test_unpaired_launches_are_compared_by_welch():
    rng = np.random.default_rng(0)
    ones, others = np.exp(rng.normal(1, 0.1, 9)), np.exp(rng.normal(0.5, 0.02, 6))
    found = unpaired_ratio(ones, others)
    p_at_low = stats.ttest_ind(
        np.log(ones) - np.log(found.low), np.log(others), equal_var=False
    ).pvalue
    assert p_at_low == pytest.approx(0.05)
    assert found.value == pytest.approx(stats.gmean(ones) / stats.gmean(others))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_unpaired_launches_have_no_interval(n):
    assert np.isnan(unpaired_ratio(np.ones(n), np.ones(9)).low)


def test_equal_launches_have_an_interval_of_no_width():
    found = unpaired_ratio(np.full(5, 2.0), np.full(4, 1.0))
    assert found.low == found.value == found.high == pytest.approx(2)
