import json

import pytest

from android_bench.coverage import Coverage, assigned, profiled, read_profile
from android_bench.records import Assignment, Node, Share
from deploy.errors import BenchOutputError

NNAPI, CPU = "NnapiExecutionProvider", "CPUExecutionProvider"
# composed after onnxruntime's nnapi_execution_provider.cc and the runner's own line of its log
LOG = """verbose: onnxruntime: something else (session.cc:1 f)
verbose: onnxruntime: Node supported: [1] Operator type: [Conv] index: [0] name: [a] (n.cc:1 f)
verbose: onnxruntime: [Resize] only supports opset 11 and up (resize.cc:9 IsOpSupported)
verbose: onnxruntime: Node supported: [0] Operator type: [Resize] index: [1] name: [b] (n.cc:1 f)
verbose: onnxruntime: Node supported: [0] Operator type: [Pad] index: [2] name: [c] (n.cc:1 f)
"""


def assignment(on_nnapi, on_cpu, nodes=None):
    shares = {NNAPI: Share(on_nnapi, 1), CPU: Share(on_cpu, 1)}
    there = {name: share for name, share in shares.items() if share.nodes}
    return Assignment("api", on_nnapi + on_cpu, there, nodes)


def test_a_graph_that_is_taken_whole_needs_no_reason():
    assert assigned(assignment(5, 0), "nnapi") == Coverage(5, 5, 1, "api")


def test_a_provider_that_took_nothing_took_none_in_no_partition():
    nothing = assigned(assignment(0, 5), "nnapi")
    assert (nothing.nodes_total, nothing.nodes_on_provider, nothing.partitions) == (5, 0, 0)


def test_the_provider_s_own_reasons_come_from_its_log():
    assert assigned(assignment(3, 2), "nnapi", LOG).reasons == (
        "1 Resize: [Resize] only supports opset 11 and up",
        "1 Pad: not supported",
    )


def test_without_a_log_the_reason_is_where_the_others_ran():
    nodes = (Node("a", "Conv", NNAPI), Node("b", "Resize", CPU), Node("c", "Resize", CPU))
    assert assigned(assignment(1, 2, nodes), "nnapi").reasons == (f"2 Resize ran on {CPU}",)
    assert assigned(assignment(1, 2), "nnapi").reasons == (f"2 nodes ran on {CPU}",)


@pytest.mark.parametrize("what", [None, Assignment("none", None, {})])
def test_a_launch_that_cannot_tell_gives_nothing(what):
    assert assigned(what, "nnapi") is None


def event(node, operator, provider, duration_us, index=0, *, ends="_kernel_time"):
    arguments = {"op_name": operator, "provider": provider, "node_index": str(index)}
    return {"cat": "Node", "name": f"{node}{ends}", "dur": duration_us, "args": arguments}


PROFILE = json.dumps(
    [
        {"cat": "Session", "name": "model_loading_uri", "dur": 9, "args": {}},
        event("conv", "Conv", CPU, 30),
        event("conv", "Conv", CPU, 0, ends="_fence_before"),
        event(f"{NNAPI}_NNAPI_1_0", "NNAPI_1_0", NNAPI, 100, 1),
        event("conv", "Conv", CPU, 20),
        event(f"{NNAPI}_NNAPI_1_0", "NNAPI_1_0", NNAPI, 90, 1),
    ]
)


def test_a_profile_gives_a_row_for_each_node_with_all_its_calls():
    conv, partition = read_profile(PROFILE, "r")
    assert (conv.node_name, conv.op_type, conv.calls, conv.total_ns) == ("conv", "Conv", 2, 50_000)
    assert (conv.op_index, conv.is_partition, conv.provider) == (0, False, CPU)
    assert (partition.is_partition, partition.calls, partition.total_ns) == (True, 2, 190_000)


def test_nodes_of_one_name_at_two_places_are_two():
    text = json.dumps([event("", "Conv", CPU, 1, 0), event("", "Conv", CPU, 1, 1)])
    assert [row.calls for row in read_profile(text, "r")] == [1, 1]


def test_a_profile_tells_what_was_taken_and_what_ran_elsewhere():
    seen = profiled(read_profile(PROFILE, "r"), "nnapi")
    assert seen == Coverage(2, 1, 1, "profile", (f"1 Conv ran on {CPU}",))


def test_no_node_is_no_coverage():
    assert profiled([], "cpu") is None


@pytest.mark.parametrize("text", ["", "[", "{}x", '[{"cat": "Node"}]', "[3]"])
def test_what_is_no_profile_is_refused(text):
    with pytest.raises(BenchOutputError, match="not one of ONNX Runtime"):
        read_profile(text, "r")
