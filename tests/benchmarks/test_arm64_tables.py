from pathlib import Path

import pandas as pd
import pytest
from arm64.counted import KINDS, Counted
from arm64.goals import goals, goals_markdown
from arm64.nets import DEFAULT, INT8, PLAIN, find_nets
from arm64.tables import markdown, profile_markdown, row

from deploy.errors import UsageError

NODES = pd.DataFrame(
    [("a", "Add", 300_000), ("b", "Conv", 500_000), ("c", "Add", 400_000)],
    columns=["node_name", "op_type", "instructions"],
)


def counted(instructions, name="a.onnx", psnr_db=60.0):
    some = dict.fromkeys(KINDS, 5) | {"instructions": instructions}
    first = some | {"instructions": 2 * instructions}
    return Counted(Path(name), "a76", some, first, some, psnr_db, "hash", 1.0, NODES)


def net_row(form, instructions, net="nafnet-tiny", cpu="a76"):
    return {"net": net, "form": form, "cpu": cpu, "instructions": instructions}


def test_a_row_reports_the_last_run():
    assert row(counted(7), "a", counted(7))["instructions"] == 7


def test_a_ratio_says_how_many_times_fewer():
    assert row(counted(50_000), "a", counted(100_000))["ratio"] == 2.0


def test_no_column_is_a_time_of_a_core():
    names = row(counted(1), "a", counted(1))
    assert [name for name in names if name.endswith(("_ns", "_ms", "_s"))] == ["emulation_s"]


def test_millions_stand_in_the_table():
    table = markdown([row(counted(505_776_251), "tiny", counted(772_493_430))])
    assert "| tiny | a76 | 505.8 | 505.8 |" in table
    assert "| 1.53 |" in table


def test_a_promise_is_kept_at_its_bound_and_broken_below():
    kept = [net_row(PLAIN, 160), net_row(DEFAULT, 169), net_row(INT8, 100)]
    assert [one["kept"] for one in goals(kept)] == [True, False]


def test_promises_are_of_the_core_they_were_made_for():
    other = [net_row(form, 100, cpu="a53") for form in (PLAIN, DEFAULT, INT8)]
    assert goals(other) == []


def test_where_nothing_is_promised_nothing_is_compared():
    rows = [net_row(form, 100, net="pmrid-raw") for form in (PLAIN, DEFAULT, INT8)]
    assert [one["over"] for one in goals(rows)] == [PLAIN]


def test_files_that_are_no_net_have_no_promises():
    assert goals_markdown([row(counted(1), "a", counted(1))]) == ""


def test_an_unknown_net_is_refused_with_the_known_ones():
    with pytest.raises(UsageError, match="nafnet-tiny"):
        find_nets("nafnet-tiny,resnet")


def test_operators_are_summed_heaviest_first():
    lines = profile_markdown(counted(1_200_000)).splitlines()
    assert lines[4:6] == ["| Add | 2 | 0.70 | 58.3% |", "| Conv | 1 | 0.50 | 41.7% |"]
