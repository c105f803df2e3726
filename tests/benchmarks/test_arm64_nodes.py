import json

import pytest
from arm64.nodes import MOST_OF_AN_EVENT, Node, by_operator, parse_profile

from deploy.errors import BenchOutputError


def event(index, name, operator, instructions):
    """As ONNX Runtime 1.31 writes it, less the keys that are not read."""
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "dur": instructions,
        "args": {"op_name": operator, "node_index": str(index)},
    }


SESSION = {"cat": "Session", "name": "model_run", "dur": 999}


def test_nodes_come_in_order_with_the_last_run_s_instructions():
    first = [event(0, "a", "Conv", 500_000), event(1, "b", "Add", 300_000)]
    second = [event(0, "a", "Conv", 400_000), event(1, "b", "Add", 200_000)]
    assert parse_profile(json.dumps([SESSION, *first, SESSION, *second])) == [
        Node("a", "Conv", 400_000),
        Node("b", "Add", 200_000),
    ]


def test_what_recording_costs_is_taken_from_every_node():
    text = json.dumps([event(0, "a", "Conv", 500_000), event(1, "b", "Reshape", 28_000)])
    assert [node.instructions for node in parse_profile(text)] == [472_000, 0]


def test_a_lightest_node_that_works_is_not_taken_for_the_cost_of_recording():
    work = MOST_OF_AN_EVENT + 1
    assert parse_profile(json.dumps([event(0, "a", "Conv", work)]))[0].instructions == work


def test_nodes_of_one_name_stay_apart():
    text = json.dumps([event(0, "", "Conv", 100_000), event(1, "", "Conv", 200_000)])
    assert len(parse_profile(text)) == 2


def test_operators_are_summed_heaviest_first():
    nodes = [Node("a", "Add", 3), Node("b", "Conv", 5), Node("c", "Add", 4)]
    assert by_operator(nodes) == [("Add", 2, 7), ("Conv", 1, 5)]


@pytest.mark.parametrize("text", ["", "{", "3", '[{"cat": "Node", "name": "a_kernel_time"}]'])
def test_another_file_is_refused(text):
    with pytest.raises(BenchOutputError, match="no such file"):
        parse_profile(text)


def test_a_profile_without_nodes_is_refused():
    with pytest.raises(BenchOutputError, match="holds no node"):
        parse_profile(json.dumps([SESSION]))
