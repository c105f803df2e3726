import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import UsageError
from deploy.zoo.complexity import Complexity, measure_complexity
from deploy.zoo.papers import TABLES, PaperRow, find_table, prints_as, rows_of
from deploy.zoo.registry import MODELS
from deploy.zoo.skeleton import skeleton

ROWS = [
    pytest.param(name, row, id=f"{name}-{row.label}")
    for name, table in TABLES.items()
    for row in table.rows
]


def counted(row: PaperRow) -> Complexity:
    spec = MODELS[row.model]
    return measure_complexity(skeleton(spec), [spec.inputs[0].shape])


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_every_row_stands_for_a_registered_network(table: str, row: PaperRow) -> None:
    assert row.model in MODELS
    assert (table, row) in rows_of(row.model)


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_every_row_has_a_number_or_nothing_in_every_column(table: str, row: PaperRow) -> None:
    assert len(row.results) == len(find_table(table).columns)
    assert all(result is None or float(result) > 0 for result in row.results)


@pytest.mark.parametrize(
    "row", [row for table in TABLES.values() for row in table.rows if row.parameters or row.macs]
)
def test_every_printed_count_reproduces_or_is_doubted(row: PaperRow) -> None:
    ours = counted(row)
    wrong = set()
    if row.parameters is not None and not prints_as(ours.thop_params, row.parameters):
        wrong.add("parameters")
    if row.macs is not None and not prints_as(ours.thop_macs, row.macs):
        wrong.add("macs")

    assert wrong == set(row.doubts)


def test_two_printed_figures_are_doubted() -> None:
    doubted = {
        (row.model, getattr(row, which))
        for table in TABLES.values()
        for row in table.rows
        for which in row.doubts
    }

    assert doubted == {("mofa-1-row1", "1.11 G"), ("nafnet-mofa", "222.1 K")}


def test_same_network_has_the_same_results_in_tables_1_and_2() -> None:
    first = {row.model: row.results[:2] for row in TABLES["mofa-1"].rows}
    second = {row.model: row.results for row in TABLES["mofa-2"].rows[:2]}

    assert second.items() <= first.items()


def test_unknown_table_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="unknown table 'mofa-5': use one of mofa-1, mofa-2"):
        find_table("mofa-5")


@given(st.integers(0, 10**10), st.integers(0, 4), st.sampled_from(["K", "M", "G"]))
def test_count_prints_as_itself_in_any_unit_and_number_of_digits(
    count: int, decimals: int, unit: str
) -> None:
    size = {"K": 1e3, "M": 1e6, "G": 1e9}[unit]

    assert prints_as(count, f"{count / size:.{decimals}f} {unit}")


@pytest.mark.parametrize(
    ("count", "printed"), [(221_955, "222.1 K"), (1_151_000_000, "1.11 G"), (955_000, "0.95 G")]
)
def test_other_count_does_not_print_as_this_one(count: int, printed: str) -> None:
    assert not prints_as(count, printed)
