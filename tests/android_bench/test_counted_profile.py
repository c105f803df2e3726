import json

import pytest

from android_bench.coverage import MOST_OF_AN_EVENT, read_counted_profile
from deploy.errors import BenchOutputError


def event(index, name, operator, instructions):
    """As ONNX Runtime 1.31 writes it, less the keys that are not read."""
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "dur": instructions,
        "args": {
            "op_name": operator,
            "node_index": str(index),
            "provider": "CPUExecutionProvider",
        },
    }


SESSION = {"cat": "Session", "name": "model_run", "dur": 999}


def read(*events):
    return read_counted_profile(json.dumps(events), "run")


def test_nodes_come_in_order_with_the_last_inference_s_instructions_and_no_time():
    first = [event(0, "a", "Conv", 500_000), event(1, "b", "Add", 300_000)]
    second = [event(0, "a", "Conv", 400_000), event(1, "b", "Add", 200_000)]
    rows = read(SESSION, *first, SESSION, *second)
    assert [(one.node_name, one.op_type, one.instructions, one.total_ns) for one in rows] == [
        ("a", "Conv", 400_000, None),
        ("b", "Add", 200_000, None),
    ]
    assert [one.calls for one in rows] == [2, 2]


def test_what_recording_costs_is_taken_from_every_node():
    rows = read(event(0, "a", "Conv", 500_000), event(1, "b", "Reshape", 28_000))
    assert [one.instructions for one in rows] == [472_000, 0]


def test_a_lightest_node_that_works_is_not_taken_for_the_cost_of_recording():
    work = MOST_OF_AN_EVENT + 1
    assert read(event(0, "a", "Conv", work))[0].instructions == work


def test_nodes_of_one_name_stay_apart():
    assert len(read(event(0, "", "Conv", 100_000), event(1, "", "Conv", 200_000))) == 2


def test_a_profile_without_nodes_has_none():
    assert read(SESSION) == []


@pytest.mark.parametrize("text", ["", "{", "3", '[{"cat": "Node", "name": "a_kernel_time"}]'])
def test_another_file_is_refused(text):
    with pytest.raises(BenchOutputError, match="not one of ONNX Runtime"):
        read_counted_profile(text, "run")
