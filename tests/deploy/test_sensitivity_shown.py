import json
import math

import pandas as pd
import pytest

from deploy.commands.sensitivity import plot_sensitivity, show_sensitivity
from deploy.errors import UsageError
from deploy.precision import COLUMNS

TABLE = pd.DataFrame(
    [
        ("add1 to add5", "5 Add", 2e6, math.inf, math.inf, math.inf),
        ("conv1", "Conv", 4e6, 48.5, 0.5, 1.25e-7),
        ("conv2", "Conv", 1e6, 47.9, -0.1, -1e-7),
    ],
    columns=list(COLUMNS),
)


def test_the_table_has_a_line_for_each_layer(capsys):
    show_sensitivity(TABLE, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["conv1", "Conv", "4.00", "48.50", "+0.500", "+0.1250"]


def test_json_has_a_record_for_each_layer_and_no_infinity(capsys):
    show_sensitivity(TABLE, as_json=True)
    first, second, _ = json.loads(capsys.readouterr().out)
    assert (first["layer"], first["gain_db"]) == ("add1 to add5", None)
    assert second == TABLE.to_dict("records")[1]


def test_the_plot_has_a_bar_for_each_layer_and_is_the_same_each_time(tmp_path):
    paths = [tmp_path / "one.svg", tmp_path / "two.svg"]
    for path in paths:
        plot_sensitivity(TABLE, path, title="tiny, dB against fp32")
    drawn = paths[0].read_text()
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert all(name in drawn for name in ("add1 to add5 (5 Add)", "+0.50", "tiny, dB against"))


def test_a_plot_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"is no \.svg file"):
        plot_sensitivity(TABLE, tmp_path / "plot.png", title="tiny")
    assert not list(tmp_path.iterdir())
